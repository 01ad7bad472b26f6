package replay

// A simulated router: the policy, books, health and index of production around
// requests that are imagined.

import (
	"fmt"
	"math"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/router/admission"
)

// router does for requests what package router does, without the network.
type router struct {
	world      *world
	number     int
	policy     balancer.Policy
	wants      balancer.Wants
	candidates []balancer.Candidate
	pool       *backends.Rehearsal
	request    balancer.Request
	estimator  admission.Estimator
	queue      admission.Queue
	pace       admission.Pace
	fairness   fairness
	hedges     backends.Hedges
	random     *stream
	jitter     *stream // of scrapes and checks
	prefixes
	lastCheck []int64 // of each backend
}

func newRouter(w *world, number int) (*router, error) {
	c := w.config
	name := fmt.Sprintf("router %d", number)
	r := &router{
		world: w, number: number, random: streamOf(c.Seed, name), jitter: streamOf(c.Seed, name+" jitter"),
		lastCheck: make([]int64, c.Backends),
	}
	var err error
	if r.policy, err = newPolicy(c.Policy, c.Tuning); err != nil {
		return nil, err
	}
	r.wants = balancer.WantsOf(r.policy)
	urls := make([]string, c.Backends)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://backend-%d", i)
	}
	rules := backends.DefaultRules()
	rules.Concurrency.Off = !c.FindLimits
	r.pool = backends.NewRehearsal(urls, rules, epoch, streamOf(c.Seed, name+" health").next)
	for i := range urls {
		ep := r.pool.Endpoint(i)
		ep.Load.SetPrefillRate(c.Rate)
		ep.Load.SetInterference(c.Tuning.PerRequest.Seconds(), c.Tuning.PerKVToken.Seconds())
		candidate := balancer.Candidate{
			Load: &ep.Load, Weight: 1, Limit: int32(c.MaxInflight), ID: uint64(ep.Mark()), Place: i, Signals: &ep.Signals,
		}
		if c.FindLimits {
			candidate.Concurrency = &ep.Concurrency
		}
		r.candidates = append(r.candidates, candidate)
	}
	r.hedges.Set(c.Hedge.Budget)
	r.prefixes.init(c, name)
	return r, nil
}

// begin puts what r does by itself among the events.
func (r *router) begin() {
	c, w := r.world.config, r.world
	for i := range r.candidates {
		if c.Scrape > 0 {
			w.events.add(int64(r.jitter.below(uint64(c.Scrape))), kindScrape, i, int64(r.number))
		}
		if len(c.Faults) > 0 {
			w.events.add(int64(r.jitter.below(uint64(checkFirst))), kindCheck, i, int64(r.number))
		}
	}
	if len(c.Faults) > 0 {
		w.events.add(0, kindSweep, r.number, 0)
	}
}

func (r *router) time() time.Time { return epoch.Add(time.Duration(r.world.now)) }

// take has a request that just came tried, or wait.
func (r *router) take(f *flight) {
	if f.tries == 0 && r.turnsAway(f) {
		r.shed(f)
		return
	}
	if r.queue.Len() > 0 || !r.try(f) {
		r.park(f)
	}
}

// try sends the request to a backend that has room, another one if that fails;
// false: there is none.
func (r *router) try(f *flight) bool {
	for f.tries < maxTries {
		if !r.acquire(f, &f.try, balancer.FirstN(len(r.candidates))) {
			return false
		}
		f.tries++
		if f.tries == 1 {
			r.pool.Budget().Request(r.time())
		}
		if f.engine.up {
			r.watchForLate(f)
			err := f.engine.submit(f, &f.try)
			if err != nil { // longer than the model's context
				f.end(r, backends.Served, backends.Report{Evidence: backends.Neutral, Status: 400})
				r.over(f, Refused)
			}
			return true
		}
		r.hurry(f.engine.number)
		f.end(r, backends.Failed, backends.Report{Evidence: backends.Unreachable})
	}
	r.over(f, Failed)
	return true
}

// maxTries is the router's default: the first try and one more.
const maxTries = 2

// acquire is acquireOf of package router: it chooses one of these backends and
// reserves for t what the request will take there.
func (r *router) acquire(f *flight, t *try, of balancer.Mask) bool {
	now, q := r.time(), &r.request
	q.Rand, q.Now = r.random.next(), r.world.now
	q.Eligible = r.untried(f, now).And(of)
	r.describe(q, f)
	for again := true; ; q.Eligible = r.untried(f, now).And(of) {
		i := balancer.Choose(r.policy, q, r.candidates)
		if i < 0 {
			return false
		}
		f.tried.Set(i)
		ep := r.pool.Endpoint(i)
		pass, ok := r.pool.Members().Enter(i, now)
		if !ok {
			continue
		}
		if ep.Acquire(&t.lease, r.candidates[i].Bound()) {
			if overtaken := t.lease.Promise(q); !overtaken || !again {
				t.engine, t.pass, t.hit, t.size = r.world.backends[i], pass, q.Decision.Predicted, q.Tokens
				t.sent, t.beside = now, r.candidates[i].Load.InFlight()
				f.served = t.engine
				r.given(f.request, i)
				if f.tries == 0 {
					asked := &r.world.config.Trace.Requests[f.request]
					r.fairness.begin(&f.waiter, asked, float64(r.estimator.Input(promptOf(asked))))
				}
				return true
			}
			again = false
			f.tried.Clear(i)
			t.lease.Finish(backends.Ignored, now)
		}
		ep.Report(backends.Report{Pass: pass, Evidence: backends.Neutral}, now)
	}
}

// untried is who may be asked for f.
func (r *router) untried(f *flight, now time.Time) balancer.Mask {
	open := r.pool.Members().Eligible(now)
	for w := range open {
		open[w] &^= f.tried[w]
	}
	return open
}

// describe says what the request is like, as far as a router can know.
func (r *router) describe(q *balancer.Request, f *flight) {
	t := &r.world.config.Trace.Requests[f.request]
	q.Tokens, q.Output, q.Stream, q.Root, q.Home, q.Index = 0, 0, true, 0, 0, nil
	if r.wants&balancer.WantsSize != 0 {
		q.Tokens = r.estimator.Input(promptOf(t))
		if noise := r.world.config.Noise; noise > 0 {
			q.Tokens = max(int64(float64(q.Tokens)*math.Exp(noise*f.noise)), 1)
		}
		q.Output = r.estimator.Typical()
	}
	if r.wants&balancer.WantsPrompt != 0 {
		r.match(q, f.request)
	}
}

func promptOf(t *Request) admission.Prompt {
	return admission.Prompt{Bytes: int64(t.Prompt) * bytesPerToken}
}

// firstToken is the engine's first token of f: its answer has begun.
func (r *router) firstToken(f *flight) {
	f.first = r.world.now
	r.secondLoses(f)
	r.noteLateness(&f.try, f)
	if !r.world.config.ReleaseAtEnd {
		f.lease.FirstToken(r.time())
	}
	f.lease.Endpoint().Answered(&f.pass, r.time())
	r.learnRoom(f)
}

// unremarkable is package router's: by how much a first token may be late that
// nobody would notice.
const unremarkable = 50 * time.Millisecond

// learnRoom tells the limit of f's backend how soon its answer began, as package
// router does.
func (r *router) learnRoom(f *flight) {
	limit := r.candidates[f.engine.number].Concurrency
	if limit == nil {
		return
	}
	prefill := balancer.PrefillSeconds(r.estimator.Input(promptOf(&r.world.config.Trace.Requests[f.request])))
	now := r.time()
	answer := balancer.Answer{
		Sent: f.sent, InFlight: f.beside,
		Slowness: (unremarkable + now.Sub(f.sent)).Seconds() / (unremarkable.Seconds() + prefill),
	}
	if limit.Observe(answer, now) {
		r.freed()
	}
}

// finished is the end of f's answer.
func (r *router) finished(f *flight) {
	t := &r.world.config.Trace.Requests[f.request]
	u := helixflow.Usage{Reported: true, InputTokens: int64(t.Prompt), OutputTokens: int64(t.Output)}
	if !r.world.config.NoReports {
		u.CachedTokens = int64(f.cached)
	}
	f.lease.Learn(u, r.time())
	r.calibrate(f, u)
	r.estimator.Learn(promptOf(t), u)
	f.end(r, backends.Served, backends.Report{Evidence: backends.Well, Status: 200})
	r.fairness.serve(&f.waiter, outputWeight*float64(t.Output))
	if f.waited {
		r.queue.Charge(&f.waiter, outputWeight*float64(t.Output))
	}
	r.over(f, Answered)
	r.freed()
}

// outputWeight is package router's: what a token of an answer counts beside one of
// a prompt.
const outputWeight = 2

// broke is the end of f's backend.
func (r *router) broke(f *flight) {
	now := r.time()
	r.hurry(f.engine.number)
	begun := f.first != 0
	f.end(r, backends.Failed, backends.Report{Evidence: backends.Faulty})
	if f.second.engine != nil { // it is its retry
		f.try, f.second = f.second, try{}
		f.served = f.engine
		r.world.result.Hedges.Won++
	} else if begun || f.tries >= maxTries || !r.pool.Budget().Retry(now) {
		r.over(f, Failed)
	} else {
		r.take(f)
	}
	r.freed()
}

// gone is the end of f's client.
func (r *router) gone(f *flight) {
	if f.parked {
		r.leaveQueue(f)
	}
	r.secondLoses(f)
	if e := f.engine; e != nil {
		e.abort(&f.try)
		f.end(r, backends.Ignored, backends.Report{Evidence: backends.Neutral})
	}
	r.over(f, Left)
	r.freed()
}

// end ends what t holds of its backend.
func (t *try) end(r *router, o backends.Outcome, report backends.Report) {
	now := r.time()
	report.Pass = t.pass
	t.lease.Endpoint().Report(report, now)
	t.lease.Finish(o, now)
	t.engine, t.seq, t.tag = nil, nil, 0
}

// over is the end of a request.
func (r *router) over(f *flight, how Ending) {
	if f.tries > 0 {
		r.fairness.end(&r.world.config.Trace.Requests[f.request])
	}
	r.world.result.ended(r.world, f, how)
	r.world.land(f)
}
