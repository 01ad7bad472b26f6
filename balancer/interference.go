package balancer

// What running requests cost each other on one backend, as their streams show it.

import "sync/atomic"

// By how many seconds a running request, and a token of its context, prolong each
// step of an engine of which nothing was said: those of DefaultTuning.
const (
	defaultPerRequest = 20e-6
	defaultPerKVToken = 40e-9
)

const (
	stepPart  = 0.005 // of a new sample in the means: some two hundred answers count
	stepSpan  = 16    // no more than so many times what was configured is believed, nor less
	stepFew   = 0.02  // what of the noise a slope of 1 is worth: answers of one time are less than as many apart
	stepWhole = 128   // tokens of an answer that counts whole
	stepOdd   = 3     // times the mean: what is slower counts as that
	stepCrowd = 1.0   // seconds of prompts that a backend has ahead: more, and it has a queue of its own
	stepMost  = 10.0  // seconds between two tokens of an answer that says anything of steps
)

// interference is by how much running requests prolong each step, over what was
// configured: what answers took for each token, beside what the requests that ran
// then should have added, and beside the prompts that were read meanwhile, which
// took steps for themselves. It is a regression by least squares that forget, drawn
// towards 1 by its noise. What a step takes anyhow does not matter to it.
type interference struct {
	perRequest, perKVToken number // seconds, as configured; 0: the default

	seen             atomic.Int64 // answers
	added, read, gap number       // means: seconds, prompt tokens for each token, seconds
	addedAdded       number       // their variances and covariances
	addedRead        number
	addedGap         number
	readRead         number
	readGap          number
	gapGap           number
	times            number // the slope by added; 0: not known
	counts           number // what it counts beside the pool's; 0: nothing yet
}

// SetInterference says by how many seconds a running request, and a token of its
// context, are believed to prolong each step until answers have shown it; both 0:
// nobody knows.
func (l *Load) SetInterference(perRequest, perKVToken float64) {
	l.learned.steps.perRequest.set(max(perRequest, 0))
	l.learned.steps.perKVToken.set(max(perKVToken, 0))
}

// Interference returns how many times as much as was configured running requests
// prolong each step of the backend, as far as answers have shown; else 1.
func (l *Load) Interference() float64 {
	if t := l.learned.steps.times.get(); t > 0 {
		return t
	}
	return 1
}

// adds is how many seconds those who run now should add to each step.
func (l *Load) adds() float64 {
	d := &l.learned.steps
	perRequest, perKVToken := d.perRequest.get(), d.perKVToken.get()
	if perRequest == 0 && perKVToken == 0 {
		perRequest, perKVToken = defaultPerRequest, defaultPerKVToken
	}
	return perRequest*float64(l.inflight.Load()) + perKVToken*float64(l.kv.Load())
}

// learnSteps learns from an answer of so many tokens that took so many seconds
// after the first.
func (c *Charge) learnSteps(tokens int64, took float64, now int64) {
	l, n := c.load, float64(tokens-1)
	if c.crowded || l.Ahead(now) > stepCrowd {
		return // who waits in the engine's own queue prolongs nobody's steps
	}
	if gap := took / n; gap > 0 && gap < stepMost {
		l.learned.steps.observe((c.adds+l.adds())/2, float64(l.read.Load()-c.read)/n, gap, stepPart*min(n/stepWhole, 1))
	}
}

// observe takes in an answer that took gap seconds for each token, while others
// should have added so many of them, and so many tokens of prompts were read.
func (d *interference) observe(added, read, gap, part float64) {
	seen := d.seen.Add(1)
	if seen == 1 {
		d.added.set(added)
		d.read.set(read)
		d.gap.set(gap)
		return
	}
	gap = min(gap, stepOdd*d.gap.get()) // one that was thrown out and computed again says nothing of steps
	x, z, y := added-d.added.get(), read-d.read.get(), gap-d.gap.get()
	d.added.move(added, part)
	d.read.move(read, part)
	d.gap.move(gap, part)
	d.addedAdded.move(x*x, part)
	d.addedRead.move(x*z, part)
	d.addedGap.move(x*y, part)
	d.readRead.move(z*z, part)
	d.readGap.move(z*y, part)
	d.gapGap.move(y*y, part)
	d.times.set(d.slope(float64(seen)))
}

// slope is the regression's, with what prompts explain taken out of both. What is
// left of the gaps' variance is noise, and few answers may agree by chance.
func (d *interference) slope(seen float64) float64 {
	xx, xy, yy := d.addedAdded.get(), d.addedGap.get(), d.gapGap.get()
	if zz := d.readRead.get(); zz > 0 {
		by := d.addedRead.get() / zz
		xx, xy, yy = xx-by*d.addedRead.get(), xy-by*d.readGap.get(), yy-d.readGap.get()*d.readGap.get()/zz
	}
	xx, yy = max(xx, 0), max(yy, 0)
	noise := yy
	if xx > 0 {
		noise = max(yy-xy*xy/xx, 0)
	}
	prior := max(stepFew, 1/seen)*noise + yy/(seen*seen)
	if slope := (xy + prior) / (xx + prior); slope == slope { // a number
		return min(max(slope, 1.0/stepSpan), stepSpan)
	}
	return 1
}
