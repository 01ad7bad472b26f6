package sim

// One step of the engine: who takes part in it, how long it takes, what it ends.

import "slices"

// begin fills a batch at time t. It stays idle if nothing fits.
func (e *Engine) begin(t int64, dst []Event) []Event {
	e.clock = t
	e.batch = e.batch[:0]
	budget := e.preset.MaxBatchTokens
	dst, budget = e.extend(t, budget, dst)
	if budget >= 0 {
		e.admit(t, budget)
	}
	if len(e.batch) == 0 {
		return dst
	}
	e.end = t + e.duration()
	e.busy = true
	e.totals.Steps++
	return dst
}

// extend gives the running sequences their next tokens. One token for those that
// decode, the next chunk for those that do not: they were admitted last, so
// decoding comes first. Who finds no block preempts the youngest; then the budget
// returned is negative, for nobody is admitted in such a step.
func (e *Engine) extend(t int64, budget int, dst []Event) ([]Event, int) {
	preempted := false
	for i := 0; i < len(e.running) && budget > 0; i++ {
		q := e.running[i]
		n := min(q.pending(), budget)
		for q.state == seqRunning {
			var ok bool
			if q.blocks, ok = e.kv.grow(q.blocks, q.computed+n); ok {
				e.schedule(q, n)
				budget -= n
				break
			}
			dst = append(dst, e.preempt(t))
			preempted = true
		}
	}
	if preempted {
		budget = -1
	}
	return dst, budget
}

// preempt puts the youngest running sequence back to the head of the queue; its
// tokens will be computed again, as far as they are not cached then.
func (e *Engine) preempt(t int64) Event {
	last := len(e.running) - 1
	q := e.running[last]
	e.running = e.running[:last]
	e.retire(q, seqWaiting)
	e.waiting = slices.Insert(e.waiting, 0, q)
	e.totals.Preemptions++
	return Event{Tag: q.req.Tag, At: t, Kind: EventPreempted, Tokens: q.generated, Cached: q.cached}
}

// admit starts waiting sequences while there are places, tokens and blocks.
func (e *Engine) admit(t int64, budget int) {
	started := 0
	for started < len(e.waiting) && len(e.running) < e.preset.MaxSeqs && budget > 0 {
		q := e.waiting[started]
		if q.arrived > t {
			break
		}
		// One token at least is computed, or there would be nothing to sample from.
		hit, idle := e.kv.match(q.req.Blocks, (q.total()-1)/BlockTokens)
		n := min(q.total()-hit*BlockTokens, budget)
		if blocksFor(hit*BlockTokens+n)-hit+idle > e.kv.free {
			break
		}
		q.blocks = e.kv.share(q.blocks, q.req.Blocks[:hit])
		q.blocks, _ = e.kv.grow(q.blocks, hit*BlockTokens+n)
		q.computed = hit * BlockTokens
		q.state = seqRunning
		e.count(q, hit)
		e.running = append(e.running, q)
		e.schedule(q, n)
		budget -= n
		started++
	}
	e.waiting = slices.Delete(e.waiting, 0, started)
}

func (e *Engine) count(q *Seq, hit int) {
	if q.admitted {
		return
	}
	q.admitted = true
	q.cached = hit * BlockTokens
	e.totals.PromptTokens += int64(q.req.PromptTokens)
	e.totals.CacheQueries += int64(q.req.PromptTokens)
	e.totals.CacheHits += int64(q.cached)
}

// schedule puts n tokens of q into the batch. Their blocks can be shared at once:
// the same step writes a layer's KV before anyone reads it.
func (e *Engine) schedule(q *Seq, n int) {
	e.batch = append(e.batch, share{q, n})
	e.kv.name(q.blocks, q.req.Blocks, q.computed/BlockTokens, (q.computed+n)/BlockTokens)
}

func (e *Engine) duration() int64 {
	prefill, decode, context := 0, 0, 0
	for _, s := range e.batch {
		context += s.seq.computed + s.tokens
		if s.tokens == 1 && s.seq.generated > 0 {
			decode++
		} else {
			prefill += s.tokens
		}
	}
	d := e.preset.stepTime(prefill, decode, context)
	if j := e.preset.JitterPermille; j > 0 {
		d += d / 1000 * int64(e.rand.below(2*j+1)-j)
	}
	if e.speed != 1 {
		d = int64(float64(d) / e.speed)
	}
	return d
}

// finish ends the step in progress: each sequence whose tokens are all computed
// samples one more.
func (e *Engine) finish(dst []Event) []Event {
	e.clock = e.end
	e.busy = false
	ended := false
	for _, s := range e.batch {
		q := s.seq
		if q.state != seqRunning { // aborted meanwhile
			continue
		}
		q.computed += s.tokens
		if q.pending() > 0 {
			continue
		}
		if q.req.OutputTokens > 0 {
			q.generated++
			e.totals.OutputTokens++
		}
		ev := Event{Tag: q.req.Tag, At: e.end, Kind: EventToken, Tokens: q.generated, Cached: q.cached}
		if q.generated == q.req.OutputTokens {
			ev.Kind = EventFinished
			e.retire(q, seqEnded)
			ended = true
		}
		dst = append(dst, ev)
	}
	clear(e.batch)
	if ended {
		e.running = slices.DeleteFunc(e.running, func(q *Seq) bool { return q.state != seqRunning })
	}
	return dst
}
