package router

import (
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router/admission"
)

// This file finds out what is known of a tenant's requests before their bodies are
// read.

// addStandings finds out which pools each tenant's models lead to. A key may use
// fewer of them: then less is known, and less refused, before the body is read.
func (s *Snapshot) addStandings(cfg *configs.Config) {
	s.standings = make(map[string]*standing, len(cfg.Tenants))
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		own := &standing{class: classes[t.Priority]}
		seen := make(map[*Pool]bool)
		anyKey := authn.Anonymous(t.Name, t.Models)
		s.grant(anyKey.Rights)
		for _, n := range s.names {
			if anyKey.Allowed(n.index) {
				own.pools = appendPools(own.pools, seen, n.route)
			}
		}
		if s.catchAll != nil { // which names it takes is not known here
			own.pools = appendPools(own.pools, seen, s.catchAll.route)
		}
		s.standings[t.Name] = own
		s.shedsUnqueued = s.shedsUnqueued || own.class == admission.Batch && unqueued(own.pools)
	}
}

func appendPools(dst []*Pool, seen map[*Pool]bool, r *Route) []*Pool {
	for i := range r.targets {
		if p := r.targets[i].pool; !seen[p] {
			seen[p] = true
			dst = append(dst, p)
		}
	}
	return dst
}

// unqueued reports whether nobody may wait in one of the pools.
func unqueued(pools []*Pool) bool {
	for _, p := range pools {
		if p.lot == nil {
			return true
		}
	}
	return false
}
