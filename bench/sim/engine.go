package sim

// The engine itself: continuous batching as vLLM's v1 scheduler does it, one
// step at a time, told the time by its owner.

import (
	"fmt"
	"math"
	"slices"
)

// Never is the time of an event that will not come by itself.
const Never int64 = math.MaxInt64

// Request is one sequence to compute.
type Request struct {
	Tag          uint64 // the owner's name for it, not read by the engine
	PromptTokens int    // at least 1
	OutputTokens int    // exactly so many are generated; 0 only fills the cache, as an embedding does

	// Blocks are the hashes of the sequence's full blocks, each standing for all
	// tokens up to its end; never 0. Those beyond the prompt name blocks that the
	// output will fill. Borrowed until the sequence ends.
	Blocks []uint64
}

// EventKind says what happened to a sequence.
type EventKind uint8

// The kinds of event. EventFinished comes instead of the last EventToken.
const (
	EventToken EventKind = iota
	EventFinished
	EventPreempted
)

// Event is one thing that happened, in the order it happened. A plain value.
type Event struct {
	Tag    uint64
	At     int64 // nanoseconds, on the owner's clock
	Kind   EventKind
	Tokens int // generated so far
	Cached int // prompt tokens found in the prefix cache on admission
}

// Seq is a sequence the engine knows; its owner keeps it for Abort and Release.
type Seq struct {
	req       Request
	arrived   int64
	blocks    []int32
	computed  int // tokens whose KV is in blocks
	generated int
	cached    int
	state     seqState
	admitted  bool // at least once
}

type seqState uint8

const (
	seqWaiting seqState = iota
	seqRunning
	seqHeld
	seqEnded
)

// Cached returns how many prompt tokens were in the prefix cache when the
// sequence was first admitted.
func (q *Seq) Cached() int { return q.cached }

func (q *Seq) total() int   { return q.req.PromptTokens + q.generated }
func (q *Seq) pending() int { return q.total() - q.computed }

// Counters are an engine's gauges and running totals. A plain value.
type Counters struct {
	Running, Waiting        int
	BlocksUsed, BlocksTotal int

	Steps, Preemptions         int64
	PromptTokens, OutputTokens int64
	CacheQueries, CacheHits    int64 // prompt tokens looked up, and found
}

// Engine is one simulated engine: a pure function of the calls made on it. All
// times are nanoseconds on one clock and must not decrease from call to call.
// Not safe for concurrent use.
type Engine struct {
	preset Preset
	speed  float64
	kv     *kvPool
	rand   splitmix

	waiting []*Seq // first come first served; the preempted go to the front
	running []*Seq
	held    int

	batch []share // the step in progress
	end   int64   // when it ends
	busy  bool
	clock int64 // how far the engine has come

	totals Counters
}

// share is a sequence's part in a step.
type share struct {
	seq    *Seq
	tokens int
}

// NewEngine returns an idle engine at time 0. Only step jitter depends on seed.
func NewEngine(p Preset, seed uint64) *Engine {
	return &Engine{preset: p, speed: 1, kv: newKVPool(p.Blocks), rand: splitmix(seed)}
}

// SetSpeed makes steps that begin from now on take their time divided by speed,
// which is above 0.
func (e *Engine) SetSpeed(speed float64) { e.speed = speed }

// Submit queues a request; the next Step may start it. It fails if the sequence
// could never fit.
func (e *Engine) Submit(now int64, r Request) (*Seq, error) {
	if err := e.fits(r); err != nil {
		return nil, err
	}
	q := &Seq{req: r, arrived: now}
	e.waiting = append(e.waiting, q)
	return q, nil
}

// Hold keeps a sequence's KV blocks, as far as there is room, without computing
// it: the owner paces it, and ends it with Release. It counts as running.
func (e *Engine) Hold(r Request) (*Seq, error) {
	if err := e.fits(r); err != nil {
		return nil, err
	}
	q := &Seq{req: r, state: seqHeld}
	e.held++
	hit, idle := e.kv.match(r.Blocks, (r.PromptTokens-1)/BlockTokens)
	e.count(q, hit)
	total := r.PromptTokens + r.OutputTokens
	if blocksFor(total)-hit+idle <= e.kv.free {
		q.blocks = e.kv.share(nil, r.Blocks[:hit])
		q.blocks, _ = e.kv.grow(q.blocks, total)
		e.kv.name(q.blocks, r.Blocks, hit, total/BlockTokens)
	}
	return q, nil
}

func (e *Engine) fits(r Request) error {
	switch total := r.PromptTokens + r.OutputTokens; {
	case r.PromptTokens < 1 || r.OutputTokens < 0:
		return fmt.Errorf("cannot submit sequence: %d prompt and %d output tokens", r.PromptTokens, r.OutputTokens)
	case total > e.preset.MaxModelLen || blocksFor(total) > e.preset.Blocks:
		return fmt.Errorf("cannot submit sequence: %d tokens are more than the engine's context of %d",
			total, min(e.preset.MaxModelLen, e.preset.Blocks*BlockTokens))
	}
	return nil
}

// Abort ends a submitted sequence in whatever state it is and frees its blocks;
// one that has ended already is left alone. A step in progress still takes its
// full time.
func (e *Engine) Abort(now int64, q *Seq) {
	switch q.state {
	case seqWaiting:
		e.waiting = slices.DeleteFunc(e.waiting, func(w *Seq) bool { return w == q })
	case seqRunning:
		e.running = slices.DeleteFunc(e.running, func(w *Seq) bool { return w == q })
	case seqHeld:
		e.held--
	case seqEnded:
		return
	}
	e.retire(q, seqEnded)
	e.catchUp(now)
}

// Release ends a held sequence that generated so many tokens.
func (e *Engine) Release(now int64, q *Seq, generated int) {
	if q.state == seqHeld {
		e.totals.OutputTokens += int64(generated)
	}
	e.Abort(now, q)
}

// catchUp keeps an engine that stood still for want of blocks from starting its
// next step in the past.
func (e *Engine) catchUp(now int64) {
	if !e.busy {
		e.clock = max(e.clock, now)
	}
}

func (e *Engine) retire(q *Seq, to seqState) {
	e.kv.release(q.blocks)
	q.blocks = q.blocks[:0]
	q.computed = 0
	q.state = to
}

// Step runs the engine up to now: it ends the steps that are over by then,
// starts the next one, appends what happened to dst and returns when to call
// again, Never if there is nothing to do until a Submit, Abort or Release.
func (e *Engine) Step(now int64, dst []Event) ([]Event, int64) {
	for {
		if !e.busy {
			start := e.clock
			if len(e.running) == 0 {
				if len(e.waiting) == 0 {
					return dst, Never
				}
				start = max(start, e.waiting[0].arrived)
			}
			if start > now {
				return dst, start
			}
			if dst = e.begin(start, dst); !e.busy {
				return dst, Never
			}
		}
		if e.end > now {
			return dst, e.end
		}
		dst = e.finish(dst)
	}
}

// Counters returns the engine's gauges and totals as of the last call.
func (e *Engine) Counters() Counters {
	c := e.totals
	c.Running = len(e.running) + e.held
	c.Waiting = len(e.waiting)
	c.BlocksTotal = e.preset.Blocks
	c.BlocksUsed = e.preset.Blocks - e.kv.free
	return c
}
