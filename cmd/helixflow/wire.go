package main

// What is connected to what: the only place that knows all rooms.

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"hash/fnv"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router"
)

// wire makes the edge and the admin API, and publishes the first snapshot.
func (a *app) wire() error {
	s := a.cfg.Server
	certs, err := serverTLS(s.TLS)
	if err != nil {
		return err
	}
	a.edge, err = router.NewServer(router.Options{
		MaxHeader:    int(s.MaxHeader),
		HalfClose:    s.HalfClose,
		LameDuck:     s.LameDuck,
		DrainTimeout: s.DrainTimeout,
		TLS:          certs,
		Metrics:      a.metrics,
		Log:          a.log,
	})
	if err != nil {
		return err
	}
	snapshot, err := router.Compile(a.cfg, router.World{Fleet: a.fleet, Metrics: a.metrics, Sim: a.engine}, 1)
	if err != nil {
		return err
	}
	a.edge.Publish(snapshot)
	a.admin, err = admin.New(s.Admin, admin.Deps{Readiness: a.edge, WriteMetrics: a.metrics.WritePrometheus, Log: a.log})
	return err
}

// serverTLS loads the certificate clients see; nil for plain HTTP.
func serverTLS(t configs.ServerTLS) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot load server.tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
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
