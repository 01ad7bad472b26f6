package configs

import "time"

// The table of keys: each key of the file with what it may hold, where it goes
// and what it means. Decoder, suggestions and JSON schema all read it.

const maxDuration = 24 * time.Hour

var (
	halfCloseModes = []string{"cancel", "ignore"}
	engines        = []string{"openai", "vllm", "sglang", "tgi", "trtllm", "llamacpp", "ollama", "sim"}
	balances       = []string{"least_inflight", "round_robin"}
	usageModes     = []string{"inject", "as_is"}
	logLevels      = []string{"debug", "info", "warn", "error"}
)

// key is one line of the table.
type key struct {
	name     string
	value    value
	doc      string
	required bool
}

func rootKeys(c *Config) object {
	return object{
		{name: "server", value: serverKeys(&c.Server), doc: "The listeners and what they accept."},
		{name: "auth", value: authKeys(&c.Auth), doc: "How callers prove who they are."},
		{name: "tenants", value: list[Tenant]{&c.Tenants, zero[Tenant], tenantKeys, 1, 0}, doc: "The customers: their keys, and the models they may use.", required: true},
		{name: "pools", value: list[Pool]{&c.Pools, defaultPool, poolKeys, 1, 0}, doc: "Sets of interchangeable backends.", required: true},
		{name: "models", value: list[Model]{&c.Models, defaultModel, modelKeys, 1, 0}, doc: "The public names of models, and where they lead.", required: true},
		{name: "log", value: object{
			{name: "level", value: choice{&c.Log.Level, logLevels}, doc: "The least severe operational log line that is written."},
		}, doc: "The operational log."},
	}
}

func serverKeys(s *Server) object {
	return object{
		{name: "listen", value: text{&s.Listen}, doc: "Where clients connect: host:port, an empty host for every address."},
		{name: "admin", value: text{&s.Admin}, doc: "Where /healthz, /readyz and /metrics are served: host:port on loopback."},
		{name: "max_body", value: size{&s.MaxBody, 1 << 10, 1 << 30}, doc: "The biggest request body, in bytes."},
		{name: "max_header", value: size{&s.MaxHeader, 1 << 10, 1 << 20}, doc: "The biggest request header, in bytes."},
		{name: "lame_duck", value: duration{&s.LameDuck, 0, maxDuration}, doc: "After a stop signal: how long to report not ready and still accept; part of drain_timeout, and never more by default."},
		{name: "drain_timeout", value: duration{&s.DrainTimeout, 0, maxDuration}, doc: "After a stop signal: how long running requests may take to end."},
		{name: "half_close", value: choice{&s.HalfClose, halfCloseModes}, doc: "What a client that closes its sending side means: it left, or nothing."},
		{name: "cors", value: object{
			{name: "origins", value: texts{&s.CORS.Origins, 0}, doc: "Origins such as https://app.example.com, or * for any."},
		}, doc: "Which web pages may call from a browser; none unless listed."},
		{name: "tls", value: object{
			{name: "cert", value: text{&s.TLS.Cert}, doc: "PEM file of the certificate and its chain."},
			{name: "key", value: text{&s.TLS.Key}, doc: "PEM file of the private key."},
		}, doc: "Serve HTTPS; both files or neither."},
	}
}

func authKeys(a *Auth) object {
	return object{
		{name: "anonymous", value: text{&a.Anonymous}, doc: "The tenant of callers without a key; empty refuses them."},
		{name: "peppers", value: list[Pepper]{&a.Peppers, zero[Pepper], pepperKeys, 0, 2}, doc: "Secrets for hmac-sha256 key hashes; two while one replaces the other."},
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
		{name: "models", value: texts{&t.Models, 1}, doc: "Public model names it may use, each perhaps with * at its end; all when absent."},
		{name: "keys", value: list[Key]{&t.Keys, zero[Key], apiKeyKeys, 0, 0}, doc: "Its API keys."},
	}
}

func apiKeyKeys(k *Key) object {
	return object{
		{name: "name", value: text{&k.Name}, doc: "Unique in the tenant; for logs and metrics.", required: true},
		{name: "hash", value: text{&k.Hash}, doc: "What `helixflow keys new` prints: sha256:<id>:<digest> or hmac-sha256:<pepper version>:<id>:<digest>."},
		{name: "generate", value: boolean{&k.Generate}, doc: "Make a fresh key at each start and print it once; for trying things out."},
		{name: "expires", value: date{&k.Expires}, doc: "The moment the key ends: RFC 3339, or a date, which means its first moment in UTC."},
		{name: "debug", value: boolean{&k.Debug}, doc: "The key may ask how it was routed."},
	}
}

func poolKeys(p *Pool) object {
	return object{
		{name: "name", value: text{&p.Name}, doc: "Unique; letters, digits, dot, dash and underscore.", required: true},
		{name: "engine", value: choice{&p.Engine, engines}, doc: "What the backends run."},
		{name: "balance", value: choice{&p.Balance, balances}, doc: "How a backend is chosen."},
		{name: "usage", value: choice{&p.Usage, usageModes}, doc: "Whether to ask a streaming backend for usage when the client did not."},
		{name: "api_key", value: secretText{&p.APIKey}, doc: "Sent to the backends as a bearer token, instead of the client's credential."},
		{name: "headers", value: secretMap{&p.Headers}, doc: "Extra headers for the backends."},
		{name: "tls", value: object{
			{name: "ca", value: text{&p.TLS.CA}, doc: "PEM file of the authorities to trust; the system's when empty."},
			{name: "cert", value: text{&p.TLS.Cert}, doc: "PEM file of the client certificate."},
			{name: "key", value: text{&p.TLS.Key}, doc: "PEM file of its private key."},
			{name: "server_name", value: text{&p.TLS.ServerName}, doc: "The name expected in the backends' certificate; the URL's host when empty."},
		}, doc: "How to trust, and be trusted by, https backends."},
		{name: "proxy", value: secretText{&p.Proxy}, doc: "Egress proxy, http://[user:password@]host:port."},
		{name: "backends", value: list[Backend]{&p.Backends, defaultBackend, backendKeys, 1, 0}, doc: "The engines.", required: true},
	}
}

func backendKeys(b *Backend) object {
	return object{
		{name: "url", value: text{&b.URL}, doc: "http:// or https://, perhaps with a path; or sim:NAME, an engine simulated inside the process.", required: true},
		{name: "weight", value: count{&b.Weight, 1, 1000}, doc: "Its share among the pool's backends."},
		{name: "max_inflight", value: count{&b.MaxInflight, 0, 1_000_000}, doc: "The most requests at once; 0 means no bound."},
	}
}

func modelKeys(m *Model) object {
	return object{
		{name: "name", value: text{&m.Name}, doc: "The name callers write; * catches every other name.", required: true},
		{name: "aliases", value: texts{&m.Aliases, 0}, doc: "Other names for it."},
		{name: "targets", value: list[Target]{&m.Targets, zero[Target], targetKeys, 1, 1}, doc: "Where it leads.", required: true},
		{name: "timeouts", value: timeoutKeys(&m.Timeouts), doc: "Bounds on the phases of one request."},
	}
}

func targetKeys(t *Target) object {
	return object{
		{name: "pool", value: text{&t.Pool}, doc: "The name of a pool.", required: true},
		{name: "model", value: text{&t.Model}, doc: "The model's name there; empty leaves it as the caller wrote it."},
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
