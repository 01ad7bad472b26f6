package balancer

// What one request has promised on one backend's book.

import (
	"math"
	"time"
)

// Charge is what one request takes of one backend, from the pick to its end:
// prompt tokens until the first token comes, and room in the KV cache. The zero
// Charge holds nothing. It is a plain value of the request's, for one goroutine;
// Take fills it and Settle empties it, whatever came in between.
type Charge struct {
	load    *Load
	prefill int64 // on the book, until the first token
	kv      int64
	span    int64 // on the book as busyUntil
	until   int64

	at        int64   // when it was taken
	first     int64   // when the first token came; 0: not yet, or it shows none
	tokens    int64   // of the prompt
	hit       int64   // of those, that were expected in the cache
	predicted float64 // seconds to the first token
	queued    float64 // of those, behind others

	// At the first token: what was read by then, and what those who ran should have
	// added to each step.
	read    int64
	adds    float64
	crowded bool // it had a queue then
}

// Take puts on l what r, as it was decided, will cost there; c must be empty. It
// reports whether others put more than a prompt there since r was decided: the
// caller may give it back then, with Settle, and decide once more.
func (c *Charge) Take(l *Load, r *Request) (overtaken bool) {
	if c.load != nil {
		panic("BUG: balancer: took a charge that is held")
	}
	d := &r.Decision
	uncached := max(r.Tokens-d.Hit, 0)
	rate := l.PrefillRate()
	work := float64(uncached) / rate
	*c = Charge{
		load: l, at: r.Now, tokens: r.Tokens, hit: d.Hit, kv: r.Tokens + r.Output,
		queued: d.Wait, predicted: d.Wait + work,
	}
	if c.kv > 0 {
		l.kv.Add(c.kv)
	}
	switch {
	case uncached == 0:
		return false
	case r.Stream:
		c.prefill = uncached
		l.prefill.Add(uncached)
	default:
		c.span = int64(work * float64(time.Second))
		c.until = l.drain(c.span, r.Now)
	}
	return l.Ahead(r.Now)-work-d.booked > float64(r.Tokens)/rate
}

// Held reports whether c holds anything.
func (c *Charge) Held() bool { return c.load != nil }

// FirstToken says that the first token of a stream came: its prompt has been
// read. It returns how many times longer that took than was predicted, 0 when
// nothing was. Only the first call of a Charge means something.
func (c *Charge) FirstToken(now int64) (times float64) {
	l := c.load
	if l == nil || c.first != 0 {
		return 0
	}
	c.first = max(now, 1)
	l.started.Add(1)
	l.read.Add(c.prefill)
	c.giveBack(now)
	c.read, c.adds, c.crowded = l.read.Load(), l.adds(), l.Ahead(now) > stepCrowd
	if c.tokens == 0 {
		return 0
	}
	return l.learned.firstToken(c, seconds(now-c.at), now)
}

// Expected is how many seconds after the pick the answer was expected to begin: a
// stream with its first token, any other when it is whole. Of one of which nothing
// is known that is as little as first tokens are told apart by.
func (c *Charge) Expected(streamed bool, now int64) float64 {
	l := c.load
	if l == nil {
		return floorTTFT
	}
	took := c.predicted + l.Base(now)
	if gap := l.learned.gap.get(); !streamed && gap != 0 {
		took += float64(c.kv-c.tokens) * math.Exp(gap)
	}
	return max(took, floorTTFT)
}

// giveBack takes what is left of the prompt off the book.
func (c *Charge) giveBack(now int64) {
	if c.prefill != 0 {
		c.load.prefill.Add(-c.prefill)
		c.prefill = 0
	}
	if c.span != 0 {
		c.load.undrain(c.span, c.until, now)
		c.span = 0
	}
}

// Settle takes all that is left of c off the book, and empties it. An empty
// Charge settles to nothing.
func (c *Charge) Settle(now int64) {
	l := c.load
	if l == nil {
		return
	}
	c.giveBack(now)
	if c.first != 0 {
		l.started.Add(-1)
	}
	if c.kv > 0 {
		l.kv.Add(-c.kv)
	}
	*c = Charge{}
}
