package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// small is an engine whose times are easy to add up.
func small() Preset {
	return Preset{
		Name: "small", StepBase: 1000, PerPrefill: 10, PerDecode: 1,
		MaxSeqs: 4, MaxBatchTokens: 64, Blocks: 16, MaxModelLen: 256,
	}
}

// hashes names n blocks of a prompt called name.
func hashes(name string, n int) []uint64 {
	h, out := uint64(1), []uint64(nil)
	for range n {
		h = chain(h, name)
		out = append(out, h)
	}
	return out
}

// runToEnd steps the engine until nothing is left to do.
func runToEnd(e *Engine, now int64) []string {
	var got []string
	events, next := e.Step(now, nil)
	for {
		for _, ev := range events {
			kind := [...]string{"token", "finished", "preempted"}[ev.Kind]
			got = append(got, fmt.Sprintf("%d: %d %s %d", ev.At, ev.Tag, kind, ev.Tokens))
		}
		if next == Never {
			return got
		}
		events, next = e.Step(next, nil)
	}
}

func TestSchedule(t *testing.T) {
	f := func(name string, p Preset, requests []Request, want []string) {
		t.Helper()
		e := NewEngine(p, 1)
		for i, r := range requests {
			r.Tag = uint64(i + 1)
			_, err := e.Submit(0, r)
			require.NoError(t, err, name)
		}
		require.Equal(t, want, runToEnd(e, 0), name)
		require.Equal(t, 0, e.Counters().BlocksUsed, name)
		checkEngine(t, e)
	}
	f("one after its prefill, one token a step", small(), []Request{{PromptTokens: 16, OutputTokens: 3}}, []string{
		"1160: 1 token 1", "2161: 1 token 2", "3162: 1 finished 3",
	})
	f("a prompt above the step's budget is chunked", small(), []Request{{PromptTokens: 100, OutputTokens: 1}}, []string{
		"3000: 1 finished 1", // 1000+640, 1000+360
	})
	f("decoding goes on beside a chunked prefill", small(), []Request{
		{PromptTokens: 10, OutputTokens: 4},
		{PromptTokens: 128, OutputTokens: 1},
	}, []string{
		"1640: 1 token 1",                       // 10 and 54
		"3271: 1 token 2",                       // 1 decoding and 63
		"4382: 1 token 3", "4382: 2 finished 1", // 1 decoding and the last 11
		"5383: 1 finished 4",
	})
	p := small()
	p.MaxSeqs = 1
	f("first come first served", p, []Request{
		{PromptTokens: 16, OutputTokens: 1},
		{PromptTokens: 16, OutputTokens: 1},
	}, []string{"1160: 1 finished 1", "2320: 2 finished 1"})
	f("no output is an end after the prefill", small(), []Request{{PromptTokens: 16}}, []string{"1160: 1 finished 0"})
	p = small()
	p.Blocks = 4
	f("the youngest is preempted and computed again", p, []Request{
		{PromptTokens: 31, OutputTokens: 5},
		{PromptTokens: 31, OutputTokens: 3},
	}, []string{
		"1620: 1 token 1", "1620: 2 token 1",
		"2622: 1 token 2", "2622: 2 token 2",
		"2622: 2 preempted 2",
		"3623: 1 token 3", "4624: 1 token 4", "5625: 1 finished 5",
		"6955: 2 finished 3", // 33 tokens of prefill
	})
	f("zero step time ends everything at once", Preset{MaxSeqs: 4, MaxBatchTokens: 64, Blocks: 16, MaxModelLen: 256},
		[]Request{{PromptTokens: 16, OutputTokens: 2}}, []string{"0: 1 token 1", "0: 1 finished 2"})
}

func TestStepIsNotAheadOfItsTime(t *testing.T) {
	e := NewEngine(small(), 1)
	_, err := e.Submit(500, Request{PromptTokens: 16, OutputTokens: 2})
	require.NoError(t, err)
	events, next := e.Step(500, nil)
	require.Empty(t, events)
	require.EqualValues(t, 1660, next)
	events, next = e.Step(1659, nil)
	require.Empty(t, events)
	require.EqualValues(t, 1660, next)
	events, next = e.Step(9999, nil)
	require.Len(t, events, 2)
	require.Equal(t, Never, next)
	// A late call does not let the next request start before it arrived.
	_, err = e.Submit(10000, Request{PromptTokens: 16, OutputTokens: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"11160: 0 finished 1"}, runToEnd(e, 10000))
}

func TestPrefixCache(t *testing.T) {
	f := func(first, second Request, want int) {
		t.Helper()
		e := NewEngine(small(), 1)
		_, err := e.Submit(0, first)
		require.NoError(t, err)
		runToEnd(e, 0)
		q, err := e.Submit(1e6, second)
		require.NoError(t, err)
		runToEnd(e, 1e6)
		require.Equal(t, want, q.Cached())
		require.EqualValues(t, want, e.Counters().CacheHits)
	}
	a, b := hashes("a", 8), hashes("b", 8)
	f(Request{PromptTokens: 64, Blocks: a[:4]}, Request{PromptTokens: 64, Blocks: b[:4]}, 0)
	f(Request{PromptTokens: 64, Blocks: a[:4]}, Request{PromptTokens: 70, Blocks: a[:4]}, 64)
	f(Request{PromptTokens: 64, Blocks: a[:4]}, Request{PromptTokens: 64, Blocks: a[:4]}, 48) // one token at least is computed
	f(Request{PromptTokens: 64, Blocks: a[:4]}, Request{PromptTokens: 40, Blocks: a[:2]}, 32)
	f(Request{PromptTokens: 64, Blocks: a[:4]}, Request{PromptTokens: 65, Blocks: slices.Concat(a[:2], b[2:4])}, 32)
	f(Request{PromptTokens: 15}, Request{PromptTokens: 15}, 0)
	// The output's blocks are reused by the next turn: 20 + 29 tokens fill 3 blocks.
	f(Request{PromptTokens: 20, OutputTokens: 29, Blocks: a[:3]}, Request{PromptTokens: 80, Blocks: a[:5]}, 48)
	// Nearly the whole cache in one sequence.
	f(Request{PromptTokens: 240, Blocks: hashes("c", 15)}, Request{PromptTokens: 100, Blocks: hashes("c", 6)}, 96)
}

func TestEvictionTakesTheLeastRecentlyUsedTailFirst(t *testing.T) {
	e := NewEngine(small(), 1)
	run := func(tokens int, blocks []uint64) int {
		q, err := e.Submit(e.clock, Request{PromptTokens: tokens, Blocks: blocks})
		require.NoError(t, err)
		runToEnd(e, e.clock)
		checkEngine(t, e)
		return q.Cached()
	}
	run(128, hashes("old", 8))
	run(64, hashes("new", 4))
	run(96, hashes("third", 6)) // 4 blocks were never used, 2 are taken from old's tail
	require.Equal(t, 96, run(129, hashes("old", 8)))
}

func TestSharedBlocksAreCountedOnce(t *testing.T) {
	e := NewEngine(small(), 1)
	for range 3 {
		_, err := e.Submit(0, Request{PromptTokens: 60, OutputTokens: 5, Blocks: hashes("a", 3)})
		require.NoError(t, err)
	}
	e.Step(0, nil) // 60 tokens of the first, 4 of the second on top of 48 shared
	require.Equal(t, Counters{
		Running: 2, Waiting: 1, BlocksUsed: 5, BlocksTotal: 16, Steps: 1,
		PromptTokens: 120, CacheQueries: 120, CacheHits: 48,
	}, e.Counters())
	runToEnd(e, 0)
	checkEngine(t, e)
	require.Zero(t, e.Counters().BlocksUsed)
}

func TestSubmitRefusesWhatCannotFit(t *testing.T) {
	f := func(p Preset, r Request, want string) {
		t.Helper()
		e := NewEngine(p, 1)
		_, err := e.Submit(0, r)
		require.EqualError(t, err, want)
		_, err = e.Hold(r)
		require.EqualError(t, err, want)
		require.Zero(t, e.Counters().Waiting+e.Counters().Running)
	}
	f(small(), Request{}, "cannot submit sequence: 0 prompt and 0 output tokens")
	f(small(), Request{PromptTokens: 1, OutputTokens: -1}, "cannot submit sequence: 1 prompt and -1 output tokens")
	f(small(), Request{PromptTokens: 200, OutputTokens: 57}, "cannot submit sequence: 257 tokens are more than the engine's context of 256")
	p := small()
	p.Blocks = 4
	f(p, Request{PromptTokens: 65}, "cannot submit sequence: 65 tokens are more than the engine's context of 64")
}

func TestHoldKeepsBlocksUntilRelease(t *testing.T) {
	e := NewEngine(small(), 1)
	q, err := e.Hold(Request{PromptTokens: 128, OutputTokens: 128, Blocks: hashes("a", 8)})
	require.NoError(t, err)
	require.Equal(t, 16, e.Counters().BlocksUsed)
	_, err = e.Submit(0, Request{PromptTokens: 40, OutputTokens: 1, Blocks: hashes("b", 2)})
	require.NoError(t, err)
	_, next := e.Step(100, nil)
	require.Equal(t, Never, next, "no block is free")
	second, err := e.Hold(Request{PromptTokens: 40})
	require.NoError(t, err)
	require.Equal(t, 2, e.Counters().Running)
	e.Release(5000, second, 0)
	e.Release(5000, q, 100)
	e.Release(5000, q, 100)
	require.Equal(t, []string{"6400: 0 finished 1"}, runToEnd(e, 5000), "not in the past")
	require.EqualValues(t, 101, e.Counters().OutputTokens)
	checkEngine(t, e)
}

// history drives an engine through a random life and returns a digest of all
// that happened.
func history(t *testing.T, p Preset, seed uint64) uint64 {
	e := NewEngine(p, seed)
	rand := splitmix(seed ^ 77)
	digest, now := uint64(1), int64(0)
	var live []*Seq
	var events []Event
	next := Never
	for i := range 3000 {
		now += int64(rand.below(3000))
		if rand.below(3) == 0 {
			now = max(now, min(next, now+20000))
		}
		switch rand.below(6) {
		case 0, 1, 2:
			tokens := 1 + rand.below(150)
			q, err := e.Submit(now, Request{
				Tag: uint64(i), PromptTokens: tokens, OutputTokens: rand.below(40),
				Blocks: hashes(fmt.Sprint("p", rand.below(5)), tokens/BlockTokens),
			})
			require.NoError(t, err)
			live = append(live, q)
		case 3:
			q, err := e.Hold(Request{PromptTokens: 1 + rand.below(50), OutputTokens: rand.below(30)})
			require.NoError(t, err)
			live = append(live, q)
		default:
			if len(live) > 0 {
				i := rand.below(len(live))
				e.Release(now, live[i], 1)
				live = slices.Delete(live, i, i+1)
			}
		}
		events, next = e.Step(now, events[:0])
		for _, ev := range events {
			for _, v := range []uint64{ev.Tag, uint64(ev.At), uint64(ev.Kind), uint64(ev.Tokens), uint64(ev.Cached)} {
				digest = mix(digest ^ v)
			}
		}
		if i%16 == 0 {
			checkEngine(t, e)
		}
	}
	for _, q := range live {
		if q.state == seqHeld {
			e.Release(now, q, 0)
		}
	}
	runToEnd(e, now)
	checkEngine(t, e)
	c := e.Counters()
	require.Zero(t, c.Running+c.Waiting+c.BlocksUsed)
	require.NotZero(t, c.Preemptions)
	require.NotZero(t, c.CacheHits)
	return digest
}

func TestRandomHistoriesKeepTheBooksAndRepeat(t *testing.T) {
	p := small()
	p.JitterPermille = 50
	seen := map[uint64]bool{}
	for seed := range uint64(8) {
		first := history(t, p, seed)
		require.Equal(t, first, history(t, p, seed))
		require.False(t, seen[first], "another seed is another history")
		seen[first] = true
	}
}

// checkEngine verifies what must always be true of the blocks.
func checkEngine(t *testing.T, e *Engine) {
	t.Helper()
	k := e.kv
	uses := make([]int32, len(k.ref))
	for _, q := range e.running {
		require.Equal(t, seqRunning, q.state)
		require.GreaterOrEqual(t, len(q.blocks)*BlockTokens, q.computed)
		for _, b := range q.blocks {
			uses[b]++
		}
	}
	for _, q := range e.waiting {
		require.Empty(t, q.blocks)
	}
	free := 0
	head := int32(len(k.ref))
	for b := k.next[head]; b != head; b = k.next[b] {
		require.Zero(t, k.ref[b])
		require.Equal(t, b, k.prev[k.next[b]])
		free++
	}
	require.Equal(t, k.free, free)
	named := 0
	for b, ref := range k.ref {
		require.GreaterOrEqual(t, ref, uses[b])
		if ref > 0 {
			free++
		}
		if h := k.hash[b]; h != 0 {
			require.EqualValues(t, b, k.find(h))
			named++
		}
	}
	require.Len(t, k.ref, free, "every block is free or in use")
	for _, b := range k.heads {
		for ; b != noBlock; b = k.behind[b] {
			require.NotZero(t, k.hash[b])
			named--
		}
	}
	require.Zero(t, named, "every full block can be found, and no other")
	require.LessOrEqual(t, len(e.running), e.preset.MaxSeqs)
}

func TestStepDoesNotAllocate(t *testing.T) {
	p := small()
	p.Blocks, p.MaxModelLen = 1<<16, 1<<20
	e := NewEngine(p, 1)
	for range 4 {
		_, err := e.Submit(0, Request{PromptTokens: 10, OutputTokens: 1 << 17})
		require.NoError(t, err)
	}
	events, next := e.Step(0, make([]Event, 0, 64))
	for range 20000 { // let the block lists grow far enough
		events, next = e.Step(next, events[:0])
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { events, next = e.Step(next, events[:0]) }))
}

func TestPresets(t *testing.T) {
	for _, p := range Presets() {
		got, err := PresetNamed(p.Name)
		require.NoError(t, err)
		require.Equal(t, p, got)
		require.LessOrEqual(t, p.MaxModelLen, p.Blocks*BlockTokens)
	}
	_, err := PresetNamed("h200")
	require.EqualError(t, err, `cannot find preset "h200": there are instant, fast, h100-70b-tp4, h100-8b, l4-8b, ollama-4090`)
	p, _ := PresetNamed("h100-70b-tp4")
	require.EqualValues(t, 18*time.Millisecond+46*time.Millisecond+20*time.Microsecond+40*time.Microsecond, p.stepTime(1000, 1, 1000))
}

func BenchmarkStep(b *testing.B) {
	p, _ := PresetNamed("h100-70b-tp4")
	e := NewEngine(p, 1)
	for range 256 {
		_, _ = e.Submit(0, Request{PromptTokens: 100, OutputTokens: 1500})
	}
	var events []Event
	next := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		if events, next = e.Step(next, events[:0]); next == Never {
			for range 256 {
				_, _ = e.Submit(e.clock, Request{PromptTokens: 100, OutputTokens: 1500})
			}
			next = e.clock
		}
	}
}

func TestSpeed(t *testing.T) {
	f := func(speed float64) int64 {
		e := NewEngine(Preset{StepBase: time.Millisecond, MaxSeqs: 1, MaxBatchTokens: 100, Blocks: 100, MaxModelLen: 1000}, 1)
		e.SetSpeed(speed)
		_, err := e.Submit(0, Request{PromptTokens: 10, OutputTokens: 10})
		require.NoError(t, err)
		events, _ := e.Step(int64(time.Hour), nil)
		return events[len(events)-1].At
	}
	require.EqualValues(t, 10*time.Millisecond, f(1))
	require.EqualValues(t, 40*time.Millisecond, f(0.25))
	require.EqualValues(t, 5*time.Millisecond, f(2))
}

func TestKVTokens(t *testing.T) {
	p := Preset{}.WithKVTokens(1000)
	require.Equal(t, 62, p.Blocks)
	require.Equal(t, 992, p.KVTokens())
}
