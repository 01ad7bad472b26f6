package configs

// What a configuration says, typed. The keys an operator writes for these
// fields stand in keys.go, the defaults in defaults.go.

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

// Config is a whole configuration file, defaults filled in and references
// checked. Load and Parse make one; only serve changes it, before it is compiled:
// flags override addresses, and generated keys get their hashes.
type Config struct {
	Server  Server
	Auth    Auth
	Tenants []Tenant
	Pools   []Pool
	Hooks   []Hook
	Models  []Model
	Cache   Cache
	Limits  Limits // of the whole router

	Passthrough []Passthrough // what is off unless it stands here

	Redis   Redis
	Cluster Cluster

	Log Log
}

// Server is the listeners and what they accept.
type Server struct {
	Listen       string        // default ":8080"
	Admin        string        // default "127.0.0.1:9090"
	AdminToken   secret.Text   // bearer token of the admin listener; never empty when Admin is off loopback
	MaxBody      int64         // bytes; default 32 MiB
	MaxUpload    int64         // bytes; default 512 MiB
	MaxSpool     int64         // bytes; default 4 GiB
	SpoolDir     string        // "" (default) is the system's directory for temporary files
	MaxHeader    int64         // bytes; default 16 KiB
	LameDuck     time.Duration // default 5s; inside DrainTimeout
	DrainTimeout time.Duration // default 30s
	HalfClose    string        // "cancel" (default) or "ignore"
	Handover     string        // absolute path of the unix socket that hands the listeners on; "" (default) for none
	CORS         CORS
	Memory       Memory
	Websockets   Websockets
	TLS          ServerTLS

	IdempotencyMemory int64 // bytes; default 64 MiB

	// TrustedProxies are whose X-Forwarded-For is believed: masked, never
	// IPv4 inside IPv6, so unmap an address before asking Contains.
	TrustedProxies []netip.Prefix
}

// CORS names the origins a browser may call from; none by default. "*" allows any.
type CORS struct{ Origins []string }

// Memory is how much of it the process may have, and what the ladder of measures
// against running short goes by.
type Memory struct {
	Off   bool  // memory: off; what follows then has no meaning
	Limit int64 // bytes; default 0: that of the cgroup, where there is one
}

// Websockets bounds the websockets that Passthrough turns on.
type Websockets struct {
	Max   int           // open at once; default 10000
	Idle  time.Duration // default 5m: silent in both directions
	Total time.Duration // default 60m
}

// ServerTLS serves HTTPS when Cert and Key name files.
type ServerTLS struct {
	Cert, Key  string
	ClientCA   string // PEM file of the authorities of client certificates
	ClientAuth string // off (default) | optional | required: whether a client must show one
}

// Auth says how callers prove who they are.
type Auth struct {
	Anonymous string   // a tenant's name, or "" for nobody
	Peppers   []Pepper // keyed hashing of API keys; at most two, versions differ
	Order     []string // the ways that are on: of key, jwt, mtls; default all, in this order
	JWT       []Issuer
	MTLS      []Certificate

	// KeyFiles have more keys, a JSON object on each line with the keys of Key and
	// tenant: see ReadKeyFiles. None of them is in Tenants.
	KeyFiles []string

	// FailuresPerMinute is how many credentials of no use one client address may
	// bring: default 20, 0 for any number.
	FailuresPerMinute int
}

// Pepper is one HMAC secret for key hashes, at least 32 bytes.
type Pepper struct {
	Version int
	Secret  secret.Text
}

// Tenant is a customer: its keys, and the models they may use.
type Tenant struct {
	Name        string
	Models      []string // names or patterns with one trailing "*"; empty means all
	Keys        []Key
	Priority    string // system | interactive | default (the default) | batch
	Limits      Limits
	ModelLimits []ModelLimits

	Idempotency time.Duration // how long an answer stands for its idempotency key; 0 (default) is off
}

// Key is one API key of a tenant: a hash, or Generate to have serve make one.
type Key struct {
	Name      string
	Hash      string      // "sha256:<id>:<base64url>" or "hmac-sha256:<pepper>:<id>:<base64url>"
	Previous  PreviousKey // the secret it had before, while it is being replaced
	Generate  bool        // a fresh key at each start, printed once
	NotBefore time.Time   // zero: no matter; a plain date is its first moment in UTC
	Expires   time.Time   // zero: never; likewise
	Revoked   time.Time   // zero: not; from then on it is refused; revoked: true is Always
	Models    []string    // names or patterns as those of the tenant, besides those; empty means all of them
	Endpoints []string    // operations it may call, as metrics name them, or patterns of them; empty means all
	From      []netip.Prefix
	Debug     bool
	Limits    Limits
}

// PreviousKey is the secret that a key had before.
type PreviousKey struct {
	Hash  string    // with the key's id; "" for none
	Until time.Time // from then on it is refused; set where Hash is
}

// Always is the moment of what holds whenever one looks.
var Always = time.Unix(0, 0).UTC()

// Pool is a set of interchangeable backends.
type Pool struct {
	Name          string
	Engine        string // openai (default) | vllm | sglang | tgi | trtllm | llamacpp | ollama | sim
	Balance       string // adaptive (default; also prefix_aware, cost) or another of balancer.Names
	Adaptive      Adaptive
	Shadow        []string // policies that decide beside it without effect; at most MaxShadows
	PrefixIndex   PrefixIndex
	SessionHeader string // default x-session-id: names a request's session, for session_affinity; "": none does
	CacheSalt     string // off (default) | tenant: whether the engine's prefix cache is told whose a request is
	Usage         string // inject (default) | as_is
	APIKey        secret.Text
	Keys          []secret.Text // several instead of APIKey; at least one where the file has the key. See Credentials
	Headers       Headers       // extra request headers
	TLS           ClientTLS
	Proxy         secret.Text // egress proxy URL; may hold a password
	Tenant        string      // whose the account is: may list, and name what is not recorded; "" is the only tenant, or nobody
	Health        Health
	Ejection      Ejection
	Signals       Signals
	Serves        string // auto (default) | listed | any; see AsksModels
	Retry         Retry
	Hedge         Hedge
	Queue         Queue
	Concurrency   Concurrency
	Warmup        Warmup
	SlowStart     time.Duration // default 30s: from a tenth of its share to all of it, after new or back; 0 is at once
	DrainTimeout  time.Duration // default 10m: for the running requests of a backend that is drained or left the file
	Backends      []Backend     // may be empty where Discover is on
	Discover      Discover
}

// Credentials returns what the pool's requests carry as bearer tokens, in the
// order of the file: APIKey alone, Keys, or nothing. The caller owns the slice.
func (p *Pool) Credentials() []secret.Text {
	if !p.APIKey.Empty() {
		return []secret.Text{p.APIKey}
	}
	return slices.Clone(p.Keys)
}

// MaxShadows is how many policies a pool can have in shadow.
const MaxShadows = 4

// Adaptive are the constants of the policy adaptive. ROUTING 2.2.
type Adaptive struct {
	Surcharge       int           // default 8
	Popularity      int           // default 8
	AffinityMaxWait time.Duration // default 14s
	Interference    Share         // default 50%
	PerRequest      time.Duration // default 20us
	PerKVToken      time.Duration // default 40ns
	KVPressure      time.Duration // default 30ms
	PrefillRate     int           // default 10000 tokens a second
	Home            Share         // default 10%
	Probe           Share         // default 0.5%
}

// PrefixIndex is what is remembered of which backend has read which prompts.
// ROUTING 2.4.
type PrefixIndex struct {
	Off    bool   // prefix_index: off; what follows then has no meaning
	Memory int64  // bytes; default 64 MiB
	Salt   string // none (default) | tenant
}

// Health is how each backend is asked whether it is well, besides what its
// requests tell. ROUTING 2.8, PROMISES 4.2 row 34.
type Health struct {
	Off       bool          // health: off; what follows then has no meaning
	Path      string        // GET: no answer or a 5xx is bad, a 4xx lives and is warned of; starts with /; "" (default) is a TCP connection instead
	Every     time.Duration // default 5s, jittered; each second while the backend is out
	Timeout   time.Duration // default 2s, at most Every
	Unhealthy int           // default 3: bad checks in a row that take it out
	Healthy   int           // default 2: good checks in a row that take it back
}

// Signals is how the metrics of each backend are read. ROUTING 2.3.
type Signals struct {
	Off   bool          // signals: off; what follows then has no meaning
	Every time.Duration // default 1s, of llamacpp 3s
	Path  string        // starts with /; "" (default) is the engine's own
	Port  int           // 0 (default) is the backend's own
}

// AsksModels reports whether a backend gets requests only for models that it
// lists. Other engines answer whatever name they are given, or are somebody else's.
func (p *Pool) AsksModels() bool {
	return p.Serves == "listed" || p.Serves == "auto" && (p.Engine == "vllm" || p.Engine == "ollama")
}

// Warmup is the request that a backend which is new, or back, gets before others.
type Warmup struct {
	Model     string        // as the backend knows it; "" (default) for no warm-up
	Prompt    string        // default "Hello"
	MaxTokens int           // default 1
	Timeout   time.Duration // default 1m
}

// Discover is where backends are found while the router runs.
type Discover struct {
	DNS  DNSDiscovery
	File string // path; "" (default) for none
}

// On reports whether there is anywhere to look.
func (d *Discover) On() bool { return d.DNS.Name != "" || d.File != "" }

// DNSDiscovery is a name whose records are backends.
type DNSDiscovery struct {
	Name        string        // "" (default) for none
	Type        string        // a (default) | srv
	Port        int           // of every address, 1 to 65535; 0 with srv
	Scheme      string        // http (default) | https
	Path        string        // of every URL; "" (default) for none
	Every       time.Duration // default 10s
	MaxInflight int           // 0 (default) means no bound
}

// Ejection is when a backend is taken out for what its requests did. The
// defaults are those of ROUTING 2.8.
type Ejection struct {
	Off         bool          // ejection: off; what follows then has no meaning
	Consecutive int           // default 5: failures in a row
	Rate        Share         // default 50%: or more than this share of the last 40 s failed
	Samples     int           // default 20: of at least so many requests
	Base        time.Duration // default 30s: how long the first time; n times that for the n-th
	Max         time.Duration // default 5m: at most
	MaxShare    Share         // default 50%: of the pool's backends at once; never the last one
	Panic       Share         // default 50%: below this share of healthy backends ejections are ignored; 0 never
}

// Retry bounds the attempts of one request and of the pool (ROUTING 2.9).
type Retry struct {
	Attempts int   // default 2, 1 to 3: tries in all, the first included
	Budget   Share // default 20%: retries per requests of the last 10 s
}

// Hedge is when a second backend is asked because the first one is late (ROUTING 2.9).
type Hedge struct {
	Off        bool          // default: unless the key is given; what follows then has no meaning
	After      time.Duration // default 0: by Percentile
	Percentile Share         // default 95%: late is who takes longer than this share of the pool's answers
	Budget     Share         // default 2%: of the requests, beside the budget of retries
}

// Queue is where requests wait when every backend is full.
type Queue struct {
	Off  bool          // queue: off; what follows then has no meaning
	Wait time.Duration // default 30s: at most, and at most so much work ahead
	Size int           // default 1024
}

// Concurrency is how the limit of requests in flight of each backend is found
// out, besides its max_inflight.
type Concurrency struct {
	Off bool // concurrency: off, and the default for engine openai; what follows then has no meaning
	Min int  // default 2, at least 1
	Max int  // default 1024, or Min when that is more
}

// Share is a part of a whole in parts per million: 20% is 200,000.
type Share int32

// Whole is a Share of 100%.
const Whole Share = 1_000_000

// Float returns the share as a number from 0 to 1.
func (s Share) Float() float64 { return float64(s) / float64(Whole) }

// String is the share as an operator writes it: 20%, 0.5%.
func (s Share) String() string { return formatShare(s) }

// MarshalText is String, for encoders.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Headers are header names, as written, and their values, which may be secret:
// they print as [redacted].
type Headers map[string]string

// redacted is h with its values wrapped.
func (h Headers) redacted() map[string]secret.Text {
	r := make(map[string]secret.Text, len(h))
	for name, value := range h {
		r[name] = secret.New(value)
	}
	return r
}

// Format prints the names, for every verb and flag.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, h.redacted()) }

// MarshalJSON writes the names with redacted values.
func (h Headers) MarshalJSON() ([]byte, error) { return json.Marshal(h.redacted()) }

// LogValue is the names with redacted values, for slog.
func (h Headers) LogValue() slog.Value { return slog.AnyValue(h.redacted()) }

// ClientTLS is how to trust, and be trusted by, https servers that the router
// calls.
type ClientTLS struct{ CA, Cert, Key, ServerName string }

// Backend is one engine: an http or https URL, perhaps with a path, or
// "sim:NAME" for a simulated engine inside the process.
type Backend struct {
	URL         string
	Weight      int       // 1 (default) to 1000
	Tier        int       // 1 (default) to 100, for the policy priority: the lowest with room is used
	MaxInflight int       // 0 means no bound
	TLS         ClientTLS // what is set here takes the place of the pool's; see TLSOf
}

// TLSOf is the TLS of one of the pool's backends: its own, and for the rest the
// pool's.
func (p *Pool) TLSOf(b *Backend) ClientTLS {
	t := p.TLS
	if b.TLS.CA != "" {
		t.CA = b.TLS.CA
	}
	if b.TLS.Cert != "" {
		t.Cert, t.Key = b.TLS.Cert, b.TLS.Key
	}
	if b.TLS.ServerName != "" {
		t.ServerName = b.TLS.ServerName
	}
	return t
}

// Hook is a service that looks at requests or answers of the models that name it.
type Hook struct {
	Name        string
	URL         string // http or https, perhaps with a path
	Token       secret.Text
	When        string        // before (default) | after | both
	Timeout     time.Duration // default 1s
	OnError     string        // refuse (default) | pass: when it gives no reply that makes sense
	OnUnseen    string        // refuse (default) | pass: what it cannot be shown
	MaxBody     int64         // bytes; default 1 MiB
	MaxInflight int           // default 256; 0 means no bound
	TLS         ClientTLS
}

// SeesRequests reports whether the hook is asked before a request is sent on.
func (h *Hook) SeesRequests() bool { return h.When != "after" }

// SeesAnswers reports whether the hook is asked before an answer is given.
func (h *Hook) SeesAnswers() bool { return h.When != "before" }

// Model is a public name, and where it leads.
type Model struct {
	Name         string // "*" catches every other name
	Aliases      []string
	Targets      []Target      // at least one that is no mirror and has a weight
	Hooks        []string      // names, asked in this order
	FallbackHold time.Duration // default 30s: how long to stay with a later priority after falling back to it; 0 is not at all
	Params       Params
	Cache        ModelCache
	Timeouts     Timeouts
	Limits       Limits
	Price        Price
}

// Target is a pool and the model's name there. Targets are tried by priority;
// weights split the requests among those of one priority. A mirror gets copies
// of requests and its answers are thrown away.
type Target struct {
	Pool     string
	Model    string   // empty: as the caller wrote it
	Priority int      // 1 (default) to 100, 1 first; 0 for a mirror
	Weight   int      // 0 to 1000, default 1: 0 gets nothing; 0 for a mirror
	Mirror   Share    // above 0: a mirror that gets this share of the requests
	Context  *int64   // tokens of prompt and answer that fit; nil (default): not known
	Lacks    []string // what it cannot do: tools, images
}

// IsMirror reports whether the target gets copies instead of requests.
func (t *Target) IsMirror() bool { return t.Mirror > 0 }

// Params edits top-level parameters of a request, in the order of the file: no
// name stands in Drop and elsewhere too, and no default is above its cap. Names
// are letters, digits and underscores, so JSON writes them without escapes, and
// never those that say where a request goes or what is asked.
type Params struct {
	Default []ParamDefault // for a request that lacks them
	Cap     []ParamCap     // for a request that has more
	Drop    []string       // taken out
}

// Empty reports whether there is nothing to edit.
func (p *Params) Empty() bool { return len(p.Default)+len(p.Cap)+len(p.Drop) == 0 }

// ParamDefault is a parameter and the value it gets when a request lacks it:
// compact JSON, at most 4 KiB, to be spliced in as it is.
type ParamDefault struct {
	Name  string
	Value json.RawMessage
}

// ParamCap is a parameter and the most it may be. Value is Max as the file says
// it, a JSON number, to be spliced in as it is.
type ParamCap struct {
	Name  string
	Max   float64
	Value json.RawMessage
}

// Timeouts bound the phases of one request.
type Timeouts struct {
	Connect    time.Duration // default 1s
	FirstToken time.Duration // default 60s
	Idle       time.Duration // default 30s, between two pieces of an answer
	Total      time.Duration // default 10m
	Keepalive  time.Duration // default 15s; an SSE comment to the client while the backend is silent
}

// Passthrough turns on what is off by default. With a Pool, requests below Prefix
// that no model decides go there as they are; without one, the websockets at
// Prefix, whose model decides the pool.
type Passthrough struct {
	Prefix   string   // "/v1/files", without a slash at its end; unique among those of its kind
	Pool     string   // empty: Prefix is "/v1/realtime" or "/v1/responses"
	Shared   bool     // what is below it belongs to every tenant: no ids are checked
	Timeouts Timeouts // defaults as a model's, but for Total: 1h
}

// IsWebsocket reports whether it turns on websockets.
func (p *Passthrough) IsWebsocket() bool { return p.Pool == "" }

// Redis is what several routers share their limits through.
type Redis struct {
	URL            secret.Text   // redis:// or rediss://, perhaps with user and password; empty (default): every router for itself
	Password       secret.Text   // where URL has none
	Cluster        bool          // a Redis Cluster, of which URL is one node
	Nodes          []string      // host:port of others, in case that one is away; of a Cluster
	TLS            ClientTLS     // of rediss://
	Timeout        time.Duration // default 20ms: of one operation
	ConnectTimeout time.Duration // default 1s
	PoolSize       int           // connections; 0 (default): four for each processor
	Prefix         string        // default "helixflow": of the names of keys
}

// Cluster is how replicas of the router find each other. The zero value is a
// router by itself.
type Cluster struct {
	Routers   int         // how many there are, this one too; 0 (default): as many as were heard of lately
	Listen    string      // host:port, TCP and UDP; empty: by itself
	Advertise string      // host:port at which others reach it; empty: found out
	Peers     []string    // host:port
	Secret    secret.Text // at least 32 characters, the same everywhere
}

// Log is the operational log, and the access log beside it.
type Log struct {
	Level         string // debug | info (default) | warn | error
	Access        string // "off" (default), "stdout", "stderr", or the path of a file, which has a / in it
	AccessSample  Share  // default 100%: of the requests
	AccessMaxSize int64  // bytes; default 100 MiB: then the file is rotated
	AccessKeep    int    // default 5: rotated files beside the current one; 0 keeps none
	AccessHashes  bool   // hashes of how prompts begin, for helixflow replay
}
