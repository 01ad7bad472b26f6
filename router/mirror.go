package router

import (
	"io"
	"math/rand/v2"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/buf"
)

// This file sends copies of requests to mirrors. They never delay the caller,
// never fail its request and are not counted as its usage: each runs on a
// goroutine of its own over its own bytes, and its answer is read and dropped.

// maxMirrored bounds the copies under way; a request beyond that has none.
const maxMirrored = 64

// mirror sends copies of the request to the route's mirrors, by their shares.
func (e *Exchange) mirror() {
	for i := range e.name.route.mirrors {
		m := &e.name.route.mirrors[i]
		if rand.Float64() < m.share {
			e.copyTo(m)
		}
	}
}

func (e *Exchange) copyTo(m *mirror) {
	s := e.srv
	if s.mirrored.Add(1) > maxMirrored {
		s.mirrored.Add(-1)
		return
	}
	if err := e.prepare(&m.target); err != nil {
		s.mirrored.Add(-1)
		return // the request itself will say so
	}
	c := &mirrorCopy{srv: s, op: e.op, route: e.name.route, pool: m.pool, until: e.deadline()}
	if m.pool.wants&balancer.WantsSize != 0 {
		e.size(e.pick)
		c.tokens, c.output = e.pick.Tokens, e.pick.Output
	}
	header := e.headerFor(m.pool)
	c.header = buf.Get(len(header))
	c.header.B = append(c.header.B, header...)
	c.body = buf.Get(e.edits.Size(e.body.B))
	c.body.B = e.edits.AppendTo(c.body.B, e.body.B)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirrors[c] = struct{}{}
	s.copies.Go(c.run)
}

// mirrorCopy is one copy of a request.
type mirrorCopy struct {
	srv          *Server
	op           helixflow.Op
	route        *Route
	pool         *Pool
	header, body *buf.Buffer
	until        time.Time
	tokens       int64 // of the prompt, and of an answer; 0: not known
	output       int64
	cell         cell // the end of the server is what hangs up
}

func (c *mirrorCopy) run() {
	defer func() {
		if p := recover(); p != nil {
			c.srv.logPanic(nil, p, nil)
		}
		c.header.Free()
		c.body.Free()
		c.srv.mu.Lock()
		delete(c.srv.mirrors, c)
		c.srv.mu.Unlock()
		c.srv.mirrored.Add(-1)
	}()
	now := time.Now()
	a := c.acquire(now)
	if a == nil {
		return
	}
	out := backends.Outgoing{
		Op: c.op, Static: c.pool.static, Header: c.header.B, Body: c.body.B, Hangup: &c.cell,
		Now: now, Connect: c.route.connect, FirstByte: c.route.firstToken, Deadline: c.until,
	}
	if a.credential = c.pool.credentials.Pick(now); a.credential != nil {
		out.Credential = a.credential.Line()
	}
	f := asFailure(a.run(&out, c.route))
	for f == nil && !a.whole {
		if !c.readOn(a) {
			break
		}
	}
	now = time.Now()
	a.finish(outcomeOf(f, backends.Report{}), a.book(f, now), now)
}

// readOn reads and drops a piece of the answer; false at its end.
func (c *mirrorCopy) readOn(a *Attempt) bool {
	if c.srv.stopping.Load() {
		return false
	}
	now := time.Now()
	a.lease.Wait(now, min(c.route.idle, c.until.Sub(now)))
	p, err := a.lease.Next()
	if err == io.EOF {
		a.whole = true
	}
	if err != nil {
		return false
	}
	return len(p) > 0
}

func (c *mirrorCopy) acquire(now time.Time) *Attempt {
	pick := balancer.Request{
		Eligible: c.pool.members.Eligible(now), Rand: rand.Uint64(), Now: c.pool.members.Clock(now),
		Tokens: c.tokens, Output: c.output,
	}
	for {
		i := balancer.Choose(c.pool.policy, &pick, c.pool.candidates)
		if i < 0 {
			return nil
		}
		pick.Eligible.Clear(i)
		pass, ok := c.pool.members.Enter(i, now)
		if !ok {
			continue
		}
		a := attempts.Get().(*Attempt)
		if c.pool.endpoints[i].Acquire(&a.lease, c.pool.candidates[i].Bound()) {
			a.lease.Promise(&pick)
			a.pool, a.pass = c.pool, pass
			return a
		}
		a.release()
		c.pool.endpoints[i].Report(backends.Report{Pass: pass, Evidence: backends.Neutral}, now)
	}
}
