package configs

// What a configuration says, typed. The keys an operator writes for these
// fields stand in keys.go, the defaults in defaults.go.

import (
	"encoding/json"
	"fmt"
	"log/slog"
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
	Models  []Model
	Log     Log
}

// Server is the listeners and what they accept.
type Server struct {
	Listen       string        // default ":8080"
	Admin        string        // default "127.0.0.1:9090"
	MaxBody      int64         // bytes; default 32 MiB
	MaxHeader    int64         // bytes; default 16 KiB
	LameDuck     time.Duration // default 5s; inside DrainTimeout
	DrainTimeout time.Duration // default 30s
	HalfClose    string        // "cancel" (default) or "ignore"
	CORS         CORS
	TLS          ServerTLS
}

// CORS names the origins a browser may call from; none by default. "*" allows any.
type CORS struct{ Origins []string }

// ServerTLS serves HTTPS when Cert and Key name files.
type ServerTLS struct{ Cert, Key string }

// Auth says how callers prove who they are.
type Auth struct {
	Anonymous string   // a tenant's name, or "" for nobody
	Peppers   []Pepper // keyed hashing of API keys; at most two, versions differ
}

// Pepper is one HMAC secret for key hashes, at least 32 bytes.
type Pepper struct {
	Version int
	Secret  secret.Text
}

// Tenant is a customer: its keys, and the models they may use.
type Tenant struct {
	Name   string
	Models []string // names or patterns with one trailing "*"; empty means all
	Keys   []Key
}

// Key is one API key of a tenant: a hash, or Generate to have serve make one.
type Key struct {
	Name     string
	Hash     string    // "sha256:<id>:<base64url>" or "hmac-sha256:<pepper>:<id>:<base64url>"
	Generate bool      // a fresh key at each start, printed once
	Expires  time.Time // zero: never; a plain date is its first moment in UTC
	Debug    bool
}

// Pool is a set of interchangeable backends.
type Pool struct {
	Name     string
	Engine   string // openai (default) | vllm | sglang | tgi | trtllm | llamacpp | ollama | sim
	Balance  string // least_inflight (default) | round_robin
	Usage    string // inject (default) | as_is
	APIKey   secret.Text
	Headers  Headers // extra request headers
	TLS      PoolTLS
	Proxy    secret.Text // egress proxy URL; may hold a password
	Backends []Backend
}

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

// PoolTLS is how to trust, and be trusted by, the pool's https backends.
type PoolTLS struct{ CA, Cert, Key, ServerName string }

// Backend is one engine: an http or https URL, perhaps with a path, or
// "sim:NAME" for a simulated engine inside the process.
type Backend struct {
	URL         string
	Weight      int // 1 (default) to 1000
	MaxInflight int // 0 means no bound
}

// Model is a public name, and where it leads.
type Model struct {
	Name     string // "*" catches every other name
	Aliases  []string
	Targets  []Target // exactly one for now
	Timeouts Timeouts
}

// Target is a pool and the model's name there.
type Target struct {
	Pool  string
	Model string // empty: as the caller wrote it
}

// Timeouts bound the phases of one request.
type Timeouts struct {
	Connect    time.Duration // default 1s
	FirstToken time.Duration // default 60s
	Idle       time.Duration // default 30s, between two pieces of an answer
	Total      time.Duration // default 10m
	Keepalive  time.Duration // default 15s; an SSE comment to the client while the backend is silent
}

// Log is the operational log.
type Log struct {
	Level string // debug | info (default) | warn | error
}
