package cache

// Shared: the answers that replicas find at each other's, in a Redis. Nothing waits
// for it long, and nothing that it says is believed unseen.

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
)

const (
	// lookupTimeout is the most that a request waits for a Redis.
	lookupTimeout = 5 * time.Millisecond
	// SharedTimeout is for what nobody waits for.
	SharedTimeout = 250 * time.Millisecond

	queued      = 1 << 10  // answers that may wait to be written
	queuedBytes = 32 << 20 // and their size
	purgeEvery  = time.Second
	purgesKept  = 128
	// skew is by how much the clock of a replica may be ahead of another's, for an answer
	// of its own to be found there.
	skew = 5 * time.Second
)

// Shared keeps answers in a Redis. Make it with NewShared.
type Shared struct {
	redis   *redisx.Client
	largest int64
	queue   chan *Answer
	waiting atomic.Int64 // bytes in queue
	dropped atomic.Uint64
	foreign atomic.Uint64 // values that were not believed
	hits    atomic.Uint64
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// NewShared keeps answers of at most largest bytes in the Redis, which it closes
// when it is closed. c hears of every purge by any replica, those of the last day first;
// nil: nobody does.
func NewShared(r *redisx.Client, largest int64, c *Cache) *Shared {
	ctx, stop := context.WithCancel(context.Background())
	s := &Shared{redis: r, largest: largest, queue: make(chan *Answer, queued), stop: stop}
	s.ended.Go(func() { s.write(ctx) })
	if c != nil {
		s.ended.Go(func() { s.hear(ctx, c) })
	}
	return s
}

func (s *Shared) name(d *Digest) string { return s.redis.Key("answer:" + hex.EncodeToString(d[:])) }

// Get returns the answer to k, nil if there is none, none that is sound, or none in
// time.
func (s *Shared) Get(k *Key, now time.Time) *Answer {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	value, err := s.redis.Get(ctx, s.name(&k.Digest))
	if err != nil || value == nil {
		return nil
	}
	a, err := Decode(value, k, s.largest)
	if err != nil || !a.settle(now) {
		s.foreign.Add(1)
		return nil
	}
	s.hits.Add(1)
	return a
}

// settle puts an answer of another clock into the time of this one, and reports
// whether it is still good.
func (a *Answer) settle(now time.Time) bool {
	lifetime := a.Expires.Sub(a.Stored)
	if a.Stored.Sub(now) > skew || lifetime <= 0 || lifetime > 24*time.Hour {
		return false
	}
	age := max(now.Round(0).Sub(a.Stored), 0)
	a.Stored = now.Add(-age) // from here on by this process's monotonic clock
	a.Expires = a.Stored.Add(lifetime)
	return a.Fresh(now)
}

// Put writes a, soon, unless there is too much to be written already.
func (s *Shared) Put(a *Answer, _ time.Time) {
	size := a.size()
	if size > s.largest || s.waiting.Add(size) > queuedBytes {
		if size <= s.largest {
			s.waiting.Add(-size)
		}
		s.dropped.Add(1)
		return
	}
	select {
	case s.queue <- a:
	default:
		s.waiting.Add(-size)
		s.dropped.Add(1)
	}
}

// write writes what is queued, one after the other.
func (s *Shared) write(ctx context.Context) {
	var value []byte
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.queue:
			if left := time.Until(a.Expires); left >= time.Millisecond && !s.redis.Down() {
				value = Encode(value[:0], a)
				if s.redis.Set(ctx, s.name(&a.Key.Digest), value, left) != nil {
					s.dropped.Add(1)
				}
			}
			s.waiting.Add(-a.size())
			if cap(value) > 1<<20 {
				value = nil
			}
		}
	}
}

// purgeNote is a purge as replicas tell each other of it.
type purgeNote struct {
	Tenant string `json:"tenant,omitempty"`
	Model  string `json:"model,omitempty"`
	Key    string `json:"key,omitempty"`
}

func (s *Shared) log() string { return s.redis.Key("purged") }

// Purge tells every replica, and returns the purge's place among all of them. What lies
// in the Redis goes when its time is up, and is not found before.
func (s *Shared) Purge(which Selection) (redisx.Place, error) {
	note := purgeNote{Tenant: which.Tenant, Model: which.Model}
	if which.Digest != (Digest{}) {
		note.Key = hex.EncodeToString(which.Digest[:])
	}
	text, err := json.Marshal(note)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return s.redis.Append(context.Background(), s.log(), string(text), purgesKept, pastAsked)
}

// hear asks for purges, again and again, and tells those that could not be told.
func (s *Shared) hear(ctx context.Context, c *Cache) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	var last redisx.Place
	for {
		c.tellRest(s)
		if list, err := s.redis.Entries(ctx, s.log(), purgesKept); err == nil {
			last = c.hearOf(list, last)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hearOf learns of the purges in list behind last, and returns which is the last of
// them. Those between last and a list that is full are lost: they may have been about
// anything.
func (c *Cache) hearOf(list []redisx.Entry, last redisx.Place) redisx.Place {
	if len(list) == purgesKept && last.Before(list[0].Place) {
		c.learn(Selection{}, list[0].Place)
	}
	for _, e := range list {
		if which, ok := readPurge(e.Text); ok && last.Before(e.Place) {
			c.learn(which, e.Place)
		}
	}
	if len(list) > 0 {
		last = list[len(list)-1].Place
	}
	return last
}

// readPurge reads what a replica wrote, or something else that looks like it: a
// purge too many does no harm.
func readPurge(text string) (which Selection, ok bool) {
	var note purgeNote
	if json.Unmarshal([]byte(text), &note) != nil {
		return which, false
	}
	which = Selection{Tenant: note.Tenant, Model: note.Model}
	if note.Key != "" {
		digest, err := hex.DecodeString(note.Key)
		if err != nil || len(digest) != len(which.Digest) {
			return which, false
		}
		which.Digest = Digest(digest)
	}
	return which, true
}

// SharedStats are figures of a Shared.
type SharedStats struct {
	Hits    uint64 `json:"hits"`
	Dropped uint64 `json:"dropped"` // answers that were not written: too many at once, too long, or no Redis
	Foreign uint64 `json:"foreign"` // values that were not believed
}

// Stats returns the figures of now.
func (s *Shared) Stats() SharedStats {
	return SharedStats{Hits: s.hits.Load(), Dropped: s.dropped.Load(), Foreign: s.foreign.Load()}
}

// Close ends the writing, and drops what waits to be written.
func (s *Shared) Close() {
	s.stop()
	s.ended.Wait()
	s.redis.Close()
}
