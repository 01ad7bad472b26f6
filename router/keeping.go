package router

import (
	"math/rand/v2"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file gathers answers for the cache as they pass, and gives them again.
// Only what is whole and good is kept, and before its last byte goes out: who has
// read an answer finds it.

// beginKeeping begins to gather the answer of a miss, or keeps it if all of it is
// in hand.
func (e *Exchange) beginKeeping(now time.Time) {
	a, c := e.attempt, e.name.route.cache
	e.known.keeps = false
	switch {
	case a == nil || e.problem != nil || a.status != statusOK || a.head.isEncoded():
		return
	case !a.events && !a.head.isJSON() && a.made != madeJSON:
		return
	}
	r := e.srv.known.Load().Record(c.MaxAnswer, c.Original && a.events, now)
	e.known.recording = r
	if a.whole && !a.events {
		r.AppendWhole(a.text.B)
		e.keepKnown()
	}
}

// keepKnown keeps what was gathered, all of which has come.
func (e *Exchange) keepKnown() {
	r, a := e.known.recording, e.attempt
	e.known.recording = nil
	if r == nil {
		return
	}
	usage := e.usage
	if !a.events {
		said := openai.ReadAnswer(r.Body())
		if said.Failed || e.op == helixflow.OpResponses && !openai.Ended(r.Body()) {
			r.Drop()
			return
		}
		usage = said.Usage
	}
	route := e.name.route
	now := time.Now()
	r.Keep(&cache.Answer{
		Key: e.known.key, Op: e.op, Model: route.model, Tenant: e.principal.Tenant,
		Stream: a.events, ContentType: string(a.contentType()), UsageChunk: e.known.usageChunk, Usage: usage,
		Asked: e.bodyRead, Stored: now, Expires: now.Add(route.cache.Lifetime(rand.Uint64())),
	}, now)
}

// keepEvent gathers an event of a stream as the client gets it, or would if it had
// asked for usage.
func (e *Exchange) keepEvent(r *cache.Recording, one []byte, usageOnly bool) {
	if usageOnly {
		n := int32(r.Len())
		e.known.usageChunk = openai.Span{Start: n, End: n + int32(len(one))}
	}
	r.Append(one)
}

// unkeep ends the gathering with nothing.
func (e *Exchange) unkeep() {
	e.known.recording.Drop()
	e.known.recording = nil
}

// forgetKnown ends all that the cache has to do with the exchange.
func (e *Exchange) forgetKnown() {
	e.unkeep()
	e.known.form.Free()
	e.known.form = nil
}

// replayKnown sends the answer of a hit. The usage chunk is for those who asked for
// it.
func (b *relay) replayKnown(a *cache.Answer) error {
	e := b.e
	if e.known.form != nil || !a.Stream {
		return b.write(e.known.body(), true)
	}
	hidden := a.UsageChunk
	if e.call.IncludeUsage {
		hidden = openai.Span{}
	}
	from, began := int32(0), time.Now()
	for _, beat := range a.Pace {
		if err := b.pause(began.Add(beat.After)); err != nil {
			return err
		}
		to := int32(beat.Size)
		if err := b.replayPiece(a.Body, openai.Span{Start: from, End: to}, hidden, false); err != nil {
			return err
		}
		from = to
	}
	return b.replayPiece(a.Body, openai.Span{Start: from, End: int32(len(a.Body))}, hidden, true)
}

// replayPiece sends a piece of the body, without what is hidden; which is never
// parted, since it came as one.
func (b *relay) replayPiece(body []byte, piece, hidden openai.Span, last bool) error {
	if hidden.Present() && piece.Start <= hidden.Start && hidden.End <= piece.End {
		if before := body[piece.Start:hidden.Start]; len(before) > 0 {
			if err := b.write(before, false); err != nil {
				return err
			}
		}
		piece.Start = hidden.End
	}
	return b.write(body[piece.Start:piece.End], last)
}

// pauseStep is how long a pause may go on after nobody waits for its end.
const pauseStep = 20 * time.Millisecond

// pause waits until a moment comes, unless the client leaves or a drain ends first.
func (b *relay) pause(until time.Time) error {
	e := b.e
	for {
		switch err := e.ended(); err {
		case nil:
		case errClientGone:
			e.left = true
			return errClientLeft
		default:
			message, code := farewell(err)
			_ = b.put(openai.AppendErrorFrame(nil, e.op, message, typeServer, code, b.sequence), false)
			return errTruncated
		}
		now := time.Now()
		left := until.Sub(now)
		if left <= 0 {
			e.conn.armWrite(now)
			return nil
		}
		time.Sleep(min(left, pauseStep))
	}
}
