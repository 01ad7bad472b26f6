package main

// What is connected to what: the only place that knows all rooms.

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/pressure"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router"
)

// wire makes the edge and the admin API, and puts the first plan into force.
func (a *app) wire(cfg *configs.Config) error {
	s := cfg.Server
	room := func(bytes int64) bool { return a.memory.Take(bytes) }
	o := router.Options{MaxHeader: int(s.MaxHeader), HalfClose: s.HalfClose, SpoolDir: s.SpoolDir, Room: room, Sharing: a.sharing, Metrics: a.metrics, Log: a.log}
	if s.TLS.Cert != "" {
		o.TLS = &tls.Config{GetConfigForClient: a.tlsNow}
	}
	var err error
	if a.edge, err = router.NewServer(o); err != nil {
		return err
	}
	a.memory = pressure.Start(a.resources, a.pressed)
	a.metrics.Pressure(a.pressure)
	a.admin, err = admin.New(s.Admin, admin.Deps{
		Readiness:    a.edge,
		Backends:     fleetView{a},
		Status:       a.status,
		Config:       func() any { return a.plan.Load().cfg },
		Limits:       func() any { return router.LimitUsage(&a.limits, time.Now()) },
		Sharing:      a.sharingNow,
		Cache:        a.cacheNow,
		PurgeCache:   a.purgeCache,
		Reload:       a.reload,
		Explain:      a.explain,
		Drain:        a.drain,
		WriteMetrics: a.metrics.WritePrometheus,
		Token:        s.AdminToken,
		Log:          a.log,
	})
	if err != nil {
		return err
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	return a.enforce(cfg, 1)
}

// cacheNow is what is kept of answers; nil: no model has a cache.
func (a *app) cacheNow() any {
	if s, ok := a.edge.CacheStats(); ok {
		return s
	}
	return nil
}

// purgeCache forgets answers; the selection has been checked.
func (a *app) purgeCache(which admin.CacheSelection) (deleted int, err error) {
	s := cache.Selection{Tenant: which.Tenant, Model: which.Model}
	_, _ = hex.Decode(s.Digest[:], []byte(which.Digest))
	return a.edge.PurgeCache(s)
}

// certificate is what clients are shown, and perhaps asked for; nil for plain HTTP.
type certificate struct {
	pair   tls.Certificate
	config *tls.Config
}

// loadCertificate reads the files of t; nil when it names none.
func loadCertificate(t configs.ServerTLS) (*certificate, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err != nil {
		return nil, fmt.Errorf("cannot load server.tls from %s and %s: %w", t.Cert, t.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair}}
	if t.ClientAuth == "off" {
		return &certificate{pair, c}, nil
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.ClientAuth == "required" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	authorities, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot load server.tls.client_ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("cannot load server.tls.client_ca: %s holds no certificate", t.ClientCA)
	}
	return &certificate{pair, c}, nil
}

// end is when the certificate runs out; zero without one.
func (c *certificate) end() time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.pair.Leaf.NotAfter
}

// tlsNow is the TLS of the plan in force.
func (a *app) tlsNow(*tls.ClientHelloInfo) (*tls.Config, error) {
	if c := a.certs.Load(); c != nil {
		return c.config, nil
	}
	return nil, errors.New("no certificate: TLS was switched off and waits for a restart")
}

// issuerFigures is what a scrape shows of the keys of issuers.
func issuerFigures(k *authn.KeySets) []metric.Issuer {
	var list []metric.Issuer
	for name, f := range k.Figures() {
		list = append(list, metric.Issuer{Name: name, Keys: f.Keys, LastFetch: f.LastGood, Fetched: f.Fetched, Failed: f.Failed})
	}
	return list
}

// engine starts the simulated engine with this name, once, and returns its URL.
func (a *app) engine(name string) (string, error) {
	e := a.engines[name]
	if e == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		var err error
		if e, err = sim.Start(sim.Config{Name: name, Seed: h.Sum64()}, "127.0.0.1:0"); err != nil {
			return "", err
		}
		a.engines[name] = e
	}
	return "http://" + e.Addr(), nil
}

// generatedKey is a key that serve made for this run.
type generatedKey struct {
	tenant, name string
	key          secret.Text
}

// generateKeys makes the keys that cfg asks for, and puts their hashes there.
func generateKeys(cfg *configs.Config) ([]generatedKey, error) {
	var made []generatedKey
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Keys {
			if !t.Keys[j].Generate {
				continue
			}
			k, err := authn.Generate("test", rand.Reader)
			if err != nil {
				return nil, err
			}
			if t.Keys[j].Hash, err = authn.Hash(k.Text.Reveal(), nil); err != nil {
				return nil, err
			}
			made = append(made, generatedKey{tenant: t.Name, name: t.Keys[j].Name, key: k.Text})
		}
	}
	return made, nil
}

// fleetView is the fleet as the admin API wants it.
type fleetView struct{ a *app }

// List implements admin.Backends.
func (v fleetView) List() []admin.Backend {
	now := time.Now()
	var list []admin.Backend
	for _, e := range v.a.fleet.Status() {
		b := admin.Backend{
			Pool: e.Pool, URL: e.URL, State: admin.State(e.State.String()), Reason: e.Reason, Warning: e.Warning,
			Since: e.Since, InFlight: e.InFlight, Limit: e.Limit, Ejections: e.Ejections,
			LastError: e.LastError, LastErrorAt: e.LastErrorAt, CertificateEnds: e.Certificate,
			Signals: signalsView(e.Signals),
		}
		if e.ComesBack > 0 {
			b.BackAt = now.Add(e.ComesBack)
		}
		b.Weight, b.MaxInFlight = configured(v.a.plan.Load().full, e.Pool, e.URL)
		list = append(list, b)
	}
	return list
}

// Discovery implements admin.Backends.
func (v fleetView) Discovery() []admin.Discovery { return v.a.discovery.report() }

// signalsView is what an engine tells of itself, as the admin API has it.
func signalsView(s *backends.Signals) *admin.Signals {
	if s == nil {
		return nil
	}
	v := &admin.Signals{
		Engine: s.Engine, Problem: s.Problem, Known: map[string]float64{}, Missing: map[string]string{},
		Restarts: s.Began, Models: s.Served, Loaded: s.Loaded, ModelsProblem: s.Lists,
		Adapters: s.Held, Awaited: s.Queued,
	}
	for _, value := range s.Values {
		if value.Known {
			v.Known[value.Name] = value.Value
		} else {
			v.Missing[value.Name] = value.Why
		}
	}
	return v
}

// configured is what the plan says of a backend; zeros when it has left the file.
func configured(cfg *configs.Config, pool, url string) (weight, maxInflight int) {
	for _, p := range cfg.Pools {
		for _, b := range p.Backends {
			if p.Name == pool && b.URL == url {
				return b.Weight, b.MaxInflight
			}
		}
	}
	for _, h := range cfg.Hooks {
		if router.HookPool+h.Name == pool && h.URL == url {
			return 1, h.MaxInflight
		}
	}
	return 0, 0
}

// Drain implements admin.Backends.
func (v fleetView) Drain(pool, url string) error { return known(v.a.fleet.Drain(pool, url)) }

// Undrain implements admin.Backends.
func (v fleetView) Undrain(pool, url string) error { return known(v.a.fleet.Undrain(pool, url)) }

func known(err error) error {
	if errors.Is(err, backends.ErrNoEndpoint) {
		return admin.ErrNoBackend
	}
	return err
}

// status is what the status page shows besides the backends.
func (a *app) status() admin.Status {
	p := a.plan.Load()
	s := admin.Status{
		Version: build.Info(),
		Started: a.began,
		Config:  admin.ConfigStatus{File: a.settings.Config, Generation: p.generation, Loaded: p.since},
	}
	if last := a.lastReload.Load(); last != nil {
		s.Config.LastReload = *last
	}
	if p := a.memory.State(); p.Level != pressure.Calm {
		worst := p.Worst()
		s.Pressure = admin.Pressure{Level: p.Level.String(), Resource: worst.Resource, Used: worst.Used, Limit: worst.Limit}
	}
	for _, m := range a.metrics.Totals() {
		s.Models = append(s.Models, admin.Model{
			Name: m.Name, Requests: m.Requests, Failed: m.Failed, InputTokens: m.InputTokens, OutputTokens: m.OutputTokens,
		})
	}
	for _, e := range a.edge.Errors() {
		s.Errors = append(s.Errors, admin.Event{At: e.At, Source: e.Source, Text: e.Text, Count: e.Count})
	}
	return s
}

// transition tells the operator that a backend's state has changed, and the other
// replicas if it went out.
func (a *app) transition(t backends.Transition) {
	a.cluster.note(t)
	log := a.log.Info
	if t.To != backends.Healthy && t.To != backends.SlowStart {
		log = a.log.Warn
	}
	log("backend state", "pool", t.Pool, "backend", t.URL, "from", t.From.String(), "to", t.To.String(), "reason", t.Reason)
}
