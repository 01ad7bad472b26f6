package metric

// What is counted per model.

import (
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
)

// ModelSeries is what is counted per public model name. Its methods are safe
// for concurrent use, take no lock and do not allocate.
type ModelSeries struct {
	name       string
	ops        [helixflow.NumOps]atomic.Pointer[opSeries] // nil until the first request
	firstToken histogram
	perToken   histogram
	tokens     [len(tokenTypes)]atomic.Uint64
	cache      cacheSeries
}

// opSeries is what is counted per model and operation.
type opSeries struct {
	requests [2]codeCounts // unary, stream
	duration histogram
}

// tokenTypes are the values of the label "type", in the order of ModelSeries.tokens.
var tokenTypes = [...]string{"input", "cached", "output", "reasoning"}

func newModelSeries(name string) *ModelSeries {
	return &ModelSeries{name: name, firstToken: histogram{bounds: firstTokenBounds}, perToken: histogram{bounds: perTokenBounds}}
}

// Request counts one finished request, by the status the client was answered
// (499 when it left), and times it from its first byte to the answer's last.
func (s *ModelSeries) Request(op helixflow.Op, stream bool, status int, took time.Duration) {
	if op >= helixflow.NumOps {
		op = helixflow.OpUnknown
	}
	kind := 0
	if stream {
		kind = 1
	}
	o := s.op(op)
	o.requests[kind].count(status)
	o.duration.observe(took)
}

// op returns the operation's series; only the first request of a kind makes one,
// since most models serve few of them.
func (s *ModelSeries) op(op helixflow.Op) *opSeries {
	if o := s.ops[op].Load(); o != nil {
		return o
	}
	s.ops[op].CompareAndSwap(nil, &opSeries{duration: histogram{bounds: durationBounds}})
	return s.ops[op].Load()
}

// FirstToken times one stream from the request's first byte to the first token
// sent to the client.
func (s *ModelSeries) FirstToken(took time.Duration) { s.firstToken.observe(took) }

// PerToken times the gap between two tokens of one stream, on average.
func (s *ModelSeries) PerToken(gap time.Duration) { s.perToken.observe(gap) }

// Tokens adds what a backend reported; an unreported usage adds nothing, and
// neither does a count below zero.
func (s *ModelSeries) Tokens(u helixflow.Usage) {
	if !u.Reported {
		return
	}
	for i, n := range [len(tokenTypes)]int64{u.InputTokens, u.CachedTokens, u.OutputTokens, u.ReasoningTokens} {
		if n > 0 {
			s.tokens[i].Add(uint64(n))
		}
	}
}

// writeModels writes the families that have a model label.
func writeModels(t *text, models []*ModelSeries) {
	t.family(requestsTotal)
	for _, s := range models {
		for op := range s.ops {
			o := s.ops[op].Load()
			if o == nil {
				continue
			}
			for kind, stream := range [...]string{"false", "true"} {
				o.requests[kind].write(t, requestsTotal.name,
					"endpoint", helixflow.Op(op).String(), "model", s.name, "stream", stream)
			}
		}
	}
	t.family(requestDuration)
	for _, s := range models {
		for op := range s.ops {
			if o := s.ops[op].Load(); o != nil {
				o.duration.write(t, requestDuration.name, "endpoint", helixflow.Op(op).String(), "model", s.name)
			}
		}
	}
	t.family(timeToFirstToken)
	for _, s := range models {
		s.firstToken.write(t, timeToFirstToken.name, "model", s.name)
	}
	t.family(timePerToken)
	for _, s := range models {
		s.perToken.write(t, timePerToken.name, "model", s.name)
	}
	t.family(tokensTotal)
	for _, s := range models {
		for i, kind := range tokenTypes {
			if n := s.tokens[i].Load(); n > 0 {
				t.sample(tokensTotal.name, n, "model", s.name, "type", kind)
			}
		}
	}
	writeCacheOfModels(t, models)
}
