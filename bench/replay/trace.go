package replay

// What a trace is: who asked for what, when.

import (
	"cmp"
	"slices"
	"time"
)

// bytesPerToken is how long a token is taken to be: prompts are given to the
// prefix index as so many bytes.
const bytesPerToken = 4

// Request is one arrival. Its pieces are names of the parts of its prompt: two
// prompts begin alike as far as their pieces do. What of the prompt has no piece is
// nobody else's.
type Request struct {
	At     int64 // nanoseconds since the trace began
	Prompt int32 // tokens, at least 1
	Output int32 // tokens, at least 1
	Tenant int32 // by number
	Pieces []uint64
}

// Trace is arrivals in the order of their times. It is immutable once it was read.
type Trace struct {
	Requests []Request
	Skipped  int // lines that say nothing of a request to a model

	sizes func(i int) int // tokens of piece i
}

// Duration is the time from the first arrival to the last.
func (t *Trace) Duration() time.Duration {
	if len(t.Requests) == 0 {
		return 0
	}
	return time.Duration(t.Requests[len(t.Requests)-1].At - t.Requests[0].At)
}

// Tokens returns how many tokens all prompts, and all answers, have.
func (t *Trace) Tokens() (prompts, outputs int64) {
	for i := range t.Requests {
		prompts += int64(t.Requests[i].Prompt)
		outputs += int64(t.Requests[i].Output)
	}
	return prompts, outputs
}

// Faster returns the trace with the gaps between its arrivals divided by speed.
func (t *Trace) Faster(speed float64) *Trace {
	fast := &Trace{Requests: slices.Clone(t.Requests), Skipped: t.Skipped, sizes: t.sizes}
	for i := range fast.Requests {
		fast.Requests[i].At = int64(float64(fast.Requests[i].At) / speed)
	}
	return fast
}

// mooncakePiece is how many tokens a piece of the Mooncake format has.
const mooncakePiece = 512

func fixedPieces(int) int { return mooncakePiece }

// finish puts a trace in order and begins it at 0. Times that are told coarsely,
// many requests at one moment and none until the next, are spread over the time up
// to that next one; random decides.
func (t *Trace) finish(random *stream) {
	slices.SortStableFunc(t.Requests, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	list := t.Requests
	if len(list) == 0 {
		return
	}
	gap := int64(0)
	for i := 0; i < len(list); {
		end := i + 1
		for end < len(list) && list[end].At == list[i].At {
			end++
		}
		if end < len(list) {
			gap = list[end].At - list[i].At
		}
		spread(list[i:end], gap, random)
		i = end
	}
	first := list[0].At
	for i := range list {
		list[i].At -= first
	}
}

// spread gives requests of one moment moments of their own within gap.
func spread(list []Request, gap int64, random *stream) {
	if len(list) < 2 || gap <= 0 {
		return
	}
	offsets := make([]int64, len(list))
	for i := range offsets {
		offsets[i] = int64(random.below(uint64(gap)))
	}
	slices.Sort(offsets)
	for i := range list {
		list[i].At += offsets[i]
	}
}

// Merge returns the requests of both traces, which must be of the same format; what
// one calls a piece of a prompt is another one to the other.
func Merge(a, b *Trace) *Trace {
	t := &Trace{Requests: slices.Clone(a.Requests), Skipped: a.Skipped + b.Skipped, sizes: a.sizes}
	for _, r := range b.Requests {
		r.Pieces = slices.Clone(r.Pieces)
		for i := range r.Pieces {
			r.Pieces[i] = mix(r.Pieces[i])
		}
		t.Requests = append(t.Requests, r)
	}
	slices.SortStableFunc(t.Requests, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	return t
}
