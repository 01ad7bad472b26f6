package router

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/configs"
)

// This file turns what models say of the cache into rules.

// addCache says where answers are kept, if a model has any kept.
func (s *Snapshot) addCache(cfg *configs.Config) {
	for i := range cfg.Models {
		if cfg.Models[i].Cache.Exact > 0 {
			s.cacheMemory, s.cacheShare, s.cacheAlone = cfg.Cache.Memory, cfg.Cache.TenantShare.Float(), !cfg.Cache.Redis
		}
	}
	for _, name := range cfg.Cache.Headers {
		s.cacheHeaders = append(s.cacheHeaders, []byte(strings.ToLower(name)))
	}
}

// addSalts makes the salts of tenants, if a pool is told them. Their secret is the
// newest pepper; without one they are no secret, which only matters to who reaches an
// engine without the router.
func (s *Snapshot) addSalts(cfg *configs.Config) {
	version := 0
	for _, p := range cfg.Auth.Peppers {
		if p.Version > version {
			version, s.saltSecret = p.Version, []byte(p.Secret.Reveal())
		}
	}
	s.salts = make(map[string]*tenantSalt)
	for _, p := range s.pools {
		if !p.saltsCache {
			continue
		}
		for i := range cfg.Tenants {
			name := cfg.Tenants[i].Name
			if s.salts[name] == nil {
				s.salts[name] = saltOf(s.saltSecret, name)
			}
		}
	}
}

var (
	sharings   = map[string]cache.Sharing{"key": cache.ByKey, "tenant": cache.ByTenant, "model": cache.ByModel, "shared": cache.ByAll}
	allowances = map[string]cache.Allowance{"sampling": cache.Sampled, "choices": cache.Choices, "server_tools": cache.ServerTools, "stored": cache.Stored}
	charges    = map[string]cache.Charge{"none": cache.ChargeNothing, "tokens": cache.ChargeTokens, "all": cache.ChargeAll}
)

// cachingOf is what is kept of a model's answers; nil for nothing.
func cachingOf(m *configs.Model) *caching {
	c := &m.Cache
	if c.Exact == 0 {
		return nil
	}
	k := &caching{
		Rule: cache.Rule{
			TTL: c.Exact, Jitter: c.Jitter.Float(), Sharing: sharings[c.Scope], MaxAnswer: c.MaxAnswer,
			Original: c.Replay == "original", Charge: charges[c.Charge],
		},
		route: routeDigest(m), coalesce: c.Coalesce,
	}
	for _, name := range c.Allow {
		k.Allow |= allowances[name]
	}
	return k
}

// routeDigest stands for all of a route that can change an answer: after a reload
// that changes any of it, and on a replica that is configured otherwise, answers of
// before are not found.
func routeDigest(m *configs.Model) (d cache.Digest) {
	h := sha256.New()
	for _, t := range m.Targets {
		name := t.Model
		if name == "" {
			name = m.Name
		}
		if !t.IsMirror() && t.Weight > 0 {
			fmt.Fprintf(h, "target %q %q %d\n", t.Pool, name, t.Priority)
		}
	}
	for _, p := range m.Params.Default {
		fmt.Fprintf(h, "default %q %q\n", p.Name, p.Value)
	}
	for _, p := range m.Params.Cap {
		fmt.Fprintf(h, "cap %q %q\n", p.Name, p.Value)
	}
	for _, name := range m.Params.Drop {
		fmt.Fprintf(h, "drop %q\n", name)
	}
	for _, name := range m.Hooks {
		fmt.Fprintf(h, "hook %q\n", name)
	}
	h.Sum(d[:0])
	return d
}
