package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/router/admission"
)

// This file is a follower of a flight: it reads from the window at its client's own
// pace. One that falls behind what the window holds is cut off, or asks for itself
// if its client has read nothing yet.

// seat is a follower's place on a flight.
type seat struct {
	parked // what wakes it: the flight, or the end of its client
	flight *flight
	timer  *time.Timer
	first  bool   // it began the flight, and pays for it
	told   bool   // and knows how that went
	done   bool   // it is no follower any more
	view   glance // what it has seen, and not yet passed on

	// With the flight's lock held:
	index int
	at    int64 // how far it has read
	waits bool
	left  bool
}

// glance is what a follower sees of its flight at once.
type glance struct {
	piece    []byte // of the answer, which stays as it is; nil: nothing more yet
	sequence int64
	problem  *helixflow.Error
	spoken   bool
	failed   bool
	midway   bool
	over     bool // nothing follows the piece
	cut      bool // and it broke off there
	behind   bool // what comes next is lost
}

// settled reports whether there is anything to be done about it.
func (g *glance) settled() bool { return g.piece != nil || g.over || g.behind }

// look takes what there is of the answer.
func (f *flight) look(st *seat) glance {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := glance{sequence: f.sequence, problem: f.problem, spoken: f.spoken, failed: f.failed, midway: f.midway}
	if st.at < f.begin {
		g.behind = true
		return g
	}
	at := f.begin
	for i := range f.blocks {
		b := f.blocks[i].bytes
		if skip := st.at - at; skip < int64(len(b)) {
			g.piece = b[skip:len(b):len(b)]
			break
		}
		at += int64(len(b))
	}
	st.at += int64(len(g.piece))
	if len(g.piece) > 0 && f.waits {
		f.room.Signal()
	}
	g.over = f.ended && st.at == f.end
	g.cut = g.over && f.cut
	st.waits = !g.settled()
	return g
}

// graceOfFlight is how much longer a follower waits than the flight itself may take.
const graceOfFlight = time.Second

// fly waits until the first piece of the answer is in hand.
func (e *Exchange) fly() error {
	st, until := e.seat, e.answerBy()
	if e.client.patience == 0 {
		until = until.Add(graceOfFlight) // the flight keeps to the time
	}
	if st.first {
		e.depart()
	}
	for {
		if err := e.ended(); err != nil {
			return err
		}
		g := st.flight.look(st)
		switch {
		case g.behind:
			return e.flyAlone()
		case g.problem != nil:
			e.follows()
			return g.problem
		case g.settled():
			st.view = g
			e.follows()
			return nil
		}
		if st.timer == nil {
			st.timer = time.NewTimer(time.Until(until))
		}
		if !st.wait(st.timer) {
			return errNoAnswer
		}
	}
}

var errNoAnswer = &helixflow.Error{Kind: helixflow.KindBackendTimeout}

// flyAlone has e ask for itself.
func (e *Exchange) flyAlone() error {
	e.srv.flights.lost.Add(1)
	e.disembark()
	e.seat, e.known.keeps, e.known.result = nil, true, metric.CacheMiss
	return e.forward()
}

// follows makes what is known of the flight e's own.
func (e *Exchange) follows() {
	f := e.seat.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.problem == nil {
		e.status = f.head.status
		e.freeRequest()
	}
	if !e.seat.first {
		return
	}
	e.seat.told = true
	c := &f.course
	e.prepared, e.backend, e.tries, e.queued = c.prepared, c.backend, c.tries, c.queued
	e.decision, e.chosenBy, e.failure, e.hedged = c.decision, c.chosenBy, c.failure, c.hedged
	if f.problem == nil {
		e.sent, e.answered, e.responded = c.sent, c.answered, time.Now()
	}
}

// coalesced reports whether e's answer is of a flight that another one began.
func (e *Exchange) coalesced() bool { return e.seat != nil && !e.seat.first }

// flown is the head of the answer that a flight brings; nil: none does.
func (e *Exchange) flown() *flightHead {
	if e.seat == nil || e.seat.done || e.problem != nil {
		return nil
	}
	return &e.seat.flight.head // which does not change any more
}

// follow passes the answer on.
func (b *relay) follow() error {
	e := b.e
	st, head := e.seat, e.flown()
	if head.events {
		e.conn.rest()
	}
	b.spoke = time.Now()
	for g := st.view; ; {
		b.sequence, b.failed, b.opaque = g.sequence, g.failed, g.midway
		whole := g.over && !g.cut
		if len(g.piece) > 0 || whole {
			b.spoke = time.Now()
			if g.spoken && e.firstToken.IsZero() {
				e.firstToken = b.spoke
			}
			if g.cut { // which the piece says
				e.settle(b.spoke, false)
			}
			e.conn.armWrite(b.spoke)
			if err := b.write(g.piece, whole); err != nil {
				return err
			}
		}
		switch {
		case whole:
			return nil
		case g.behind:
			e.srv.flights.lost.Add(1)
			return b.cutOff("This answer was read too slowly.", codeInterrupted)
		case g.cut: // its last piece has said so
			return b.cutOff("", "")
		}
		var err error
		if g, err = b.await(head.events); err != nil {
			return err
		}
	}
}

// await waits for the next piece, and keeps the client's connection awake.
func (b *relay) await(events bool) (glance, error) {
	e, st := b.e, b.e.seat
	g := st.flight.look(st)
	if g.settled() {
		return g, nil
	}
	pause := time.Minute
	if events {
		pause = max(e.name.route.keepalive, time.Millisecond)
	}
	if st.timer == nil {
		st.timer = time.NewTimer(pause)
	} else {
		st.timer.Reset(pause)
	}
	for {
		switch err := e.ended(); {
		case err == errClientGone:
			e.left = true
			return g, errClientLeft
		case err != nil:
			return g, b.cutOff(farewell(err))
		}
		if b.opaque = g.midway; events {
			if err := b.keepAwake(time.Now(), pause); err != nil {
				return g, err
			}
		}
		if !st.wait(st.timer) {
			st.timer.Reset(pause)
		}
		if g = st.flight.look(st); g.settled() {
			return g, nil
		}
	}
}

// cutOff ends an answer that is not whole, with a message if there is one and a
// place for it.
func (b *relay) cutOff(message, code string) error {
	e := b.e
	e.forgo()
	e.truncated = true
	e.settle(time.Now(), false)
	if message != "" && e.flown().events && !b.opaque {
		e.conn.armWrite(time.Now())
		_ = b.put(openai.AppendErrorFrame(nil, e.op, message, typeServer, code, b.sequence), false)
	}
	return errTruncated
}

// disembark ends e's part in its flight, if it has one.
func (e *Exchange) disembark() {
	st := e.seat
	if st == nil || st.done {
		return
	}
	e.takeUsage(e.delivered)
	st.done = true
	if st.timer != nil {
		st.timer.Stop()
	}
	e.conn.waiting.CompareAndSwap(&st.parked, nil)
	st.flight.leave(st)
	if !st.first && e.delivered && e.problem == nil {
		usage, r := e.known.usage, e.name.route
		r.series.Saved(usage, r.price.of(usage))
	}
}

// takeUsage takes over what the flight has used, of which others than the first have a
// part only once they are served.
func (e *Exchange) takeUsage(served bool) {
	st := e.seat
	if st == nil || st.done {
		return
	}
	f := st.flight
	f.mu.Lock()
	usage := f.usage
	f.mu.Unlock()
	switch {
	case st.first:
		e.usage = usage
		if !st.told {
			e.tries = 1 // it was for this one that a backend was asked
		}
	case served && e.problem == nil:
		e.known.usage = usage
	}
}

// coalescedDemand is what an answer that others began counts as against limits.
// Who leaves before it is whole pays as on any other answer.
func (e *Exchange) coalescedDemand(served bool) admission.Demand {
	r := e.name.route
	d := r.demandOf(e.known.usage)
	if !e.known.usage.Reported && !served && e.problem == nil {
		d = e.seenDemand()
	}
	return r.cache.charged(d)
}
