package balancer

// What the ends of requests teach about a backend.

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
)

const (
	smallPrompt = 512                  // uncached tokens that hardly delay a first token
	largePrompt = 1024                 // and so many that they are what delays it
	unqueued    = 0.005                // seconds that count as no waiting
	floorTTFT   = 0.05                 // seconds below which first tokens are as good as each other
	baseWindow  = int64(time.Minute)   // a lowest latency is believed for this long, or twice that
	minSlowness = 0.3                  // a sample is taken for no less
	maxSlowness = 20                   // and no more
	slowPart    = 0.04                 // of a new sample in the mean
	failedAs    = 5                    // the slowness that a failure stands for,
	failedPart  = 0.25                 // and its part in the mean
	meanPart    = 0.05                 // of a new sample in the other means
	ratePart    = 0.1                  // and in that of the rate, which is one of logarithms
	rateSpan    = 4                    // the rate is believed from a quarter of what it was told to this multiple
	maxTrust    = 2                    // times what was expected to be cached
	refreshed   = int64(time.Second)   // how often slowness is compared within a pool
	idleDecay   = float64(time.Minute) // the time constant in which it is forgotten of an idle backend
	bandLow     = 0.6                  // between these two a backend is as fast as the others
	bandHigh    = 1.6                  //
	leastFactor = 0.5                  // and outside no more than these are believed
	mostFactor  = 5                    //
	minGap      = float64(time.Nanosecond) / float64(time.Second)
)

// learned is what requests have shown. It is written at their first token and
// at their end, and read by every pick.
type learned struct {
	rate    number        // prompt tokens a second; 0: not known
	prompt  number        // mean uncached tokens of a prompt
	service number        // mean seconds that a request takes
	slow    number        // mean ln of the time to the first token over what was predicted
	gap     number        // mean ln of the seconds between two tokens
	steps   interference  // by how much running requests prolong each step
	reports atomic.Bool   // it has said of some request that tokens were cached
	sampled atomic.Int64  // when slow or gap last moved; 0: never
	factor  atomic.Uint32 // float32: slowness beside the pool; 0 is 1

	// The lowest latency of a first token, of this window and the one before.
	baseTurn          atomic.Int64
	baseNow, baseLast atomic.Int64 // nanoseconds; 0: none
	configured        number       // prompt tokens a second, until it is known better; 0: PrefillRate
}

// SetPrefillRate says how many prompt tokens a second the backend is believed to
// read before requests have shown it; 0: nobody knows.
func (l *Load) SetPrefillRate(tokens float64) { l.learned.configured.set(max(tokens, 0)) }

// Base returns the seconds that a first token takes without any work before it;
// 0 when that is not known, or not any more.
func (l *Load) Base(now int64) float64 {
	d := &l.learned
	latest, before := d.baseNow.Load(), d.baseLast.Load()
	switch age := now/baseWindow - d.baseTurn.Load(); {
	case age > 1:
		return 0
	case age == 1 || before == 0:
		return seconds(latest)
	case latest == 0:
		return seconds(before)
	}
	return seconds(min(latest, before))
}

// Factor returns how slow the backend is beside the others of its pool; 1 while
// it is about as fast.
func (l *Load) Factor() float64 {
	if bits := l.learned.factor.Load(); bits != 0 {
		return float64(math.Float32frombits(bits))
	}
	return 1
}

// ReportsCached reports whether the backend has ever said that tokens of a prompt
// were cached. One that never did may well not tell.
func (l *Load) ReportsCached() bool { return l.learned.reports.Load() }

// isSlow reports whether l is known to be slower than was configured, or than its
// pool: then a probe finds out whether it still is.
func (l *Load) isSlow() bool {
	return l.Factor() > 1 || l.PrefillRate()*bandHigh < l.configuredRate()
}

// firstToken learns from a stream's first token, and returns how many times longer
// it took than was predicted.
func (d *learned) firstToken(c *Charge, ttft float64, now int64) (times float64) {
	uncached := float64(c.tokens - c.hit)
	if uncached <= smallPrompt && c.queued <= unqueued {
		d.lowest(max(int64((ttft-c.predicted)*float64(time.Second)), 1), now)
	}
	times = max(ttft, floorTTFT) / max(c.predicted+c.load.Base(now), floorTTFT)
	d.slower(times, slowPart, now)
	return times
}

// lowest takes in a latency without work before it.
func (d *learned) lowest(nanos, now int64) {
	turn := now / baseWindow
	switch was := d.baseTurn.Swap(turn); {
	case turn == was+1:
		d.baseLast.Store(d.baseNow.Swap(0))
	case turn != was:
		d.baseNow.Store(0)
		d.baseLast.Store(0)
	}
	if old := d.baseNow.Load(); old == 0 || nanos < old {
		d.baseNow.Store(nanos) // of two at once either will do
	}
}

func (d *learned) slower(times, part float64, now int64) {
	d.slow.move(math.Log(min(max(times, minSlowness), maxSlowness)), part)
	d.sampled.Store(max(now, 1))
}

// Failed says that the request of c failed before its first token, so that a
// backend which fails fast does not look like a fast one.
func (c *Charge) Failed(now int64) {
	if c.load != nil && c.first == 0 {
		c.load.learned.slower(failedAs, failedPart, now)
	}
}

// Forgive forgets how slow the backend was: it has been out, for failures that are
// in that figure too, and who comes back is taken for as fast as its pool. A
// backend that is kept out by what it was would hardly be asked how it is now.
// So is its latency without work forgotten, that few requests may have shown.
func (l *Load) Forgive() {
	d := &l.learned
	d.baseNow.Store(0)
	d.baseLast.Store(0)
	d.sampled.Store(0)
	d.gap.set(0)
	d.factor.Store(0)
}

// Learn takes in how the request of c ended that was served to its end, and what
// it used; before Settle.
func (c *Charge) Learn(u helixflow.Usage, now int64) {
	l := c.load
	if l == nil || c.tokens == 0 {
		return
	}
	d := &l.learned
	uncached := float64(c.tokens - c.hit)
	if u.Reported && u.InputTokens > 0 {
		if u.CachedTokens > 0 && !d.reports.Load() {
			d.reports.Store(true)
		}
		if d.reports.Load() {
			uncached = float64(u.InputTokens - min(u.CachedTokens, u.InputTokens))
		}
	}
	d.prompt.begin(uncached, meanPart)
	d.service.begin(seconds(max(now-c.at, 0)), meanPart)
	if c.first == 0 {
		return
	}
	c.learnRate(uncached)
	if u.OutputTokens > 1 {
		gap := seconds(max(now-c.first, 1)) / float64(u.OutputTokens-1)
		d.gap.begin(math.Log(max(gap, minGap)), meanPart)
		c.learnSteps(u.OutputTokens, gap*float64(u.OutputTokens-1), now)
	}
}

// learnRate learns from a prompt that was long and did not wait.
func (c *Charge) learnRate(uncached float64) {
	l := c.load
	rate := l.PrefillRate()
	took := seconds(c.first-c.at) - l.Base(c.first)
	if uncached < largePrompt || c.queued > uncached/rate/4 || took <= 0 {
		return
	}
	middle := l.configuredRate()
	rate *= math.Pow(uncached/took/rate, ratePart)
	l.learned.rate.set(min(max(rate, middle/rateSpan), middle*rateSpan))
}

// pace compares the slowness of a pool's backends, at most once a second.
type pace struct{ at atomic.Int64 }

// refresh makes the factors of the candidates anew if it is time.
func (p *pace) refresh(now int64, candidates []Candidate) {
	last := p.at.Load()
	if now-last < refreshed || !p.at.CompareAndSwap(last, now) {
		return
	}
	var slow, gap, steps [MaxBackends]float64
	n, m, k := 0, 0, 0
	for i := range candidates {
		d := &candidates[i].Load.learned
		if d.sampled.Load() != 0 {
			insert(slow[:n+1], d.slow.get())
			n++
		}
		if g := d.gap.get(); g != 0 {
			insert(gap[:m+1], g)
			m++
		}
		if t := d.steps.times.get(); t > 0 {
			insert(steps[:k+1], t)
			k++
		}
	}
	if n+m+k == 0 {
		return
	}
	slowness, typical, beside := median(slow[:n]), median(gap[:m]), median(steps[:k])
	for i := range candidates {
		d := &candidates[i].Load.learned
		switch sampled := d.sampled.Load(); {
		case sampled == 0: // its first sample is one beside what is usual here
			d.slow.set(slowness)
		case sampled < last: // idle since: it is to be tried again
			part := 1 - math.Exp(-float64(now-max(last, 0))/idleDecay)
			d.slow.move(slowness, part)
			if d.gap.get() != 0 {
				d.gap.move(typical, part)
			}
		}
		over := 0.0
		if d.sampled.Load() != 0 {
			over = d.slow.get() - slowness
		}
		if g := d.gap.get(); g != 0 {
			over = max(over, g-typical)
		}
		d.factor.Store(math.Float32bits(float32(factorOf(over))))
		if t := d.steps.times.get(); t > 0 {
			d.steps.counts.set(besideOf(t, beside))
		}
	}
}

// factorOf is what a backend's work counts whose slowness has this logarithm over
// that of its pool.
func factorOf(over float64) float64 {
	f := math.Exp(over)
	if !(f <= bandLow || f >= bandHigh) {
		return 1
	}
	return min(max(f, leastFactor), mostFactor)
}

// besideOf is what a backend's interference counts that was seen to be so much, in a
// pool where this much is usual: machines that are alike are not told apart by
// noise. None is taken for much lighter than its pool, for that would draw more
// and more requests to it, of which nothing could be learned any more.
func besideOf(times, usual float64) float64 {
	switch f := times / usual; {
	case f >= bandHigh:
		return times
	case f <= bandLow:
		return usual * bandLow
	}
	return usual
}

// insert puts v, in order, among those before the last place of sorted.
func insert(sorted []float64, v float64) {
	i := len(sorted) - 1
	for ; i > 0 && sorted[i-1] > v; i-- {
		sorted[i] = sorted[i-1]
	}
	sorted[i] = v
}

// median returns the lower middle one: with two backends the faster counts.
func median(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)/2]
}
