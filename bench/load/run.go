package load

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Result is what came of a run.
type Result struct {
	Elapsed time.Duration
	Latency Times // from the send, or from when it was due, to the answer's end
	TTFT    Times // of streams: to the first event
	Gap     Times // of streams: between reads that brought events
	Events  int   // of streams, with the one that says [DONE]
	Unsent  int   // in an open loop: came due, and their connections were busy until the end

	// Failed counts the requests that had no good answer, by why. Of very many
	// reasons only some are told apart.
	Failed map[string]int
}

// Requests is how many had a good answer.
func (r *Result) Requests() int { return len(r.Latency) }

// Failures is how many had none.
func (r *Result) Failures() (n int) {
	for _, k := range r.Failed {
		n += k
	}
	return n
}

// manyReasons is how many reasons to fail are told apart.
const manyReasons = 20

func (r *Result) fail(err error) {
	if r.Failed == nil {
		r.Failed = map[string]int{}
	}
	why := err.Error()
	if _, known := r.Failed[why]; !known && len(r.Failed) >= manyReasons {
		why = "other reasons"
	}
	r.Failed[why]++
}

func (r *Result) merge(o *Result) {
	r.Latency = append(r.Latency, o.Latency...)
	r.TTFT = append(r.TTFT, o.TTFT...)
	r.Gap = append(r.Gap, o.Gap...)
	r.Events += o.Events
	r.Unsent += o.Unsent
	for why, n := range o.Failed {
		if r.Failed == nil {
			r.Failed = map[string]int{}
		}
		if _, known := r.Failed[why]; !known && len(r.Failed) >= manyReasons {
			why = "other reasons"
		}
		r.Failed[why] += n
	}
}

// Times are durations, in order once a run is over.
type Times []time.Duration

func (t *Times) add(d time.Duration) { *t = append(*t, d) }

// Quantile returns the duration that this part of all does not exceed; 0 of none.
func (t Times) Quantile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(int(q*float64(len(t))), len(t)-1)]
}

// Run sends as o says until its duration is over or ctx ends. The error is about
// o; what fails on the way is in the Result.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	to, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	request, err := o.request(to)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	var period time.Duration
	if o.Rate > 0 {
		period = time.Duration(float64(o.Connections) / o.Rate * float64(time.Second))
	}
	begin := time.Now()
	end := begin.Add(o.Duration)
	clients := make([]*client, o.Connections)
	var all sync.WaitGroup
	for i := range clients {
		c := &client{to: to, request: request, stream: o.Stream, timeout: o.Timeout}
		if o.Distinct {
			c.request = bytes.Clone(request)
			c.number = numberIn(c.request)
		}
		clients[i] = c
		first := begin.Add(period * time.Duration(i) / time.Duration(o.Connections)) // spread over the first period
		all.Go(func() { c.work(ctx, first, end, period) })
	}
	all.Wait()
	r := &Result{Elapsed: time.Since(begin)}
	for _, c := range clients {
		r.merge(&c.result)
	}
	for _, list := range []Times{r.Latency, r.TTFT, r.Gap} {
		slices.Sort(list)
	}
	if r.Requests() == 0 && r.Failures() == 0 && ctx.Err() == nil {
		return nil, errors.New("nothing was sent: the duration is shorter than the first period")
	}
	return r, nil
}
