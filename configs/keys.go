package configs

import (
	"strconv"
	"time"
)

// The table of keys: each key of the file with what it may hold, where it goes
// and what it means. Decoder, suggestions and JSON schema all read it.

const (
	maxDuration = 24 * time.Hour
	maxTargets  = 64 // of one model

	maxPassthrough = 64
)

var (
	halfCloseModes = []string{"cancel", "ignore"}
	engines        = []string{"openai", "vllm", "sglang", "tgi", "trtllm", "llamacpp", "ollama", "sim"}
	balances       = []string{"adaptive", "prefix_aware", "cost", "least_inflight", "least_tokens", "round_robin", "weighted", "random", "p2c_ewma", "prequal", "session_affinity", "chwbl", "priority"}
	priorities     = []string{"system", "interactive", "default", "batch"}
	cacheSalts     = []string{"off", "tenant"}
	targetLacks    = []string{"tools", "images"}
	prefixSalts    = []string{"none", "tenant"}
	usageModes     = []string{"inject", "as_is"}
	servesModes    = []string{"auto", "listed", "any"}
	recordTypes    = []string{"a", "srv"}
	schemes        = []string{"http", "https"}
	hookPhases     = []string{"before", "after", "both"}
	refuseOrPass   = []string{"refuse", "pass"}
	logLevels      = []string{"debug", "info", "warn", "error"}
)

// key is one line of the table.
type key struct {
	name     string
	value    value
	doc      string
	required bool
	restart  bool // a change waits for the next start
}

func rootKeys(c *Config) object {
	return object{
		{name: "server", value: serverKeys(&c.Server), doc: "The listeners and what they accept."},
		{name: "auth", value: authKeys(&c.Auth), doc: "How callers prove who they are."},
		{name: "tenants", value: list[Tenant]{&c.Tenants, "tenant", tenantID, defaultTenant, tenantKeys, 1, 0}, doc: "The customers: their keys, and the models they may use.", required: true},
		{name: "pools", value: list[Pool]{&c.Pools, "pool", poolID, defaultPool, poolKeys, 1, 0}, doc: "Sets of interchangeable backends.", required: true},
		{name: "hooks", value: list[Hook]{&c.Hooks, "hook", hookID, defaultHook, hookKeys, 0, 0}, doc: "Services that look at requests and answers: guardrails, and other policy from outside."},
		{name: "models", value: list[Model]{&c.Models, "model", modelID, defaultModel, modelKeys, 1, 0}, doc: "The public names of models, and where they lead.", required: true},
		{name: "passthrough", value: list[Passthrough]{&c.Passthrough, "passthrough", passthroughID, defaultPassthrough, passthroughKeys, 0, maxPassthrough}, doc: "What is off unless listed here."},
		{name: "cache", value: cacheKeys(&c.Cache), doc: "Answers that are kept and given again: where. Which are, each model says."},
		{name: "limits", value: limitKeys(&c.Limits), doc: "What all requests together may use."},
		{name: "redis", value: redisKeys(&c.Redis), doc: "The Redis that several routers share their limits through; without one each counts for itself."},
		{name: "cluster", value: clusterKeys(&c.Cluster), doc: "Other replicas of this router, which tell each other which backend was given which prompt."},
		{name: "log", value: logKeys(&c.Log), doc: "The operational log, and the access log."},
	}
}

func serverKeys(s *Server) object {
	return object{
		{name: "listen", value: text{&s.Listen}, doc: "Where clients connect: host:port, an empty host for every address.", restart: true},
		{name: "admin", value: text{&s.Admin}, doc: "Where health, metrics and the admin API are served: host:port, on loopback unless admin_token is set.", restart: true},
		{name: "admin_token", value: secretText{&s.AdminToken}, doc: "Bearer token for the admin listener, at least 32 characters; required when it is off loopback."},
		{name: "max_body", value: size{&s.MaxBody, 1 << 10, 1 << 30}, doc: "The biggest request body, in bytes."},
		{name: "max_upload", value: size{&s.MaxUpload, 1 << 10, 1 << 40}, doc: "The biggest body that is passed on as it comes: a form, a file."},
		{name: "max_spool", value: size{&s.MaxSpool, 0, 1 << 50}, doc: "The most disk that forms may take, all together, whose model field comes behind their files."},
		{name: "spool_dir", value: text{&s.SpoolDir}, doc: "Where on disk; the system's directory for temporary files when empty.", restart: true},
		{name: "idempotency_memory", value: size{&s.IdempotencyMemory, 1 << 20, 1 << 40}, doc: "The most memory for answers that are kept for idempotency keys, of all tenants together."},
		{name: "memory", value: orOff{&s.Memory.Off, object{
			{name: "limit", value: size{&s.Memory.Limit, 0, 1 << 50}, doc: "How much memory the process may have; 0 is as much as its cgroup, if that has a limit."},
		}}, doc: "When the process runs short of memory, or of descriptors, it lets go of what it can do without and then refuses work, step by step; off never does."},
		{name: "max_header", value: size{&s.MaxHeader, 1 << 10, 1 << 20}, doc: "The biggest request header, in bytes.", restart: true},
		{name: "lame_duck", value: duration{&s.LameDuck, 0, maxDuration}, doc: "After a stop signal: how long to report not ready and still accept; part of drain_timeout, and never more by default."},
		{name: "drain_timeout", value: duration{&s.DrainTimeout, 0, maxDuration}, doc: "After a stop signal: how long running requests may take to end."},
		{name: "half_close", value: choice{&s.HalfClose, halfCloseModes}, doc: "What a client that closes its sending side means: it left, or nothing.", restart: true},
		{name: "handover", value: text{&s.Handover}, doc: "Unix socket through which a new process takes the listeners; an absolute path. None when empty.", restart: true},
		{name: "trusted_proxies", value: prefixes{&s.TrustedProxies, 0}, doc: "Addresses or CIDRs of the proxies whose X-Forwarded-For is believed; nobody's unless listed."},
		{name: "cors", value: object{
			{name: "origins", value: texts{&s.CORS.Origins, 0, "none"}, doc: "Origins such as https://app.example.com, or * for any."},
		}, doc: "Which web pages may call from a browser; none unless listed."},
		{name: "websockets", value: object{
			{name: "max", value: count{&s.Websockets.Max, 1, 1_000_000}, doc: "The most that may be open at once."},
			{name: "idle", value: duration{&s.Websockets.Idle, time.Second, maxDuration}, doc: "How long one may be silent in both directions before it is closed."},
			{name: "total", value: duration{&s.Websockets.Total, time.Second, maxDuration}, doc: "How long one may be open at all."},
		}, doc: "Bounds on websockets, which passthrough turns on."},
		{name: "tls", value: object{
			{name: "cert", value: text{&s.TLS.Cert}, doc: "PEM file of the certificate and its chain."},
			{name: "key", value: text{&s.TLS.Key}, doc: "PEM file of the private key."},
			{name: "client_ca", value: text{&s.TLS.ClientCA}, doc: "PEM file of the authorities whose client certificates are believed."},
			{name: "client_auth", value: choice{&s.TLS.ClientAuth, clientAuth}, doc: "Whether clients are asked for a certificate of theirs, and must have one."},
		}, doc: "Serve HTTPS; both files or neither."},
	}
}

func authKeys(a *Auth) object {
	return object{
		{name: "order", value: choiceList{&a.Order, ways}, doc: "The ways to say who one is that are on: key, jwt, mtls. With mtls before the others, a certificate that names somebody counts more than a key or token beside it."},
		{name: "anonymous", value: text{&a.Anonymous}, doc: "The tenant of callers without a key; empty refuses them."},
		{name: "key_files", value: texts{&a.KeyFiles, 0, "none"}, doc: "Files with more keys, as many as there are: one JSON object on a line, with tenant and what stands under its keys here."},
		{name: "failures_per_minute", value: count{&a.FailuresPerMinute, 0, 1_000_000}, doc: "How many credentials of no use one client address may bring before it is told to wait with 429; 0 is any number."},
		{name: "peppers", value: list[Pepper]{&a.Peppers, "pepper", pepperID, zero[Pepper], pepperKeys, 0, 2}, doc: "Secrets for hmac-sha256 key hashes; two while one replaces the other."},
		{name: "jwt", value: list[Issuer]{&a.JWT, "issuer", issuerID, defaultIssuer, issuerKeys, 0, maxIssuers}, doc: "Issuers whose JSON Web Tokens are believed."},
		{name: "mtls", value: list[Certificate]{&a.MTLS, "certificate", certificateID, zero[Certificate], certificateKeys, 0, 0}, doc: "Whom client certificates stand for; the first rule for the very id counts, then the longest above it, then the subject's."},
	}
}

func pepperKeys(p *Pepper) object {
	return object{
		{name: "version", value: count{&p.Version, 1, 1_000_000}, doc: "The number hashes name it by.", required: true},
		{name: "secret", value: secretText{&p.Secret}, doc: "At least 32 bytes; ${NAME} or file:PATH keep it out of this file.", required: true},
	}
}

func tenantKeys(t *Tenant) object {
	return object{
		{name: "name", value: text{&t.Name}, doc: "Unique; letters, digits, dot, dash and underscore.", required: true},
		{name: "models", value: texts{&t.Models, 1, "all"}, doc: "Public model names it may use, each perhaps with * at its end; all when absent."},
		{name: "priority", value: choice{&t.Priority, priorities}, doc: "Whose requests go first when they have to wait for room."},
		{name: "limits", value: limitKeys(&t.Limits), doc: "What it may use, with all its keys together."},
		{name: "model_limits", value: list[ModelLimits]{&t.ModelLimits, "limits of model", modelLimitsID, defaultModelLimits, modelLimitsKeys, 0, 0}, doc: "What it may use of single models."},
		{name: "idempotency", value: duration{&t.Idempotency, 0, maxDuration}, doc: "How long a request with an Idempotency-Key that was sent before gets the answer of then; 0 is off."},
		{name: "keys", value: list[Key]{&t.Keys, "key", keyID, defaultKey, apiKeyKeys, 0, 0}, doc: "Its API keys."},
	}
}

func apiKeyKeys(k *Key) object {
	return object{
		{name: "name", value: text{&k.Name}, doc: "Unique in the tenant; for logs and metrics.", required: true},
		{name: "hash", value: text{&k.Hash}, doc: "What `helixflow keys new` prints: sha256:<id>:<digest> or hmac-sha256:<pepper version>:<id>:<digest>."},
		{name: "previous", value: object{
			{name: "hash", value: text{&k.Previous.Hash}, doc: "Its hash, with the same id."},
			{name: "until", value: date{&k.Previous.Until, "none"}, doc: "The moment from which it is refused."},
		}, doc: "The secret it had before, still good for a while: `helixflow keys new --id` makes another one for an id."},
		{name: "generate", value: boolean{&k.Generate}, doc: "Make a fresh key at each start and print it once; for trying things out."},
		{name: "not_before", value: date{&k.NotBefore, "at once"}, doc: "The moment the key begins: RFC 3339, or a date, which means its first moment in UTC."},
		{name: "expires", value: date{&k.Expires, "never"}, doc: "The moment the key ends: RFC 3339, or a date, which means its first moment in UTC."},
		{name: "revoked", value: since{&k.Revoked}, doc: "true, or the moment from which it is refused: its line stays, for whoever wonders later."},
		{name: "models", value: texts{&k.Models, 1, "all"}, doc: "Which of the tenant's models it may use, each perhaps with * at its end; all of them when absent."},
		{name: "endpoints", value: texts{&k.Endpoints, 1, "all"}, doc: "What it may call, by the names that metrics use, such as chat_completions or image_*; everything when absent."},
		{name: "from", value: prefixes{&k.From, 1}, doc: "Addresses or CIDRs it may be used from; anywhere when absent."},
		{name: "limits", value: limitKeys(&k.Limits), doc: "What this key may use of its tenant's."},
		{name: "debug", value: boolean{&k.Debug}, doc: "The key may ask how it was routed."},
	}
}

func poolKeys(p *Pool) object {
	return object{
		{name: "name", value: text{&p.Name}, doc: "Unique; letters, digits, dot, dash and underscore.", required: true},
		{name: "engine", value: choice{&p.Engine, engines}, doc: "What the backends run."},
		{name: "balance", value: choice{&p.Balance, balances}, doc: "How a backend is chosen; prefix_aware and cost are other names of adaptive."},
		{name: "adaptive", value: adaptiveKeys(&p.Adaptive), doc: "The constants of adaptive. See docs/explanation/routing.md before changing one."},
		{name: "shadow", value: choiceSet{&p.Shadow, balances}, doc: "Policies that decide beside it without effect, four at most: what they would have done is counted and logged."},
		{name: "prefix_index", value: orOff{&p.PrefixIndex.Off, prefixIndexKeys(&p.PrefixIndex)}, doc: "What is remembered, in hashes, of which backend has read which prompts, for adaptive; off remembers nothing."},
		{name: "session_header", value: text{&p.SessionHeader}, doc: "For session_affinity: the request header that names a session. Without it prompt_cache_key, conversation or user of the body do."},
		{name: "cache_salt", value: choice{&p.CacheSalt, cacheSalts}, doc: "Whether requests tell the engine, in cache_salt, whose they are: then its prefix cache keeps tenants apart. vLLM knows it; what a client sends there is replaced."},
		{name: "usage", value: choice{&p.Usage, usageModes}, doc: "Whether to ask a streaming backend for usage when the client did not."},
		{name: "api_key", value: secretText{&p.APIKey}, doc: "Sent to the backends as a bearer token, instead of the client's credential."},
		{name: "keys", value: secretTexts{&p.Keys}, doc: "Several credentials instead of api_key: used in turn, and rested when a backend refuses one."},
		{name: "headers", value: secretMap{&p.Headers}, doc: "Extra headers for the backends."},
		{name: "tls", value: clientTLSKeys(&p.TLS, "the backends' certificate"), doc: "How to trust, and be trusted by, https backends."},
		{name: "proxy", value: secretText{&p.Proxy}, doc: "Egress proxy, http://[user:password@]host:port."},
		{name: "tenant", value: text{&p.Tenant}, doc: "Whose account the backends' is: that tenant alone may list what lies there, and name what the router has not seen being made. When empty: the only tenant, or nobody."},
		{name: "health", value: orOff{&p.Health.Off, healthKeys(&p.Health)}, doc: "How each backend is asked whether it is well; off leaves it to the requests to find out."},
		{name: "ejection", value: orOff{&p.Ejection.Off, ejectionKeys(&p.Ejection)}, doc: "When a backend is taken out because its requests fail; off never does."},
		{name: "signals", value: orOff{&p.Signals.Off, signalKeys(&p.Signals)}, doc: "How the metrics of each backend are read, whose names the engine decides; off reads none. An engine without metrics has nothing to read."},
		{name: "serves", value: choice{&p.Serves, servesModes}, doc: "Whether a backend gets requests for models that its own list lacks: listed gives it none, any does not ask for lists, auto is listed where the engine serves nothing else (vllm, ollama)."},
		{name: "retry", value: object{
			{name: "attempts", value: count{&p.Retry.Attempts, 1, 3}, doc: "Tries in all, the first included, each on another backend."},
			{name: "budget", value: share{&p.Retry.Budget, 0, Whole}, doc: "The most retries, as a share of the requests of the last 10 s, besides a few for small pools."},
		}, doc: "How often a request that failed before its answer began is tried again."},
		{name: "hedge", value: orOff{&p.Hedge.Off, object{
			{name: "after", value: duration{&p.Hedge.After, 0, maxDuration}, doc: "An answer that has not begun by then is late; 0s goes by percentile."},
			{name: "percentile", value: share{&p.Hedge.Percentile, Whole / 2, Whole - 1}, doc: "Late is what takes longer, beside what was expected, than this share of the pool's answers did."},
			{name: "budget", value: share{&p.Hedge.Budget, 0, Whole}, doc: "The most second tries, as a share of the requests; they count as retries, too."},
		}}, doc: "Ask a second backend where the first one is late, and take the answer that begins first; off unless this key is given."},
		{name: "queue", value: orOff{&p.Queue.Off, object{
			{name: "wait", value: duration{&p.Queue.Wait, 0, maxDuration}, doc: "How long a request may wait for room, and how much work may be ahead of it."},
			{name: "size", value: count{&p.Queue.Size, 0, 1_000_000}, doc: "How many may wait."},
		}}, doc: "Where requests wait when every backend is at its limit; off refuses them at once."},
		{name: "concurrency", value: orOff{&p.Concurrency.Off, object{
			{name: "min", value: count{&p.Concurrency.Min, 1, 1_000_000}, doc: "A backend's limit never falls below."},
			{name: "max", value: count{&p.Concurrency.Max, 1, 1_000_000}, doc: "Nor rises above; min when that is more."},
		}}, doc: "How many requests each backend can take at once is found out from its answers, at most max_inflight; off does not look, as engine openai does unless this key is given."},
		{name: "warmup", value: object{
			{name: "model", value: text{&p.Warmup.Model}, doc: "The model it asks for, as the backend knows it.", required: true},
			{name: "prompt", value: text{&p.Warmup.Prompt}, doc: "The user's message."},
			{name: "max_tokens", value: count{&p.Warmup.MaxTokens, 1, 4096}, doc: "How much it asks for."},
			{name: "timeout", value: duration{&p.Warmup.Timeout, time.Millisecond, maxDuration}, doc: "How long the answer may take; then, or when it fails, the backend is taken in without."},
		}, doc: "One request for a chat completion before a backend that is new, or back from being unreachable, gets others."},
		{name: "slow_start", value: duration{&p.SlowStart, 0, maxDuration}, doc: "How long a backend that is new, or back, takes to get its whole share; 0 is at once."},
		{name: "drain_timeout", value: duration{&p.DrainTimeout, 0, maxDuration}, doc: "How long the running requests of a backend that is drained, or left this file, may take to end."},
		{name: "backends", value: list[Backend]{&p.Backends, "backend", backendID, defaultBackend, backendKeys, 1, MaxBackends}, doc: "The engines; may be left out where discover finds some."},
		{name: "discover", value: discoverKeys(&p.Discover), doc: "Where more backends are found while the router runs: one of dns and file."},
	}
}

func adaptiveKeys(a *Adaptive) object {
	return object{
		{name: "surcharge", value: count{&a.Surcharge, 0, 100}, doc: "How many times over a request pays for prompt that a backend has to compute though another one has it cached: what it displaces there."},
		{name: "popularity", value: count{&a.Popularity, 1, 255}, doc: "After how many uses of late a piece of prompt costs half of that, since it may well lie in every cache."},
		{name: "affinity_max_wait", value: duration{&a.AffinityMaxWait, 0, time.Hour}, doc: "The longest that the surcharge may make a request wait for a backend that has its prompt cached."},
		{name: "interference", value: share{&a.Interference, 0, Whole}, doc: "Which part of the slowdown by other requests' generating counts."},
		{name: "per_request", value: duration{&a.PerRequest, 0, time.Second}, doc: "By how much a running request prolongs each step of a backend, until answers have shown it."},
		{name: "per_kv_token", value: duration{&a.PerKVToken, 0, time.Millisecond}, doc: "By how much a token of its context does, likewise."},
		{name: "kv_pressure", value: duration{&a.KVPressure, 0, time.Minute}, doc: "What a KV cache or a quota costs that is half used; one that is nearly used up costs 49 times it."},
		{name: "prefill_rate", value: count{&a.PrefillRate, 1, 100_000_000}, doc: "How many prompt tokens a second a backend is taken to read until its requests have shown it, within a factor of four."},
		{name: "home", value: share{&a.Home, 0, Whole}, doc: "The part of a prompt that its home among the backends is taken to have cached, while other routers do not tell what they sent where."},
		{name: "probe", value: share{&a.Probe, 0, Whole}, doc: "The share of the picks that ignore that a backend was slow, to see whether it still is."},
	}
}

func prefixIndexKeys(x *PrefixIndex) object {
	return object{
		{name: "memory", value: size{&x.Memory, 64 << 10, 16 << 30}, doc: "The most it may take; as much as that only where the backends' caches call for it."},
		{name: "salt", value: choice{&x.Salt, prefixSalts}, doc: "Whose prompts are told apart though they begin alike: nobody's, or each tenant's, so that none can find out by the clock what another one asks."},
	}
}

func healthKeys(h *Health) object {
	return object{
		{name: "path", value: text{&h.Path}, doc: "What to GET: no answer or a 5xx is bad, a 4xx lives and is warned of; empty only opens a connection."},
		{name: "every", value: duration{&h.Every, 10 * time.Millisecond, time.Hour}, doc: "How often; each second while the backend is out."},
		{name: "timeout", value: duration{&h.Timeout, time.Millisecond, time.Hour}, doc: "How long an answer may take; at most every, and never more by default."},
		{name: "unhealthy", value: count{&h.Unhealthy, 1, 100}, doc: "Bad checks in a row that take the backend out."},
		{name: "healthy", value: count{&h.Healthy, 1, 100}, doc: "Good checks in a row that take it back."},
	}
}

func ejectionKeys(e *Ejection) object {
	return object{
		{name: "consecutive", value: count{&e.Consecutive, 1, 1000}, doc: "Failures in a row that take a backend out."},
		{name: "rate", value: share{&e.Rate, 1, Whole}, doc: "More than this share of failures in 40 s takes it out as well; 100% never does."},
		{name: "samples", value: count{&e.Samples, 1, 1_000_000}, doc: "Requests in these 40 s before rate counts."},
		{name: "base", value: duration{&e.Base, 10 * time.Millisecond, maxDuration}, doc: "How long it stays out the first time, n times that the n-th time."},
		{name: "max", value: duration{&e.Max, 10 * time.Millisecond, maxDuration}, doc: "The longest it stays out; base when that is more."},
		{name: "max_share", value: share{&e.MaxShare, 0, Whole}, doc: "The most of the pool's backends that may be out for this reason at once; the last one never is."},
		{name: "panic", value: share{&e.Panic, 0, Whole}, doc: "With fewer healthy backends than this share, ejections are ignored; 0% never does."},
	}
}

func signalKeys(s *Signals) object {
	return object{
		{name: "every", value: duration{&s.Every, 200 * time.Millisecond, time.Minute}, doc: "How often; less often while an engine takes more than 100 ms for it, or fails."},
		{name: "path", value: text{&s.Path}, doc: "What to GET; the engine's own place when empty."},
		{name: "port", value: count{&s.Port, 0, 65535}, doc: "The port where it is, if not the backend's own, as with Triton; 0 is the same."},
	}
}

func discoverKeys(d *Discover) object {
	return object{
		{name: "dns", value: object{
			{name: "name", value: text{&d.DNS.Name}, doc: "The name that is looked up.", required: true},
			{name: "type", value: choice{&d.DNS.Type, recordTypes}, doc: "a: its addresses of both families; srv: the hosts, ports and weights of its SRV records of the lowest priority."},
			{name: "port", value: count{&d.DNS.Port, 0, 65535}, doc: "The port of every address."},
			{name: "scheme", value: choice{&d.DNS.Scheme, schemes}, doc: "How the backends are spoken to."},
			{name: "path", value: text{&d.DNS.Path}, doc: "The path of every backend's URL."},
			{name: "every", value: duration{&d.DNS.Every, time.Second, time.Hour}, doc: "How often; a tenth more or less."},
			{name: "max_inflight", value: count{&d.DNS.MaxInflight, 0, 1_000_000}, doc: "The most requests at once on each of them; 0 means no bound."},
		}, doc: "Backends that DNS names."},
		{name: "file", value: text{&d.File}, doc: "A file, YAML or JSON, of one key, backends, as that of a pool; it is watched as this one is."},
	}
}

func backendKeys(b *Backend) object {
	return object{
		{name: "url", value: text{&b.URL}, doc: "http:// or https://, perhaps with a path; or sim:NAME, an engine simulated inside the process.", required: true},
		{name: "weight", value: count{&b.Weight, 1, 1000}, doc: "Its share among the pool's backends."},
		{name: "tier", value: count{&b.Tier, 1, 100}, doc: "For the policy priority: the lowest tier in which a backend has room is used."},
		{name: "max_inflight", value: count{&b.MaxInflight, 0, 1_000_000}, doc: "The most requests at once; 0 means no bound."},
		{name: "tls", value: clientTLSKeys(&b.TLS, "this backend's certificate"), doc: "What is otherwise than in the pool's tls."},
	}
}

func clientTLSKeys(t *ClientTLS, whose string) object {
	return object{
		{name: "ca", value: text{&t.CA}, doc: "PEM file of the authorities to trust; the system's when empty."},
		{name: "cert", value: text{&t.Cert}, doc: "PEM file of the client certificate."},
		{name: "key", value: text{&t.Key}, doc: "PEM file of its private key."},
		{name: "server_name", value: text{&t.ServerName}, doc: "The name expected in " + whose + "; the URL's host when empty."},
	}
}

func hookKeys(h *Hook) object {
	return object{
		{name: "name", value: text{&h.Name}, doc: "Unique; letters, digits, dot, dash and underscore.", required: true},
		{name: "url", value: text{&h.URL}, doc: "Where it is asked, by POST: http:// or https://, perhaps with a path.", required: true},
		{name: "token", value: secretText{&h.Token}, doc: "Sent to it as a bearer token."},
		{name: "when", value: choice{&h.When, hookPhases}, doc: "What it sees: requests before they are sent on, answers before the client gets them, or both."},
		{name: "timeout", value: duration{&h.Timeout, time.Millisecond, maxDuration}, doc: "How long one reply may take, connecting included."},
		{name: "on_error", value: choice{&h.OnError, refuseOrPass}, doc: "What happens when it gives no reply that makes sense: refuse fails closed, pass fails open."},
		{name: "on_unseen", value: choice{&h.OnUnseen, refuseOrPass}, doc: "What happens to what it cannot be shown: a body above max_body, a form, a websocket that is not read, a streamed answer or one that is not JSON."},
		{name: "max_body", value: size{&h.MaxBody, 1 << 10, 1 << 30}, doc: "The biggest body of a request or an answer that it is shown, and may replace it with."},
		{name: "max_inflight", value: count{&h.MaxInflight, 0, 1_000_000}, doc: "The most questions at once, one more is an error; 0 means no bound."},
		{name: "tls", value: clientTLSKeys(&h.TLS, "its certificate"), doc: "How to trust, and be trusted by, an https hook."},
	}
}

func modelKeys(m *Model) object {
	return object{
		{name: "name", value: text{&m.Name}, doc: "The name callers write; * catches every other name.", required: true},
		{name: "aliases", value: texts{&m.Aliases, 0, "none"}, doc: "Other names for it."},
		{name: "targets", value: list[Target]{&m.Targets, "target", targetID, defaultTarget, targetKeys, 1, maxTargets}, doc: "Where it leads: by priority, split by weight inside a priority.", required: true},
		{name: "hooks", value: inTurn{texts{&m.Hooks, 0, "none"}}, doc: "Hooks that look at its requests and answers, by name, in this order."},
		{name: "fallback_hold", value: duration{&m.FallbackHold, 0, maxDuration}, doc: "After falling back to a later priority, how long to stay there; 0 tries the first one each time."},
		{name: "params", value: object{
			{name: "default", value: paramDefaults{&m.Params.Default}, doc: "Values for parameters that a request leaves out."},
			{name: "cap", value: paramCaps{&m.Params.Cap}, doc: "The most that a number in a request may be; a request that leaves it out is not touched."},
			{name: "drop", value: texts{&m.Params.Drop, 0, "none"}, doc: "Parameters taken out of requests."},
		}, doc: "Edits to the parameters of requests, top level only."},
		{name: "cache", value: modelCacheKeys(&m.Cache), doc: "Which answers are kept and given again."},
		{name: "timeouts", value: timeoutKeys(&m.Timeouts), doc: "Bounds on the phases of one request."},
		{name: "limits", value: limitKeys(&m.Limits), doc: "What all requests for this model may use."},
		{name: "price", value: priceKeys(&m.Price), doc: "What its tokens cost, for budgets."},
	}
}

func targetKeys(t *Target) object {
	return object{
		{name: "pool", value: text{&t.Pool}, doc: "The name of a pool.", required: true},
		{name: "model", value: text{&t.Model}, doc: "The model's name there; empty leaves it as the caller wrote it."},
		{name: "priority", value: count{&t.Priority, 1, 100}, doc: "1 is tried first; later ones when nothing before is usable."},
		{name: "weight", value: count{&t.Weight, 0, 1000}, doc: "Its share of the requests among the targets of its priority; 0 gets none."},
		{name: "mirror", value: share{&t.Mirror, 1, Whole}, doc: "Makes it a mirror: it gets copies of this share of the requests, and its answers are thrown away."},
		{name: "context", value: amount{&t.Context}, doc: "How many tokens fit there, prompt and answer together: longer requests go to other targets. Not known when absent."},
		{name: "lacks", value: choiceSet{&t.Lacks, targetLacks}, doc: "What it cannot do: requests that need it go to other targets."},
	}
}

func timeoutKeys(t *Timeouts) object {
	return object{
		{name: "connect", value: duration{&t.Connect, time.Millisecond, maxDuration}, doc: "To open a connection."},
		{name: "first_token", value: duration{&t.FirstToken, time.Millisecond, maxDuration}, doc: "From the request sent to the first piece of the answer."},
		{name: "idle", value: duration{&t.Idle, time.Millisecond, maxDuration}, doc: "Between two pieces of an answer."},
		{name: "total", value: duration{&t.Total, time.Millisecond, maxDuration}, doc: "The whole request."},
		{name: "keepalive", value: duration{&t.Keepalive, 0, maxDuration}, doc: "While the backend is silent, how often a streaming client gets a comment line; 0 is never."},
	}
}

func passthroughKeys(p *Passthrough) object {
	return object{
		{name: "prefix", value: text{&p.Prefix}, doc: "The path and all below it, such as /v1/files: what no model decides there.", required: true},
		{name: "pool", value: text{&p.Pool}, doc: "Where it goes. Without one, /v1/realtime and /v1/responses turn on the websockets there, which the model routes."},
		{name: "shared", value: boolean{&p.Shared}, doc: "What is below it belongs to every tenant: no ids are checked."},
		{name: "timeouts", value: timeoutKeys(&p.Timeouts), doc: "Bounds on the phases of one request."},
	}
}

func redisKeys(c *Redis) object {
	return object{
		{name: "url", value: secretText{&c.URL}, doc: "redis://[user[:password]@]host[:port][/database], or rediss:// for TLS; every router for itself when empty."},
		{name: "password", value: secretText{&c.Password}, doc: "Where the url has none; ${NAME} or file:PATH keep it out of this file."},
		{name: "cluster", value: boolean{&c.Cluster}, doc: "A Redis Cluster, of which url is one node; the others are found out. It has no database but 0."},
		{name: "nodes", value: texts{&c.Nodes, 0, "none"}, doc: "Further nodes of the cluster to ask for the others, in case url's is away: host:port."},
		{name: "tls", value: clientTLSKeys(&c.TLS, "its certificate"), doc: "How to trust, and be trusted by, a rediss:// server."},
		{name: "timeout", value: duration{&c.Timeout, time.Millisecond, time.Second}, doc: "How long one operation may take; a request that has to ask waits no longer than this."},
		{name: "connect_timeout", value: duration{&c.ConnectTimeout, 10 * time.Millisecond, 10 * time.Second}, doc: "How long a connection may take to open."},
		{name: "pool_size", value: count{&c.PoolSize, 0, 1000}, doc: "Connections at most; 0 is four for each processor."},
		{name: "prefix", value: text{&c.Prefix}, doc: "What the names of its keys begin with: routers with the same one share their limits."},
	}
}

func clusterKeys(c *Cluster) object {
	return object{
		{name: "routers", value: count{&c.Routers, 0, 1000}, doc: "How many routers there are, this one too. From 2 on, while it hears of no other one, it goes by homes: see docs/how-to/cluster.md. 0 is what the last hour has shown.", restart: true},
		{name: "listen", value: text{&c.Listen}, doc: "Where other replicas connect, by TCP and UDP: host:port. By itself when empty.", restart: true},
		{name: "advertise", value: text{&c.Advertise}, doc: "Where they reach this one: host:port; found out when empty.", restart: true},
		{name: "peers", value: texts{&c.Peers, 0, "none"}, doc: "Some of the replicas, or all: host:port. A name stands for all its addresses, this one's too.", restart: true},
		{name: "secret", value: secretText{&c.Secret}, doc: "What replicas know each other by, at least 32 characters; it encrypts all they say.", restart: true},
	}
}

func logKeys(l *Log) object {
	return object{
		{name: "level", value: choice{&l.Level, logLevels}, doc: "The least severe operational log line that is written."},
		{name: "access", value: text{&l.Access}, doc: "Where one JSON line per request goes: off, stdout, stderr, or a file's path with a / in it. Never a prompt or a key."},
		{name: "access_sample", value: share{&l.AccessSample, 1, Whole}, doc: "The share of requests that get a line; those answered with 500 and above, or cut, always do."},
		{name: "access_max_size", value: size{&l.AccessMaxSize, 4 << 10, 1 << 40}, doc: "The size at which the file is rotated."},
		{name: "access_keep", value: count{&l.AccessKeep, 0, 1000}, doc: "How many rotated files stay beside the current one."},
		{name: "access_hashes", value: boolean{&l.AccessHashes}, doc: "Whether lines have hashes of how prompts begin, for helixflow replay. Their seed is secret and new at each start."},
	}
}

// What an element of a list is known by, from one file to the next.

func tenantID(t *Tenant) string   { return t.Name }
func keyID(k *Key) string         { return k.Name }
func pepperID(p *Pepper) string   { return strconv.Itoa(p.Version) }
func poolID(p *Pool) string       { return p.Name }
func backendID(b *Backend) string { return b.URL }
func hookID(h *Hook) string       { return h.Name }
func modelID(m *Model) string     { return m.Name }

// passthroughID tells the two kinds apart that one prefix may stand for.
func passthroughID(p *Passthrough) string {
	if p.IsWebsocket() {
		return p.Prefix + ", websockets"
	}
	return p.Prefix
}

func targetID(t *Target) string {
	id := t.Pool
	if t.Model != "" {
		id += " as " + t.Model
	}
	if t.IsMirror() {
		id += ", a mirror"
	}
	return id
}
