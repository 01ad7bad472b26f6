package router

import (
	"errors"
	"fmt"
	"time"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
)

// This file turns the tenants of a configuration and their keys into a keyring.

// addTenants builds the keyring and grants each principal its names.
func (s *Snapshot) addTenants(cfg *configs.Config) error {
	for _, t := range cfg.Tenants {
		if t.Idempotency > 0 {
			if s.lifetimes == nil {
				s.lifetimes = make(map[string]time.Duration)
			}
			s.lifetimes[t.Name] = t.Idempotency
		}
		if cfg.Auth.Anonymous == t.Name {
			s.anonymous = authn.Anonymous(t.Name, t.Models)
			s.grant(s.anonymous.Rights)
		}
	}
	ring, err := compileKeys(cfg, s.limitKey)
	if err != nil {
		return err
	}
	for _, r := range ring.Rights() {
		s.grant(r)
	}
	s.keyring = ring
	return nil
}

// CompileKeys makes the keyring of cfg alone, as Compile would. The error has all
// that is wrong with its keys, those in files too.
func CompileKeys(cfg *configs.Config) (*authn.Keyring, error) {
	return compileKeys(cfg, func(*configs.Tenant, *configs.Key, *authn.Rights) error { return nil })
}

// compileKeys makes the keyring of cfg, and tells limit of each key.
func compileKeys(cfg *configs.Config, limit func(*configs.Tenant, *configs.Key, *authn.Rights) error) (*authn.Keyring, error) {
	var peppers []authn.Pepper
	for _, p := range cfg.Auth.Peppers {
		peppers = append(peppers, authn.Pepper{Version: p.Version, Secret: p.Secret})
	}
	keys := cfg.CountKeyLines()
	for i := range cfg.Tenants {
		keys += len(cfg.Tenants[i].Keys)
	}
	ring, err := authn.NewBuilder(peppers, keys)
	if err != nil {
		return nil, fmt.Errorf("cannot make the keyring: %w", err)
	}
	add := func(t *configs.Tenant, k *configs.Key) error {
		own, err := ring.Add(keyEntry(t, k))
		if err != nil {
			return err
		}
		return limit(t, k, own)
	}
	var problems []error
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Keys {
			if err := add(t, &t.Keys[j]); err != nil {
				problems = append(problems, fmt.Errorf("cannot add key %q of tenant %q: %w", t.Keys[j].Name, t.Name, err))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := cfg.ReadKeyFiles(add); err != nil {
		return nil, err
	}
	return ring.Keyring(), nil
}

func keyEntry(t *configs.Tenant, k *configs.Key) *authn.Entry {
	return &authn.Entry{
		Tenant: t.Name, Name: k.Name,
		Hash: k.Hash, Former: k.Previous.Hash, FormerUntil: k.Previous.Until,
		NotBefore: k.NotBefore, Expires: k.Expires, Revoked: k.Revoked,
		Scope: authn.Scope{
			Debug: k.Debug, Models: t.Models, KeyModels: k.Models, Endpoints: k.Endpoints, From: k.From,
			Own: rulesFor(&k.Limits) != nil,
		},
	}
}

func (s *Snapshot) grant(r *authn.Rights) {
	for _, n := range s.listed {
		if r.MayUse([]byte(n.name)) {
			r.Allow(n.index)
		}
	}
}
