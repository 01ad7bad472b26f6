package configs

import "time"

// Every default of the configuration, once. The schema and the decoder take
// them from here.

// Default returns what an empty file would mean if it were allowed: the
// listeners, limits and log of the defaults, and no tenants, pools or models.
// The caller owns it.
func Default() *Config {
	return &Config{
		Server: Server{
			Listen:       ":8080",
			Admin:        "127.0.0.1:9090",
			MaxBody:      32 << 20,
			MaxUpload:    512 << 20,
			MaxSpool:     4 << 30,
			MaxHeader:    16 << 10,
			LameDuck:     5 * time.Second,
			DrainTimeout: 30 * time.Second,
			HalfClose:    "cancel",
			TLS:          ServerTLS{ClientAuth: "off"},
			Websockets:   Websockets{Max: 10_000, Idle: 5 * time.Minute, Total: time.Hour},

			IdempotencyMemory: 64 << 20,
		},
		Auth:   Auth{Order: []string{"key", "jwt", "mtls"}, FailuresPerMinute: 20},
		Cache:  defaultCache(),
		Limits: defaultLimits(),
		Redis:  Redis{Timeout: 20 * time.Millisecond, ConnectTimeout: time.Second, Prefix: "helixflow"},
		Log:    Log{Level: "info", Access: "off", AccessSample: Whole, AccessMaxSize: 100 << 20, AccessKeep: 5},
	}
}

// settle fills in the defaults that depend on other values.
func settle(r *reader, c *Config) {
	if s := &c.Server; !r.given(at("server", "lame_duck")) {
		s.LameDuck = min(s.LameDuck, s.DrainTimeout)
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		if !r.given(at("pools", i, "health", "timeout")) {
			p.Health.Timeout = min(p.Health.Timeout, p.Health.Every)
		}
		if !r.given(at("pools", i, "signals", "every")) && p.Engine == "llamacpp" {
			p.Signals.Every = 3 * time.Second // asked more often, it finds out late that a client has left
		}
		if !r.given(at("pools", i, "ejection", "max")) {
			p.Ejection.Max = max(p.Ejection.Max, p.Ejection.Base)
		}
		if !r.given(at("pools", i, "hedge")) {
			p.Hedge.Off = true
		}
		if !r.given(at("pools", i, "concurrency")) && p.Engine == "openai" { // a hosted API's limits are of another kind
			p.Concurrency.Off = true
		}
		if !r.given(at("pools", i, "concurrency", "max")) {
			p.Concurrency.Max = max(p.Concurrency.Max, p.Concurrency.Min)
		}
	}
}

func defaultTenant() Tenant { return Tenant{Priority: "default", Limits: defaultLimits()} }

func defaultKey() Key { return Key{Limits: defaultLimits()} }

func defaultPool() Pool {
	return Pool{
		Engine:        "openai",
		Balance:       "adaptive",
		Adaptive:      defaultAdaptive(),
		PrefixIndex:   PrefixIndex{Memory: 64 << 20, Salt: "none"},
		SessionHeader: "x-session-id",
		CacheSalt:     "off",
		Usage:         "inject",
		Health:        Health{Every: 5 * time.Second, Timeout: 2 * time.Second, Unhealthy: 3, Healthy: 2},
		Ejection:      defaultEjection(),
		Signals:       Signals{Every: time.Second},
		Serves:        "auto",
		Warmup:        Warmup{Prompt: "Hello", MaxTokens: 1, Timeout: time.Minute},
		Discover:      Discover{DNS: DNSDiscovery{Type: "a", Scheme: "http", Every: 10 * time.Second}},
		Retry:         Retry{Attempts: 2, Budget: Whole / 5},
		Hedge:         Hedge{Percentile: Whole * 95 / 100, Budget: Whole / 50},
		Queue:         Queue{Wait: 30 * time.Second, Size: 1024},
		Concurrency:   Concurrency{Min: 2, Max: 1024},
		SlowStart:     30 * time.Second,
		DrainTimeout:  10 * time.Minute,
	}
}

// defaultAdaptive is ROUTING 2.2.
func defaultAdaptive() Adaptive {
	return Adaptive{
		Surcharge:       8,
		Popularity:      8,
		AffinityMaxWait: 14 * time.Second,
		Interference:    Whole / 2,
		PerRequest:      20 * time.Microsecond,
		PerKVToken:      40 * time.Nanosecond,
		KVPressure:      30 * time.Millisecond,
		PrefillRate:     10_000,
		Home:            Whole / 10,
		Probe:           Whole / 200,
	}
}

// defaultEjection is ROUTING 2.8.
func defaultEjection() Ejection {
	return Ejection{
		Consecutive: 5,
		Rate:        Whole / 2,
		Samples:     20,
		Base:        30 * time.Second,
		Max:         5 * time.Minute,
		MaxShare:    Whole / 2,
		Panic:       Whole / 2,
	}
}

func defaultHook() Hook {
	return Hook{
		When:        "before",
		Timeout:     time.Second,
		OnError:     "refuse",
		OnUnseen:    "refuse",
		MaxBody:     1 << 20,
		MaxInflight: 256,
	}
}

func defaultBackend() Backend { return Backend{Weight: 1, Tier: 1} }

func defaultModel() Model {
	return Model{
		Limits:       defaultLimits(),
		FallbackHold: 30 * time.Second,
		Cache:        defaultModelCache(),
		Timeouts: Timeouts{
			Connect:    time.Second,
			FirstToken: 60 * time.Second,
			Idle:       30 * time.Second,
			Total:      10 * time.Minute,
			Keepalive:  15 * time.Second,
		},
	}
}

func defaultPassthrough() Passthrough {
	t := defaultModel().Timeouts
	t.Total = time.Hour // uploads and downloads
	return Passthrough{Timeouts: t}
}

func defaultTarget() Target { return Target{Priority: 1, Weight: 1} }

// zero is the default of things that have none.
func zero[T any]() T {
	var t T
	return t
}
