package cache

// Recording: an answer, gathered as it passes.

import (
	"time"
)

const (
	firstStep = 4 << 10
	maxBeats  = 4096 // the rest of a longer stream comes at once
)

// Recording gathers one answer. It belongs to one goroutine and is ended once, by
// Keep or Drop; the memory it takes counts as the cache's. Nil gathers nothing.
type Recording struct {
	cache *Cache
	body  []byte
	held  int64 // bytes, reserved
	limit int64
	pace  []Beat
	began time.Time // of the first piece; zero: the pace does not matter
	lost  bool      // too long, or no room: nothing is gathered any more
}

// Record begins a recording of an answer of at most limit bytes.
func (c *Cache) Record(limit int64, paced bool, now time.Time) *Recording {
	r := &Recording{cache: c, limit: min(limit, c.memory.Largest()-overhead)}
	if paced {
		r.began = now
	}
	return r
}

// Append gathers a piece, which is copied.
func (r *Recording) Append(p []byte) {
	if r == nil || r.lost {
		return
	}
	need := len(r.body) + len(p)
	if int64(need) > r.limit {
		r.lose()
		return
	}
	if need > cap(r.body) && !r.grow(min(max(firstStep, 2*cap(r.body), need), int(r.limit))) {
		return
	}
	r.body = append(r.body, p...)
}

// AppendWhole gathers the whole of an answer at once.
func (r *Recording) AppendWhole(p []byte) {
	if r == nil || r.lost || int64(len(p)) <= r.limit && !r.grow(len(p)) {
		return
	}
	r.Append(p)
}

// grow makes room for size bytes in all, if there is any.
func (r *Recording) grow(size int) bool {
	more := int64(size) - r.held
	if !r.cache.memory.reserve(more) {
		r.lose()
		return false
	}
	r.held += more
	r.body = append(make([]byte, 0, size), r.body...)
	return true
}

// Len is how many bytes were gathered.
func (r *Recording) Len() int {
	if r == nil {
		return 0
	}
	return len(r.body)
}

// Body is what was gathered, borrowed until the recording is ended.
func (r *Recording) Body() []byte { return r.body }

// Beat says that what was gathered so far came by now.
func (r *Recording) Beat(now time.Time) {
	if r == nil || r.lost || r.began.IsZero() || len(r.pace) == maxBeats {
		return
	}
	r.pace = append(r.pace, Beat{int64(len(r.body)), now.Sub(r.began)})
}

func (r *Recording) lose() {
	r.cache.memory.refused.Add(1)
	r.Drop()
}

// Drop ends the recording with nothing. To end it again does nothing.
func (r *Recording) Drop() {
	if r == nil {
		return
	}
	r.cache.memory.used.Add(-r.held)
	r.held, r.body, r.pace, r.lost = 0, nil, nil, true
}

// Keep ends the recording: what was gathered is the body of a, which is kept.
func (r *Recording) Keep(a *Answer, now time.Time) {
	if r == nil || r.lost {
		return
	}
	body, pace := r.body, r.pace
	if cap(body)-len(body) > len(body)/8 {
		body = append(make([]byte, 0, len(body)), body...)
	}
	r.Drop()
	a.Body, a.Pace = body, pace
	r.cache.Put(a, now)
}
