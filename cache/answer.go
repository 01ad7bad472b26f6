package cache

// Answers: what is kept.

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/openai"
)

// Answer is a whole answer that was good, as the first asker got it. Immutable.
type Answer struct {
	Key         Key
	Op          helixflow.Op
	Model       string // the public name of the route's model
	Tenant      string // whose request it answered
	Stream      bool   // Body is a stream of server-sent events, with its usage chunk if one came
	ContentType string
	Body        []byte
	UsageChunk  openai.Span // of a stream whose usage came in a chunk of its own
	Pace        []Beat      // of a stream that is replayed as it came; else nil
	Usage       helixflow.Usage

	Asked   time.Time // when it was asked for
	Stored  time.Time // when it was whole
	Expires time.Time

	heard   mark    // which purges whoever asked for it had heard of
	refs    refs    // the tables of Memory that hold it
	holding holding // where it is among what its tenant has there
}

// Beat is a moment of a stream: by After its first Size bytes had come.
type Beat struct {
	Size  int64
	After time.Duration
}

// overhead is what an answer costs in memory beside its bytes: itself, its places
// in tables, and what these are not filled with.
const overhead = 680

// size is what an answer counts as, in bytes.
func (a *Answer) size() int64 {
	return overhead + int64(len(a.Body)+len(a.ContentType)+len(a.Model)+len(a.Tenant)+16*len(a.Pace))
}

// Age is how long ago the answer was given.
func (a *Answer) Age(now time.Time) time.Duration { return max(now.Sub(a.Stored), 0) }

// answers is a if it is the answer to k, and fresh; else nil.
func (a *Answer) answers(k *Key, now time.Time) *Answer {
	if a == nil || a.Key != *k || !a.Fresh(now) {
		return nil
	}
	return a
}

// Fresh reports whether the answer is still good.
func (a *Answer) Fresh(now time.Time) bool { return now.Before(a.Expires) }
