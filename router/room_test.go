package router

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
)

// TestRoomIsLearnedFromTries: what the end of a try says about room.
func TestRoomIsLearnedFromTries(t *testing.T) {
	now := time.Now()
	f := func(what string, r backends.Report, want int32) {
		t.Helper()
		var limit balancer.Concurrency
		limit.Bound(2, 100)
		a := attempts.Get().(*Attempt)
		defer a.release()
		a.lease.Sent = now
		a.room = room{limit: &limit, inflight: 10}
		e := new(Exchange)
		e.learnRoom(a, r, now.Add(time.Second))
		assert.Equal(t, want, limit.Current(), what)
	}
	f("served", backends.Report{Evidence: backends.Well, Status: 200}, 100)
	f("a mistake of the client's", backends.Report{Evidence: backends.Neutral, Status: 400}, 100)
	f("429", backends.Report{Evidence: backends.Pressed, Status: 429}, 8)
	f("a bare 503", backends.Report{Evidence: backends.Faulty, Status: 503}, 8)
	f("a 500", backends.Report{Evidence: backends.Faulty, Status: 500}, 100)
	f("no first token in time", backends.Report{Evidence: backends.Slow, Err: context.DeadlineExceeded}, 8)
	f("the client would not wait", backends.Report{Evidence: backends.Neutral, Err: context.DeadlineExceeded}, 100)
	f("unreachable", backends.Report{Evidence: backends.Unreachable, Err: context.DeadlineExceeded}, 100)
}

// TestPrefillTimeNeedsNoBody: a rough guess will do where nothing is counted.
func TestPrefillTimeNeedsNoBody(t *testing.T) {
	e := new(Exchange)
	assert.Zero(t, e.prefillTime())
	e.call.Messages.End = 40_000
	assert.Equal(t, time.Second, e.prefillTime())
	e.expected.InputTokens = 5_000
	assert.Equal(t, time.Second/2, e.prefillTime())
}
