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
	ring, err := compileKeys(cfg)
	if err != nil {
		return fmt.Errorf("cannot make the keyring: %w", err)
	}
	for _, r := range ring.Rights() {
		s.grant(r)
	}
	s.keyring = ring
	return nil
}

// compileKeys makes the keyring of cfg.
func compileKeys(cfg *configs.Config) (*authn.Keyring, error) {
	var peppers []authn.Pepper
	for _, p := range cfg.Auth.Peppers {
		peppers = append(peppers, authn.Pepper{Version: p.Version, Secret: p.Secret})
	}
	ring, err := authn.NewBuilder(peppers, 0)
	if err != nil {
		return nil, err
	}
	var problems []error
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Keys {
			if err := ring.Add(keyEntry(t, &t.Keys[j])); err != nil {
				problems = append(problems, fmt.Errorf("cannot add key %q of tenant %q: %w", t.Keys[j].Name, t.Name, err))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return ring.Keyring(), nil
}

func keyEntry(t *configs.Tenant, k *configs.Key) *authn.Entry {
	return &authn.Entry{
		Tenant: t.Name, Name: k.Name,
		Hash: k.Hash, Former: k.Previous.Hash, FormerUntil: k.Previous.Until,
		NotBefore: k.NotBefore, Expires: k.Expires, Revoked: k.Revoked,
		Scope: authn.Scope{Debug: k.Debug, Models: t.Models, KeyModels: k.Models, Endpoints: k.Endpoints, From: k.From},
	}
}

func (s *Snapshot) grant(r *authn.Rights) {
	for _, n := range s.listed {
		if r.MayUse([]byte(n.name)) {
			r.Allow(n.index)
		}
	}
}
