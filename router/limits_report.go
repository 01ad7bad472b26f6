package router

import (
	"time"

	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router/admission"
)

// This file tells operators of limits: what is left of them, and what they
// refused.

// LimitedScope is something that has limits, at one moment.
type LimitedScope struct {
	Scope  string         `json:"scope"`          // key, tenant, tenant_model, model or router
	Name   string         `json:"name,omitempty"` // as configured; of a key TENANT/KEY, of a tenant_model both with a space
	Limits []LimitedUsage `json:"limits"`
}

// LimitedUsage is what is left of one limit.
type LimitedUsage struct {
	Limit   string        `json:"limit"` // its key in the configuration
	Most    int64         `json:"most"`  // of a budget in millionths of a dollar
	Left    int64         `json:"left"`  // below zero: debt
	ResetIn time.Duration `json:"reset_in_ns,omitempty"`
	Refused uint64        `json:"refused"` // requests, since the start
	Shadow  uint64        `json:"shadow"`  // requests that it would have refused
	Shared  *LimitLease   `json:"shared,omitempty"`
}

// LimitLease is this router's part of a limit that others have too.
type LimitLease struct {
	Credit int64 `json:"credit"` // what it may give out without asking
	Alone  bool  `json:"alone"`  // Redis does not answer: its share of the limit counts
}

// LimitUsage lists every scope that has limits. The caller owns the answer.
func LimitUsage(book *admission.Book, now time.Time) []LimitedScope {
	list := []LimitedScope{}
	for _, s := range book.Scopes() {
		list = append(list, usageOf(s, now))
	}
	return list
}

func usageOf(s *admission.Scope, now time.Time) LimitedScope {
	u := LimitedScope{Scope: s.Level.String(), Name: s.Name, Limits: []LimitedUsage{}}
	for _, st := range s.Standings(nil, now) {
		refused, shadow := s.Refused(st.Kind)
		one := LimitedUsage{
			Limit: st.Kind.String(), Most: st.Limit, Left: st.Left, ResetIn: max(st.Reset, 0), Refused: refused, Shadow: shadow,
		}
		if l := st.Lease; l != nil {
			one.Shared = &LimitLease{Credit: l.Credit, Alone: l.Alone}
		}
		u.Limits = append(u.Limits, one)
	}
	return u
}

// LimitRejections lists, for the metrics, what limits refused.
func LimitRejections(book *admission.Book) []metric.Rejections {
	var list []metric.Rejections
	for _, s := range book.Scopes() {
		for k := range admission.NumKinds {
			if refused, shadow := s.Refused(k); refused+shadow > 0 {
				list = append(list, metric.Rejections{Scope: s.Level.String(), Name: s.Name, Limit: k.String(), Refused: refused, Shadow: shadow})
			}
		}
	}
	return list
}
