package backends

// What a lease promises on the book of its endpoint, and teaches it.

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
)

// Clock is the moment now on the clock of the endpoints' books.
func (m *Members) Clock(now time.Time) int64 { return int64(m.pool.tick(now)) }

// Promise books on the endpoint what r, as it was decided, will cost there, until
// the lease finishes. It reports whether others promised more than a prompt since
// r was decided, so that it is worth deciding once more.
func (l *Lease) Promise(r *balancer.Request) (overtaken bool) { return l.charge.Take(&l.ep.Load, r) }

// FirstToken says that the first token of a stream came, and returns how many times
// longer that took than was predicted; 0 when nothing was. Only the first call of a
// lease means something.
func (l *Lease) FirstToken(now time.Time) (times float64) {
	if !l.charge.Held() {
		return 0
	}
	return l.charge.FirstToken(int64(l.ep.pool.tick(now)))
}

// Expected is how long the beginning of the answer was expected to take from the
// pick on: of one that is streamed the first token, else the whole.
func (l *Lease) Expected(streamed bool, now time.Time) time.Duration {
	return time.Duration(l.charge.Expected(streamed, int64(l.ep.pool.tick(now))) * float64(time.Second))
}

// Learn takes in what a request used that was served to its end; before Finish.
func (l *Lease) Learn(u helixflow.Usage, now time.Time) {
	if l.charge.Held() {
		l.charge.Learn(u, int64(l.ep.pool.tick(now)))
	}
}

// settle takes the promise back.
func (l *Lease) settle(o Outcome, now time.Time) {
	if !l.charge.Held() {
		return
	}
	at := int64(l.ep.pool.tick(now))
	if o == Failed || o == Dropped {
		l.charge.Failed(at)
	}
	l.charge.Settle(at)
}
