package replay

// What came of a run.

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// Ending is how a request ended.
type Ending uint8

// The endings.
const (
	Answered Ending = iota
	Refused         // there was no room, or it was too long for the model
	Failed          // its backend broke down, or there was none
	Left            // its client did
)

// Outcome is what became of one request.
type Outcome struct {
	Arrived int64 // nanoseconds
	TTFT    int64 // to the first token; 0: none came
	Total   int64 // to the end
	Prompt  int32
	Output  int32
	Cached  int32 // tokens of the prompt that the engine had
	Tenant  int32
	Backend int16 // that answered; -1: none
	Ending  Ending
}

// The service level that goodput counts by.
const (
	GoodTTFT = 2 * time.Second
	GoodTPOT = 100 * time.Millisecond
)

// perToken is the mean time between two tokens, in nanoseconds.
func (o *Outcome) perToken() int64 { return (o.Total - o.TTFT) / int64(max(o.Output-1, 1)) }

func (o *Outcome) isGood() bool {
	return o.Ending == Answered && o.TTFT <= int64(GoodTTFT) && o.perToken() <= int64(GoodTPOT)
}

// Result is what came of a run. Times are in seconds.
type Result struct {
	Policy      string
	Requests    []Outcome // in the order of their ends
	Preemptions int64
	Loads       [][]int32     // requests on each backend, at each sample
	Every       time.Duration // between two samples
	Computed    []int64       // tokens that each backend computed, cached ones apart
	Digest      uint64        // of all outcomes
	Index       int64         // bytes of a router's index

	HitRatio                  float64 // cached tokens of all prompts
	TTFTp50, TTFTp90, TTFTp99 float64
	TTFTWorst                 float64 // the highest 90th percentile of a tenant's with enough requests
	TPOTp50, E2Ep50           float64
	Goodput                   float64 // part of the requests served as GoodTTFT and GoodTPOT say
	Imbalance                 float64 // the most tokens computed by one backend, over the mean
	Unserved                  int     // requests that were refused or failed
	Limits                    []int32 // of requests on each backend, at the end, as the first router sees them; 0: none
	Hedges                    HedgeCounts
	Shed                      int     // of those, refused early or to make way
	ServiceGap                float64 // most tokens by which one tenant was served more than another while both waited
	ServiceBound              float64 // what that is not to be above (Sheng et al., OSDI 2024)

	arrived int
}

// HedgeCounts are second tries, by what came of them, and late answers that had none.
type HedgeCounts struct{ Won, Lost, Failed, Skipped int }

const samples = 200 // of the loads, while requests arrive

func newResult(c *Config) *Result {
	return &Result{
		Policy: c.Policy, Requests: make([]Outcome, 0, len(c.Trace.Requests)),
		Every: max(c.Trace.Duration()/samples, time.Millisecond),
	}
}

// ended notes the end of a request.
func (r *Result) ended(w *world, f *flight, how Ending) {
	t := &w.config.Trace.Requests[f.request]
	o := Outcome{
		Arrived: t.At, Total: w.now - t.At, Prompt: t.Prompt, Output: t.Output, Cached: int32(f.cached),
		Tenant: t.Tenant, Backend: -1, Ending: how,
	}
	if f.first != 0 {
		o.TTFT = f.first - t.At
	}
	if f.served != nil {
		o.Backend = int16(f.served.number)
	}
	r.Requests = append(r.Requests, o)
}

// sample notes how many requests each backend has.
func (w *world) sample() {
	if w.over() {
		return
	}
	loads := make([]int32, len(w.backends))
	for i, e := range w.backends {
		c := e.model.Counters()
		if e.up {
			loads[i] = int32(c.Running + c.Waiting)
		}
	}
	w.result.Loads = append(w.result.Loads, loads)
	if len(w.result.Loads) < 4*samples { // a backlog may take many times as long as the trace
		w.events.add(w.now+int64(w.result.Every), kindSample, 0, 0)
	}
}

func (r *Result) finish(w *world) {
	for _, e := range w.backends {
		r.Computed = append(r.Computed, e.computed+computed(e.model))
	}
	r.Index = w.routers[0].index.Stats().Bytes
	for i := range w.routers[0].candidates {
		r.Limits = append(r.Limits, w.routers[0].candidates[i].Bound())
	}
	for _, router := range w.routers {
		r.ServiceGap, r.ServiceBound = max(r.ServiceGap, router.fairness.gap), max(r.ServiceBound, router.fairness.bound())
	}
	r.Digest = r.digest()
	r.summarize()
}

// enoughOfATenant is how many answers of a tenant's say something of a percentile.
const enoughOfATenant = 20

func (r *Result) summarize() {
	var ttft, tpot, total []int64
	var cached, prompts, good, stayed int64
	tenants := make(map[int32][]int64)
	for i := range r.Requests {
		o := &r.Requests[i]
		if o.Ending != Left {
			stayed++
		}
		if o.isGood() {
			good++
		}
		switch o.Ending {
		case Answered:
			cached, prompts = cached+int64(o.Cached), prompts+int64(o.Prompt)
			tenants[o.Tenant] = append(tenants[o.Tenant], o.TTFT)
			ttft, tpot, total = append(ttft, o.TTFT), append(tpot, o.perToken()), append(total, o.Total)
		case Refused, Failed:
			r.Unserved++
		}
	}
	r.HitRatio, r.Goodput = ratio(cached, prompts), ratio(good, stayed)
	r.TTFTp50, r.TTFTp90, r.TTFTp99 = quantile(ttft, .5), quantile(ttft, .9), quantile(ttft, .99)
	for _, list := range tenants {
		if len(list) >= enoughOfATenant {
			r.TTFTWorst = max(r.TTFTWorst, quantile(list, .9))
		}
	}
	r.TPOTp50, r.E2Ep50 = quantile(tpot, .5), quantile(total, .5)
	var sum int64
	for _, n := range r.Computed {
		sum += n
	}
	r.Imbalance = ratio(slices.Max(r.Computed)*int64(len(r.Computed)), sum)
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// quantile returns, in seconds, what part q of the list is not above; it sorts it.
func quantile(list []int64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	i := int(math.Ceil(q*float64(len(list)))) - 1
	return float64(list[max(i, 0)]) / float64(time.Second)
}

// digest tells runs apart that differ in anything at all.
func (r *Result) digest() uint64 {
	h := fnv.New64a()
	var b [8]byte
	for i := range r.Requests {
		o := &r.Requests[i]
		for _, v := range []int64{o.Arrived, o.TTFT, o.Total, int64(o.Cached), int64(o.Backend), int64(o.Ending)} {
			binary.LittleEndian.PutUint64(b[:], uint64(v))
			_, _ = h.Write(b[:]) // never fails
		}
	}
	return h.Sum64()
}

// Summary is a result in the words of helixflow replay --json.
type Summary struct {
	Policy   string  `json:"policy"`
	Requests int     `json:"requests"`
	HitRatio float64 `json:"hit_ratio"` // cached tokens of all prompts, 0 to 1
	TTFTp50  float64 `json:"ttft_p50_s"`
	TTFTp90  float64 `json:"ttft_p90_s"`
	TTFTp99  float64 `json:"ttft_p99_s"`
	TPOTp50  float64 `json:"tpot_p50_s"`
	E2Ep50   float64 `json:"e2e_p50_s"`
	Goodput  float64 `json:"goodput_ratio"`
	Gap      float64 `json:"service_gap_tokens,omitempty"` // between tenants that both waited; 0 where nobody did
	Shed     int     `json:"shed,omitempty"`               // requests refused early
}

// Summary returns what scripts are told.
func (r *Result) Summary() Summary {
	return Summary{
		Policy: r.Policy, Requests: len(r.Requests), HitRatio: round(r.HitRatio), TTFTp50: round(r.TTFTp50), TTFTp90: round(r.TTFTp90),
		TTFTp99: round(r.TTFTp99), TPOTp50: round(r.TPOTp50), E2Ep50: round(r.E2Ep50), Goodput: round(r.Goodput), Gap: round(r.ServiceGap), Shed: r.Shed,
	}
}

func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }
