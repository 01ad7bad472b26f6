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
			MaxHeader:    16 << 10,
			LameDuck:     5 * time.Second,
			DrainTimeout: 30 * time.Second,
			HalfClose:    "cancel",
		},
		Log: Log{Level: "info"},
	}
}

// settle fills in the defaults that depend on other values.
func settle(r *reader, c *Config) {
	if s := &c.Server; !r.given(at("server", "lame_duck")) {
		s.LameDuck = min(s.LameDuck, s.DrainTimeout)
	}
}

func defaultPool() Pool {
	return Pool{Engine: "openai", Balance: "least_inflight", Usage: "inject"}
}

func defaultBackend() Backend { return Backend{Weight: 1} }

func defaultModel() Model {
	return Model{Timeouts: Timeouts{
		Connect:    time.Second,
		FirstToken: 60 * time.Second,
		Idle:       30 * time.Second,
		Total:      10 * time.Minute,
		Keepalive:  15 * time.Second,
	}}
}

// zero is the default of things that have none.
func zero[T any]() T {
	var t T
	return t
}
