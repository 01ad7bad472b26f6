package router

import (
	"errors"
	"time"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router/admission"
)

// addLimits finds the scopes that the configuration has limits for. Nothing of
// it is in force before Retain.
func (s *Snapshot) addLimits(cfg *configs.Config, book *admission.Book) {
	l := &s.limits
	l.rules = make(map[*admission.Scope]*admission.Rules)
	scope := func(level admission.Level, name string, c *configs.Limits) *admission.Scope {
		r := rulesFor(c)
		if r == nil {
			return nil
		}
		sc := book.Scope(level, name)
		l.rules[sc] = r
		return sc
	}
	l.router = scope(admission.Router, "", &cfg.Limits)
	routes := make(map[string]*Route, len(cfg.Models))
	for i := range cfg.Models {
		m := &cfg.Models[i]
		r := s.routeOf(m.Name)
		routes[m.Name] = r
		r.limit = scope(admission.Model, m.Name, &m.Limits)
	}
	s.classes = make(map[string]admission.Class)
	l.tenant = make(map[string]*tenantScopes)
	l.key = make(map[*authn.Rights]*admission.Scope)
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		s.classes[t.Name] = classes[t.Priority]
		own := &tenantScopes{all: scope(admission.Tenant, t.Name, &t.Limits), models: make(map[*Route]*admission.Scope)}
		for j := range t.ModelLimits {
			m := &t.ModelLimits[j]
			if sc := scope(admission.TenantModel, t.Name+" "+m.Model, &m.Limits); sc != nil {
				own.models[routes[m.Model]] = sc
			}
		}
		if own.all != nil || len(own.models) > 0 {
			l.tenant[t.Name] = own
		}
	}
}

// limitKey finds the scope of a key that has limits; own are its rights, which no
// other key has. The scope goes by the key's name.
func (s *Snapshot) limitKey(t *configs.Tenant, k *configs.Key, own *authn.Rights) error {
	r := rulesFor(&k.Limits)
	if r == nil {
		return nil
	}
	sc := s.book.Scope(admission.Key, t.Name+"/"+k.Name)
	if s.limits.rules[sc] != nil {
		return errors.New("it has the name of another key with limits, and limits go by names")
	}
	s.limits.rules[sc] = r
	s.limits.key[own] = sc
	return nil
}

func (s *Snapshot) routeOf(model string) *Route {
	if model == "*" {
		return s.catchAll.route
	}
	return s.names[model].route
}

// rulesFor is what admission is told; nil where nothing is limited.
func rulesFor(c *configs.Limits) *admission.Rules {
	r := &admission.Rules{
		Requests:    rateOf(c.RequestsPerMinute, c.Burst.Requests, time.Minute),
		Tokens:      rateOf(c.TokensPerMinute, c.Burst.Tokens, time.Minute),
		DailyTokens: rateOf(c.TokensPerDay, nil, 24*time.Hour),
		Concurrent:  c.Concurrent,
		Shadow:      c.Shadow,
		Strict:      c.Reserve == "strict",
	}
	if c.Budget.USD != nil {
		r.Budget = &admission.Budget{MicroUSD: int64(*c.Budget.USD), Per: periods[c.Budget.Per]}
	}
	if r.Requests == nil && r.Tokens == nil && r.DailyTokens == nil && r.Concurrent == nil && r.Budget == nil {
		return nil
	}
	return r
}

var classes = map[string]admission.Class{
	"system": admission.System, "interactive": admission.Interactive, "": admission.Default, "default": admission.Default, "batch": admission.Batch,
}

var periods = map[string]admission.Per{"day": admission.PerDay, "month": admission.PerMonth, "total": admission.PerTotal}

func rateOf(limit, burst *int64, period time.Duration) *admission.Rate {
	if limit == nil {
		return nil
	}
	if burst == nil {
		burst = limit
	}
	return admission.NewRate(*limit, *burst, period)
}

func priceOf(c *configs.Price) price {
	p := price{input: int64(c.Input), cached: int64(c.Input), output: int64(c.Output)}
	if c.CachedInput != nil {
		p.cached = int64(*c.CachedInput)
	}
	return p
}
