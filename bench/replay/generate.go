package replay

// Traffic that is made up: tenants with system prompts, sessions of several turns,
// documents that many ask about, agents that fan out, days and nights.

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Length is a lognormal length in tokens.
type Length struct {
	Median float64
	Sigma  float64 // of the logarithm
	Most   float64
}

func (l Length) draw(s *stream) int {
	if l.Median < 1 {
		return 0
	}
	return max(int(math.Round(min(s.lognormal(l.Median, l.Sigma), l.Most))), 1)
}

// Traffic is what Generate makes. A plain value; Profile has some that make sense.
type Traffic struct {
	Name     string
	Requests int
	Rate     float64 // requests a second, in the mean
	Tenants  int     // each with a system prompt; the first has twice the sessions of the second, and so on
	System   Length  // that prompt

	Documents int // shared ones, the more popular the lower their number
	Document  Length
	Asking    float64 // part of the sessions that begin with one of them

	Turns  float64 // of a session, in the mean; what was said before is in each next prompt
	Think  float64 // seconds between an answer and the next turn, in the mean
	Ask    Length  // what a turn adds
	Answer Length

	Agents  float64 // part of the turns that are an agent's
	FanOut  int     // requests that it makes at once, of one context
	Diurnal float64 // how far the rate goes up and down: 0 not at all, 1 from nothing to twice
	Period  time.Duration
}

// Profiles returns the names that Profile knows.
func Profiles() []string { return []string{"mixed", "conversation", "documents", "hot", "plain"} }

// Profile returns traffic by name: a mix of everything; long conversations of few
// turns; questions on shared documents; one prompt of everybody's with long answers;
// prompts that have nothing in common.
func Profile(name string) (Traffic, error) {
	t := Traffic{
		Name: name, Requests: 4000, Rate: 8, Tenants: 20, System: Length{600, 0.6, 4000},
		Document: Length{8000, 0.7, 60_000}, Turns: 3, Think: 40, Ask: Length{600, 1.1, 40_000}, Answer: Length{220, 0.8, 2000},
		FanOut: 6, Period: 10 * time.Minute,
	}
	switch name {
	case "mixed":
		t.Documents, t.Asking, t.Agents, t.Diurnal = 100, 0.4, 0.1, 0.5
	case "conversation":
		t.Ask = Length{2500, 0.9, 40_000}
	case "documents":
		t.Documents, t.Asking, t.Document, t.Think = 1500, 1, Length{12_000, 0.6, 60_000}, 60
		t.Ask, t.Answer = Length{150, 0.8, 4000}, Length{130, 0.6, 1000}
	case "hot":
		t.Tenants, t.System, t.Turns, t.Ask, t.Answer = 1, Length{6000, 0, 6000}, 1, Length{100, 0.5, 500}, Length{400, 0.5, 2000}
	case "plain":
		t.Tenants, t.Turns, t.Ask, t.Answer = 0, 1, Length{900, 0.9, 16_000}, Length{180, 0.8, 1500}
	default:
		return Traffic{}, fmt.Errorf("cannot make traffic %q: the profiles are %s", name, strings.Join(Profiles(), ", "))
	}
	return t, nil
}

// Check says what of t makes no sense.
func (t *Traffic) Check() error {
	switch {
	case t.Requests < 1 || t.Requests > maxRequests:
		return fmt.Errorf("cannot make traffic: 1 to %d requests, not %d", maxRequests, t.Requests)
	case !(t.Rate > 0 && t.Rate <= 1e6):
		return fmt.Errorf("cannot make traffic: a rate of %v requests a second", t.Rate)
	case t.Tenants < 0 || t.Tenants > maxNames || t.Documents < 0 || t.Documents > 1_000_000:
		return fmt.Errorf("cannot make traffic: %d tenants and %d documents", t.Tenants, t.Documents)
	case !(t.Diurnal >= 0 && t.Diurnal <= 1) || !(t.Agents >= 0 && t.Agents <= 1) || !(t.Asking >= 0 && t.Asking <= 1):
		return fmt.Errorf("cannot make traffic: parts from 0 to 1")
	case !(t.Turns >= 1 && t.Turns <= 1000) || t.Period <= 0 || t.FanOut < 1 || t.FanOut > 1000:
		return fmt.Errorf("cannot make traffic: %v turns, a fan-out of %d and a period of %v", t.Turns, t.FanOut, t.Period)
	}
	return nil
}

// Generate makes a trace of t. The same seed makes the same trace.
func Generate(t Traffic, seed uint64) (*Trace, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	g := &generator{traffic: &t, random: streamOf(seed, "traffic"), known: make(map[uint64]uint64)}
	for i := range t.Tenants {
		g.systems = append(g.systems, segment{g.fresh(), t.System.draw(g.random)})
		g.tenants = append(g.tenants, 1/float64(i+1))
	}
	for i := range t.Documents {
		g.documents = append(g.documents, segment{g.fresh(), t.Document.draw(g.random)})
		g.popularity = append(g.popularity, math.Pow(float64(i+1), -0.8))
	}
	perSession := t.Turns * (1 + t.Agents*float64(t.FanOut-1))
	warm := t.Turns * (t.Think + 10) // until there are sessions at every stage
	for at, enough := 0.0, t.Requests; len(g.list) < enough || g.between(warm, at) < t.Requests; {
		if len(g.list) >= enough { // but in times when none has begun yet
			enough += enough/20 + 1
		}
		// Sessions come at the highest rate, and of some nothing comes (Lewis and
		// Shedler 1979).
		at += g.random.exponential() * perSession / t.Rate / (1 + t.Diurnal)
		height := 1 + t.Diurnal*math.Sin(2*math.Pi*at/t.Period.Seconds())
		if g.random.float()*(1+t.Diurnal) < height {
			g.session(at)
		}
	}
	g.list = slices.DeleteFunc(g.list, func(r Request) bool { return r.At < int64(warm*1e9) })
	trace := &Trace{Requests: g.list, sizes: fixedPieces}
	trace.finish(g.random)
	trace.Requests = trace.Requests[:min(t.Requests, len(trace.Requests))]
	return trace, nil
}

// between is how many requests come between these times, in seconds.
func (g *generator) between(from, to float64) (n int) {
	for i := range g.list {
		if at := g.list[i].At; at >= int64(from*1e9) && at < int64(to*1e9) {
			n++
		}
	}
	return n
}

// segment is a part of a prompt that comes up as a whole.
type segment struct {
	id     uint64
	tokens int
}

type generator struct {
	traffic    *Traffic
	random     *stream
	systems    []segment
	tenants    []float64
	documents  []segment
	popularity []float64
	list       []Request
	known      map[uint64]uint64 // content of a piece → its number
}

func (g *generator) fresh() uint64 { return g.random.next() }

// session makes all requests of a session that begins then.
func (g *generator) session(at float64) {
	t, s := g.traffic, g.random
	var said []segment
	tenant := 0
	if len(g.systems) > 0 {
		i := s.draw(g.tenants)
		said, tenant = append(said, g.systems[i]), i+1
	}
	if len(g.documents) > 0 && s.float() < t.Asking {
		said = append(said, g.documents[s.draw(g.popularity)])
	}
	for {
		said = append(said, segment{g.fresh(), t.Ask.draw(s)})
		answer := t.Answer.draw(s)
		if s.float() < t.Agents {
			g.burst(at, said, tenant)
		} else {
			g.request(at, said, answer, tenant)
		}
		if s.float() >= 1-1/t.Turns {
			return
		}
		said = append(said, segment{g.fresh(), answer})
		at += float64(answer)*0.04 + s.exponential()*t.Think
	}
}

// burst is an agent that asks several things of one context at once.
func (g *generator) burst(at float64, said []segment, tenant int) {
	for range g.traffic.FanOut {
		own := append(said[:len(said):len(said)], segment{g.fresh(), g.traffic.Ask.draw(g.random)/4 + 1})
		g.request(at+g.random.float()*0.2, own, g.traffic.Answer.draw(g.random), tenant)
	}
}

// request notes one request. Its pieces are the same as another's as far as both
// say the same.
func (g *generator) request(at float64, said []segment, answer, tenant int) {
	r := Request{At: int64(at * 1e9), Output: int32(answer), Tenant: int32(tenant)}
	content, filled := uint64(0), 0
	for _, p := range said {
		r.Prompt += int32(p.tokens)
		for left := p.tokens; left > 0; {
			n := min(left, mooncakePiece-filled)
			content = mix(content ^ mix(p.id+uint64(p.tokens-left)))
			left -= n
			if filled += n; filled == mooncakePiece {
				r.Pieces = append(r.Pieces, g.number(content))
				filled = 0
			}
		}
	}
	if filled > 0 {
		r.Pieces = append(r.Pieces, g.number(mix(content^uint64(filled))))
	}
	g.list = append(g.list, r)
}

func (g *generator) number(content uint64) uint64 {
	n, ok := g.known[content]
	if !ok {
		n = uint64(len(g.known))
		g.known[content] = n
	}
	return n
}

// draw returns an index, the likelier the larger its weight.
func (s *stream) draw(weights []float64) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	x := s.float() * sum
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(weights) - 1
}
