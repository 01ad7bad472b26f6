package router

import (
	"fmt"
	"strconv"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/router/admission"
)

// This file asks whether a request may start, and settles at its end what it
// took. Where no limits are configured it costs a look at one field.

// limits are the scopes of a plan.
type limits struct {
	rules  map[*admission.Scope]*admission.Rules // empty: nothing is limited
	router *admission.Scope
	tenant map[string]*tenantScopes
	key    map[*authn.Rights]*admission.Scope
}

type tenantScopes struct {
	all    *admission.Scope
	models map[*Route]*admission.Scope
}

// of returns the scopes of a principal; nil where it has no limits.
func (l *limits) of(p *authn.Principal) (key *admission.Scope, tenant *tenantScopes) {
	if len(l.key) > 0 {
		key = l.key[p.Rights]
	}
	return key, l.tenant[p.Tenant]
}

// arrive takes the request rates that are known before the body is read.
func (e *Exchange) arrive(now time.Time) error {
	l := &e.snap.limits
	if len(l.rules) == 0 {
		return nil
	}
	key, tenant := l.of(e.principal)
	var all *admission.Scope
	if tenant != nil {
		all = tenant.all
	}
	no, ok := e.ticket.Arrive(now, key, all, l.router)
	for b := (borrowing{}); !ok && no.Lacks != nil; {
		no, ok = e.ticket.Arrive(e.borrow(&b, nil), key, all, l.router)
	}
	if !ok {
		return e.refused(no)
	}
	return nil
}

// admit takes all other limits, for as much as the request is expected to use.
func (e *Exchange) admit() error {
	l := &e.snap.limits
	if len(l.rules) == 0 {
		return nil
	}
	var own *admission.Scope
	if _, tenant := l.of(e.principal); tenant != nil {
		own = tenant.models[e.name.route]
	}
	no, ok := e.ticket.Arrive(e.bodyRead, own, e.name.route.limit)
	for b := (borrowing{}); !ok && no.Lacks != nil; {
		no, ok = e.ticket.Arrive(e.borrow(&b, nil), own, e.name.route.limit)
	}
	if !ok {
		return e.refused(no)
	}
	var d admission.Demand
	if counts, strict := e.ticket.Counts(); counts {
		d = e.demand(strict)
	}
	return e.reserve(d)
}

// admitPassed is admit for what no model decides: it uses no tokens that anybody
// counts.
func (e *Exchange) admitPassed() error {
	if len(e.snap.limits.rules) == 0 {
		return nil
	}
	return e.reserve(admission.Demand{})
}

// reserve takes what is left of the limits of the scopes that have arrived.
func (e *Exchange) reserve(d admission.Demand) error {
	no, ok := e.ticket.Admit(e.bodyRead, d)
	for b := (borrowing{}); !ok && no.Lacks != nil; {
		no, ok = e.ticket.Admit(e.borrow(&b, &d), d)
	}
	if !ok {
		return e.refused(no)
	}
	return nil
}

// borrowing is one step's asking for leases that lack.
type borrowing struct {
	began time.Time
	asked int
}

const (
	borrowTime = 20 * time.Millisecond // for a step, and what the last question takes
	borrowMost = 8                     // questions, of all leases that lack at once
)

// borrow asks for what leases lack, for d or (nil) for the arrival, and returns the
// time after that. When it has taken too long the request gets this replica's share
// instead.
func (e *Exchange) borrow(b *borrowing, d *admission.Demand) time.Time {
	now := time.Now()
	if b.asked == 0 {
		b.began = now
	}
	if b.asked++; b.asked > borrowMost || now.Sub(b.began) > borrowTime {
		e.ticket.GoAlone()
		return now
	}
	var room [8]admission.Shortage
	list := room[:0]
	if d == nil {
		list = e.ticket.Shortages(list, now, false, admission.Demand{})
	} else {
		list = e.ticket.Shortages(list, now, true, *d)
	}
	e.srv.opt.Sharing.Ask(list)
	for _, s := range list {
		if s.Lease.Alone() { // one wait in vain is enough
			e.ticket.GoAlone()
		}
	}
	return time.Now()
}

// strictOutput is what is reserved for an answer that nothing bounds.
const strictOutput = 4096

// demand estimates what the request will use.
func (e *Exchange) demand(strict bool) admission.Demand {
	r := e.name.route
	if e.body != nil {
		e.prompt = promptOf(&e.call, e.body.B)
	}
	e.expected = helixflow.Usage{InputTokens: r.estimator.Input(e.prompt)}
	if e.op.Generates() {
		out := int64(strictOutput)
		if !strict {
			out = r.estimator.Output()
		}
		if asked := e.call.MaxTokens; asked >= 0 && (strict || asked < out) {
			out = asked
		}
		e.expected.OutputTokens = min(out*max(e.call.N, 1), 1<<40)
	}
	return r.demandOf(e.expected)
}

// demandOf is a usage as limits count it.
func (r *Route) demandOf(u helixflow.Usage) admission.Demand {
	return admission.Demand{Tokens: u.InputTokens + u.OutputTokens, MicroUSD: r.price.of(u)}
}

// price is what tokens cost, in micro-dollars per million.
type price struct{ input, cached, output int64 }

// of is what a usage costs, in micro-dollars, rounded up.
func (p *price) of(u helixflow.Usage) int64 {
	cached := min(u.CachedTokens, u.InputTokens)
	sum := float64(u.InputTokens-cached)*float64(p.input) + float64(cached)*float64(p.cached) + float64(u.OutputTokens)*float64(p.output)
	return int64(sum/1e6 + 0.999999)
}

// promptOf measures what a model will read: text by its bytes, images apart.
func promptOf(c *openai.Call, body []byte) admission.Prompt {
	var p admission.Prompt
	for _, span := range c.PromptParts() {
		text, images := openai.Measure(span.In(body))
		p.Bytes += text
		p.Images += images
	}
	return p
}

// settle ends the ticket: what was used takes the place of what was reserved. That
// is so before the last byte of an answer goes out: who has read it all and asks
// again at once finds what it left. served is whether the answer is whole then.
func (e *Exchange) settle(now time.Time, served bool) {
	if !e.ticket.Held() {
		return
	}
	e.takeUsage(served)
	if e.socket != nil {
		e.usage = e.socket.spent()
	}
	if e.name == nil || e.op == helixflow.OpPassthrough { // it arrived and got no further, or uses nothing else
		e.ticket.Settle(now, admission.Demand{})
		return
	}
	r := e.name.route
	switch {
	case e.known.answer != nil:
		e.ticket.Settle(now, e.hitDemand())
	case e.coalesced():
		e.ticket.Settle(now, e.coalescedDemand(served))
	case e.usage.Reported:
		if e.seat == nil && e.socket == nil { // its flight has learned; of a conversation the prompt is a part
			r.estimator.Learn(e.prompt, e.usage)
		}
		e.ticket.Settle(now, r.demandOf(e.usage))
	case e.costNothing():
		e.ticket.Settle(now, admission.Demand{})
	default:
		e.ticket.Settle(now, e.seenDemand())
	}
}

// seenDemand is what an answer counts as whose usage nobody tells.
func (e *Exchange) seenDemand() admission.Demand {
	held := e.ticket.Reserved()
	seen := e.expected
	seen.OutputTokens = e.relay.sequence // about a token each
	used := e.name.route.demandOf(seen)
	return admission.Demand{Tokens: max(held.Tokens, used.Tokens), MicroUSD: max(held.MicroUSD, used.MicroUSD)}
}

// costNothing reports whether no backend can have worked for the request in
// vain: none was asked, none could be reached, or it refused or failed without
// output. A client that left, or would not wait, pays.
func (e *Exchange) costNothing() bool {
	if e.tries == 0 {
		return true
	}
	if p := e.problem; p != nil {
		switch p.Kind {
		case helixflow.KindClientGone, helixflow.KindInternal:
			return false
		case helixflow.KindDenied, helixflow.KindHookFailed, helixflow.KindUncheckable: // there was an answer
			return false
		case helixflow.KindBackendTimeout:
			return e.client.patience == 0
		}
		return true
	}
	return e.status >= 400 && !e.left
}

// refused is the error of a request that a limit stops.
func (e *Exchange) refused(no admission.Refusal) error {
	e.refusal = no
	p := &helixflow.Error{Kind: helixflow.KindRateLimited, Reason: limitReason(&no), Public: "Rate limit reached for " + scopeText(no.Scope) + " on "}
	switch no.Kind {
	case admission.Requests:
		p.Public += "requests per minute"
	case admission.Tokens:
		p.Kind, p.Public = helixflow.KindTokensLimited, p.Public+"tokens per minute"
	case admission.DailyTokens:
		p.Kind, p.Public = helixflow.KindTokensLimited, p.Public+"tokens per day"
	case admission.Concurrent:
		p.Public += "concurrent requests"
	case admission.Money:
		p.Kind, p.Public = helixflow.KindQuotaExhausted, "The budget of "+scopeText(no.Scope)+" is used up, or this request would exceed it."
		return p
	}
	p.Public += ": limit " + strconv.FormatInt(no.Limit, 10)
	if no.Asked > 1 {
		p.Public += ", requested " + strconv.FormatInt(no.Asked, 10)
	}
	if no.Wait < 0 {
		p.Kind = helixflow.KindNeverFits
		p.Public += ". It will never fit; ask for less."
		return p
	}
	p.RetryAfter = max(no.Wait, time.Millisecond)
	p.Public += fmt.Sprintf(". Please try again in %s.", p.RetryAfter.Round(time.Millisecond))
	return p
}

// scopeText names a scope to the caller: nothing of others.
func scopeText(s *admission.Scope) string {
	switch s.Level {
	case admission.Key:
		return "this API key"
	case admission.Tenant:
		return "your organization"
	case admission.TenantModel:
		return "your use of this model"
	case admission.Model:
		return "this model"
	default:
		return "this router"
	}
}

// appendLimitHeaders appends what is left, in OpenAI's forms.
func (e *Exchange) appendLimitHeaders(dst []byte, now time.Time) []byte {
	if s := e.refusal.Scope; s != nil && (e.refusal.Kind == admission.Requests || e.refusal.Kind == admission.Tokens) {
		left := admission.Standing{Kind: e.refusal.Kind, Limit: e.refusal.Limit, Reset: max(e.refusal.Wait, 0)}
		return appendStanding(dst, left)
	}
	if !e.ticket.Limited() {
		return dst
	}
	for _, kind := range [...]admission.Kind{admission.Requests, admission.Tokens} {
		if s, ok := e.ticket.Tightest(kind, now); ok {
			dst = appendStanding(dst, s)
		}
	}
	return dst
}

func appendStanding(dst []byte, s admission.Standing) []byte {
	what := "requests: "
	if s.Kind == admission.Tokens {
		what = "tokens: "
	}
	dst = append(append(dst, "x-ratelimit-limit-"...), what...)
	dst = strconv.AppendInt(dst, s.Limit, 10)
	dst = append(append(dst, "\r\nx-ratelimit-remaining-"...), what...)
	dst = strconv.AppendInt(dst, max(s.Left, 0), 10)
	dst = append(append(dst, "\r\nx-ratelimit-reset-"...), what...)
	dst = appendDuration(dst, s.Reset)
	return append(dst, "\r\n"...)
}

// appendDuration appends d as OpenAI writes durations and Go reads them: 20ms,
// 1s, 6m0s; rounded up to a millisecond.
func appendDuration(dst []byte, d time.Duration) []byte {
	ms := (d + time.Millisecond - 1).Milliseconds()
	if ms < 1000 {
		return append(strconv.AppendInt(dst, ms, 10), "ms"...)
	}
	s := ms / 1000
	if s >= 3600 {
		dst = append(strconv.AppendInt(dst, s/3600, 10), 'h')
	}
	if s >= 60 {
		dst = append(strconv.AppendInt(dst, s/60%60, 10), 'm')
	}
	dst = strconv.AppendInt(dst, s%60, 10)
	if frac := ms % 1000; frac != 0 {
		dst = append(dst, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
	return append(dst, 's')
}
