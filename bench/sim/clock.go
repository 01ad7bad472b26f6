package sim

// Real time: the goroutine that steps the engine, and the jobs that wait for it.

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// job is one sequence in real time. Its handler reads tokens and done, the clock
// writes them; the rest belongs to the clock's mutex.
type job struct {
	tokens atomic.Int64 // ready to be sent
	done   atomic.Bool
	cached atomic.Int64 // set before the first token

	ready    chan<- struct{} // of the whole answer; told of every change
	seq      *Seq
	request  Request
	arrived  time.Duration
	lastAt   time.Duration
	pace     pace
	due      time.Duration // of the next token, when paced
	position int           // in the pacer, -1 when not there
}

// pace is the time a sequence keeps of its own.
type pace struct {
	on        bool
	ttft, gap time.Duration
	stop      int // no more tokens after so many; -1 for no such limit
}

// clock owns the engine and drives it in real time. Safe for concurrent use.
type clock struct {
	scale  float64 // engine time per real time
	start  time.Time
	preset Preset

	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards the fields below
	engine  *Engine
	jobs    map[uint64]*job // by tag; those the engine computes
	lastTag uint64
	paced   pacer
	planned time.Duration // when the goroutine will wake up by itself
	events  []Event       // reused
	figures figures
}

func newClock(p Preset, seed uint64, scale float64) *clock {
	c := &clock{
		scale: scale, start: time.Now(), preset: p,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		engine: NewEngine(p, seed), jobs: make(map[uint64]*job),
	}
	go c.run()
	return c
}

// close ends the goroutine and waits for it.
func (c *clock) close() {
	close(c.quit)
	<-c.done
}

func (c *clock) run() {
	defer close(c.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.quit:
			return
		}
		c.mu.Lock()
		now := c.now()
		c.planned = c.advance(now)
		timer.Reset(c.planned - now)
		c.mu.Unlock()
	}
}

func (c *clock) now() time.Duration { return time.Since(c.start) }

func (c *clock) engineTime(t time.Duration) int64 { return int64(float64(t) * c.scale) }

// realTime is the inverse of engineTime, rounded up so that waking up then is
// never too early.
func (c *clock) realTime(t int64) time.Duration {
	if float64(t) >= c.scale*math.MaxInt64/2 {
		return math.MaxInt64
	}
	return time.Duration(float64(t)/c.scale) + 1
}

// submit starts one job for each request; ready is told of all of them. On an
// error none is left.
func (c *clock) submit(requests []Request, p pace, ready chan<- struct{}) ([]*job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	jobs := make([]*job, 0, len(requests))
	for _, r := range requests {
		c.lastTag++
		r.Tag = c.lastTag
		j := &job{ready: ready, request: r, arrived: now, pace: p, position: -1}
		if err := c.begin(j, now); err != nil {
			for _, j := range jobs {
				c.end(j, now)
			}
			return nil, err
		}
		jobs = append(jobs, j)
	}
	c.replan(now)
	return jobs, nil
}

func (c *clock) begin(j *job, now time.Duration) (err error) {
	if !j.pace.on {
		j.seq, err = c.engine.Submit(c.engineTime(now), j.request)
		if err == nil {
			c.jobs[j.request.Tag] = j
		}
		return err
	}
	if j.seq, err = c.engine.Hold(j.request); err != nil {
		return err
	}
	j.cached.Store(int64(j.seq.Cached()))
	if j.pace.ttft < 0 {
		j.pace.ttft = c.realTime(c.preset.stepTime(j.request.PromptTokens, 0, j.request.PromptTokens))
	}
	if j.pace.gap < 0 {
		j.pace.gap = c.realTime(c.preset.stepTime(0, 1, j.request.PromptTokens))
	}
	j.due = now + j.pace.ttft
	heap.Push(&c.paced, j)
	return nil
}

// release ends jobs, whatever their state. Call it exactly once for each submit.
func (c *clock) release(jobs []*job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, j := range jobs {
		c.end(j, now)
	}
	c.replan(now)
}

func (c *clock) end(j *job, now time.Duration) {
	if j.position >= 0 {
		heap.Remove(&c.paced, j.position)
	}
	delete(c.jobs, j.request.Tag)
	c.engine.Release(c.engineTime(now), j.seq, int(j.tokens.Load()))
}

// replan brings the engine up to now and sees to it that the goroutine wakes up
// in time.
func (c *clock) replan(now time.Duration) {
	if next := c.advance(now); next < c.planned {
		c.planned = next
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// advance runs everything that is due and returns when to come back.
func (c *clock) advance(now time.Duration) time.Duration {
	var next int64
	c.events, next = c.engine.Step(c.engineTime(now), c.events[:0])
	for _, e := range c.events {
		c.deliver(e)
	}
	for len(c.paced) > 0 && c.paced[0].due <= now {
		c.tick(c.paced[0], now)
	}
	at := c.realTime(next)
	if len(c.paced) > 0 {
		at = min(at, c.paced[0].due)
	}
	return at
}

func (c *clock) deliver(e Event) {
	j := c.jobs[e.Tag]
	if j == nil || e.Kind == EventPreempted {
		return
	}
	j.cached.Store(int64(e.Cached))
	c.progress(j, e.Tokens, e.Kind == EventFinished, c.realTime(e.At))
}

// tick gives a paced job its next token, and every one after it that is due.
func (c *clock) tick(j *job, now time.Duration) {
	tokens := int(j.tokens.Load())
	want := j.request.OutputTokens
	for j.due <= now && tokens < want && tokens != j.pace.stop {
		tokens++
		c.progress(j, tokens, tokens == want, j.due)
		j.due += j.pace.gap
	}
	switch {
	case want == 0:
		c.progress(j, 0, true, j.due)
		fallthrough
	case tokens == want:
		heap.Remove(&c.paced, j.position)
		c.engine.Release(c.engineTime(now), j.seq, tokens)
	case tokens == j.pace.stop:
		heap.Remove(&c.paced, j.position)
	default:
		heap.Fix(&c.paced, j.position)
	}
}

func (c *clock) progress(j *job, tokens int, done bool, at time.Duration) {
	switch {
	case tokens == 1:
		c.figures.ttft.observe(at - j.arrived)
	case tokens > 1:
		c.figures.perToken.observe(at - j.lastAt)
	}
	j.lastAt = at
	if done {
		c.figures.total.observe(at - j.arrived)
	}
	j.tokens.Store(int64(tokens))
	j.done.Store(done)
	select {
	case j.ready <- struct{}{}:
	default: // one signal waits already
	}
}

// snapshot returns the engine's counters and the histograms as of now.
func (c *clock) snapshot() (Counters, figures) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replan(c.now())
	return c.engine.Counters(), c.figures
}
