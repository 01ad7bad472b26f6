package router

import (
	"fmt"
	"slices"
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/secret"
)

// This file turns the hooks of a configuration into those of a plan.

// HookPool is what the pools of hooks begin with, the hook's name follows: to
// the fleet each is a pool of one backend. No configured pool has such a name.
const HookPool = "hook:"

// addHooks makes the hooks. They are asked whatever came of the last question,
// so nothing is ejected and nothing probed.
func (s *Snapshot) addHooks(list []configs.Hook, w World) error {
	rules := backends.Rules{
		Checks: backends.Checks{Off: true}, Ejection: backends.Ejection{Off: true}, DrainTimeout: time.Minute,
	}
	for i := range list {
		c := &list[i]
		h := &Hook{
			name: c.Name, url: c.URL, requests: c.SeesRequests(), answers: c.SeesAnswers(),
			timeout: c.Timeout, maxBody: c.MaxBody, limit: int32(c.MaxInflight),
			passErrors: c.OnError == "pass", passUnseen: c.OnUnseen == "pass", series: w.Metrics.Hook(c.Name),
		}
		if !c.Token.Empty() {
			h.token = appendHeader(nil, "Authorization", []byte("Bearer "+c.Token.Reveal()))
		}
		spec := backends.Spec{Pool: HookPool + c.Name, URL: c.URL, Identity: identity(c.TLS, secret.Text{})}
		var err error
		if spec.Address, err = backends.ParseAddress(c.URL); err != nil {
			return fmt.Errorf("cannot make hook %s: %w", c.Name, err)
		}
		if spec.Address.Scheme == "https" {
			t := c.TLS
			if spec.TLS, err = backends.NewTLSConfig(t.CA, t.Cert, t.Key, t.ServerName, spec.Address.Host, nil); err != nil {
				return fmt.Errorf("cannot make hook %s: %w", c.Name, err)
			}
		}
		h.endpoint = w.Fleet.Adopt(spec)
		h.members = w.Fleet.Members(spec.Pool, rules, []*backends.Endpoint{h.endpoint})
		s.hooks = append(s.hooks, h)
	}
	return nil
}

// addHooks gives the route the hooks of these names, in their order. An answer
// that is to be looked at must be held whole.
func (r *Route) addHooks(names []string, all []*Hook) {
	for _, name := range names {
		h := all[slices.IndexFunc(all, func(h *Hook) bool { return h.name == name })]
		r.hooks = append(r.hooks, h)
		if h.requests {
			r.before = append(r.before, h)
		}
		if h.answers {
			r.after = append(r.after, h)
			r.held = max(r.held, int(h.maxBody)+1)
		}
	}
}
