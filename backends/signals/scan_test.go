// These tests hold what is read of an engine's text, and what is not.
package signals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scan reads a text in one piece.
func scan(t testing.TB, engine, text string) Report {
	t.Helper()
	s := NewScanner(Of(engine))
	require.NoError(t, s.Feed([]byte(text)))
	return s.Report()
}

func TestEngines(t *testing.T) {
	f := func(engine string, want map[Meaning]float64) {
		t.Helper()
		text, err := os.ReadFile("testdata/" + engine + ".txt")
		require.NoError(t, err)
		r := scan(t, engine, string(text))
		for m := range numMeanings {
			v, ok := r.Get(m)
			w, wanted := want[m]
			assert.Equal(t, wanted, ok, "%s %v: %v", engine, m, r.Trouble(m))
			assert.InDelta(t, w, v, 1e-9, "%s %v", engine, m)
		}
	}
	f("vllm", map[Meaning]float64{
		Running: 7, Waiting: 3, KVUse: 0.25, KVTokens: 2 * 8192 * 16, Asked: 1000, Found: 400, Preempted: 2,
		Worked: 5000, Started: 1.7e9,
	})
	f("sglang", map[Meaning]float64{
		Running: 5, Waiting: 2, KVUse: 0.28, KVTokens: 471258, HitShare: 0.0075, Preempted: 1, Worked: 8.128902e+06,
	})
	f("tgi", map[Meaning]float64{Running: 5, Waiting: 3, Worked: 150})
	f("trtllm", map[Meaning]float64{
		Running: 3, Waiting: 4, KVUse: 0.5, KVBlocks: 100, BlockTokens: 64, KVTokens: 6400, Slots: 128, Worked: 12,
	})
	f("llamacpp", map[Meaning]float64{Running: 1, Waiting: 2, Worked: 77})
}

// TestHostileText: what makes no sense is no value, and says why.
func TestHostileText(t *testing.T) {
	f := func(line string, trouble Trouble, value float64) {
		t.Helper()
		r := scan(t, "vllm", "# HELP x y\n"+line+"\nother 3\n")
		v, _ := r.Get(Waiting)
		assert.Equal(t, trouble.String(), r.Trouble(Waiting).String(), line)
		assert.Equal(t, value, v, line)
	}
	const name = "vllm:num_requests_waiting"
	f(name+" 3", Fine, 3)
	f(name+"{} 3", Fine, 3)
	f(name+`{engine="0",model_name="a b} 9"} 3`, Fine, 3)
	f(name+`{engine="0",model_name="a\"} 9 \\"} 3`, Fine, 3)
	f(name+` { engine = "0" , } 3 1700000000000`, Fine, 3)
	f("  \t"+name+"\t3.0e0\r", Fine, 3)
	f("vllm_num_requests_waiting 3", Fine, 3)
	f(name+"_total 3", Fine, 3)
	f(name+`{engine="0"} 3`+"\n"+name+`{engine="1"} 4`, Fine, 7)
	f(name+`{tp_rank="0"} 3`+"\n"+name+`{tp_rank="1"} 3`, Fine, 3)
	f(name+" 3 # {trace_id=\"x\"} 1", Fine, 3)
	f(name+" 3 17.5 # {trace_id=\"x\"} 1", Fine, 3)
	f("# "+name+" 3", NotTold, 0)
	f("x"+name+" 3", NotTold, 0)
	f(name+"x 3", NotTold, 0)
	f("vllm-num_requests_waiting 3", NotTold, 0)
	f("{\"vllm:num_requests_waiting\"} 3", NotTold, 0)
	f("", NotTold, 0)
	f(name, NoNumber, 0)
	f(name+" NaN", NoNumber, 0)
	f(name+" +Inf", NoNumber, 0)
	f(name+" -Inf", NoNumber, 0)
	f(name+" None", NoNumber, 0)
	f(name+" 0x10", NoNumber, 0)
	f(name+" 1_000", NoNumber, 0)
	f(name+" 1e999", NoNumber, 0)
	f(name+" "+strings.Repeat("1", 33), NoNumber, 0)
	f(name+" -1", Negative, 0)
	f(name+" 1e8", OutOfRange, 0)
	f(name+`{engine="0"} 9e6`+"\n"+name+`{engine="1"} 9e6`, OutOfRange, 0)
	f(name+" 3\n"+name+" 3", Twice, 0)
	f(name+`{engine="0"} 3`+"\n"+name+`{engine="0"} 4`, Twice, 0)
	f(name+`{engine="0"} 3`+"\n"+name+`{engine="1"} NaN`, NoNumber, 0)
	f(name+`{engine="0" 3`, Malformed, 0)
	f(name+`{engine="0}" 3`, Malformed, 0)
	f(name+`{engine=0} 3`, Malformed, 0)
	f(name+`{"engine"="0"} 3`, Malformed, 0)
	f(name+`{engine="0"model="1"} 3`, Malformed, 0)
	f(name+`{,} 3`, Malformed, 0)
	f(name+" 3 yesterday", Malformed, 0)
	f(name+" 3 17 18", Malformed, 0)
	f(name+`{model_name="`+strings.Repeat("x", maxLine)+`"} 3`, Malformed, 0)
	f(strings.Repeat("x", 100<<10)+" 9\n"+name+" 3", Fine, 3)
	var many strings.Builder
	for i := range maxSeries + 1 {
		fmt.Fprintf(&many, "%s{engine=\"%d\"} 1\n", name, i)
	}
	f(many.String(), TooMany, 0)
}

func TestShares(t *testing.T) {
	f := func(text string, trouble Trouble, value float64) {
		t.Helper()
		r := scan(t, "vllm", text)
		v, _ := r.Get(KVUse)
		assert.Equal(t, trouble.String(), r.Trouble(KVUse).String(), text)
		assert.InDelta(t, value, v, 1e-9, text)
	}
	f("vllm:kv_cache_usage_perc 1.004", Fine, 1)
	f("vllm:kv_cache_usage_perc 1.5", OutOfRange, 0)
	f("vllm:kv_cache_usage_perc 42", OutOfRange, 0)
	f("vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.4\n", Fine, 0.3)
	f("vllm:gpu_cache_usage_perc 0.2", Fine, 0.2)
	f("vllm:gpu_cache_usage_perc 0.2\nvllm:kv_cache_usage_perc 0.4\n", Fine, 0.4)
	f("vllm:gpu_cache_usage_perc 0.2\nvllm:kv_cache_usage_perc NaN\n", NoNumber, 0)
}

func TestCapacity(t *testing.T) {
	f := func(engine, text string, trouble Trouble, value float64) {
		t.Helper()
		r := scan(t, engine, text)
		v, _ := r.Get(KVTokens)
		assert.Equal(t, trouble.String(), r.Trouble(KVTokens).String(), text)
		assert.Equal(t, value, v, text)
	}
	f("vllm", `vllm:cache_config_info{block_size="16",num_gpu_blocks="8192"} 1`, Fine, 8192*16)
	f("vllm", `vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1`, NoNumber, 0)
	f("vllm", `vllm:cache_config_info{block_size="16"} 1`, NoNumber, 0)
	f("vllm", `vllm:cache_config_info{block_size="-16",num_gpu_blocks="-3"} 1`, Negative, 0)
	f("vllm", `vllm:cache_config_info{block_size="1e9",num_gpu_blocks="1e9"} 1`, OutOfRange, 0)
	f("sglang", `sglang:cache_config_info{page_size="1",num_pages="1000"} 1`, Fine, 1000)
	f("trtllm", "trtllm_kv_cache_max_blocks 1e12\ntrtllm_kv_cache_tokens_per_block 1e6\n", OutOfRange, 0)
	f("trtllm", "trtllm_kv_cache_max_blocks 10\n", NotTold, 0)
}

func TestMoreFoundThanAskedIsNothing(t *testing.T) {
	r := scan(t, "vllm", "vllm:prefix_cache_queries_total 10\nvllm:prefix_cache_hits_total 11\n")
	assert.Equal(t, OutOfRange, r.Trouble(Found))
}

func TestTooLongText(t *testing.T) {
	s := NewScanner(Of("vllm"))
	piece := []byte(strings.Repeat("some_metric{a=\"b\"} 1\n", 1000))
	var err error
	fed := 0
	for ; err == nil; fed += len(piece) {
		err = s.Feed(piece)
	}
	require.ErrorIs(t, err, ErrTooLong)
	assert.Less(t, fed, MaxText+2*len(piece))
	s.Reset()
	require.NoError(t, s.Feed([]byte("vllm:num_requests_waiting 3")))
	r := s.Report()
	v, ok := r.Get(Waiting)
	assert.True(t, ok)
	assert.EqualValues(t, 3, v)
}

func TestPresetsFit(t *testing.T) {
	for _, p := range Presets() {
		NewScanner(&p)
		assert.NotEmpty(t, p.Names(Running), p.Engine)
		assert.NotEmpty(t, p.Names(Waiting), p.Engine)
		assert.True(t, p.Tells(Worked), p.Engine)
	}
	assert.Nil(t, Of("openai"))
}

// TestScanAllocatesNothing also holds that the text may come in any pieces.
func TestScanAllocatesNothing(t *testing.T) {
	text, err := os.ReadFile("testdata/vllm.txt")
	require.NoError(t, err)
	s := NewScanner(Of("vllm"))
	want := scan(t, "vllm", string(text))
	allocs := testing.AllocsPerRun(100, func() {
		s.Reset()
		for p := text; len(p) > 0; {
			n := min(len(p), 1000)
			_ = s.Feed(p[:n])
			p = p[n:]
		}
		if s.Report() != want {
			t.Error("not what it was")
		}
	})
	assert.Zero(t, allocs)
}

const label = `[ \t]*[a-zA-Z_][a-zA-Z0-9_]*[ \t]*=[ \t]*"(?:[^"\\]|\\.)*"[ \t]*`

var (
	braces = regexp.MustCompile(`^\{(` + label + `(?:,` + label + `)*(?:,[ \t]*)?|[ \t]*)\}(.*)$`)
	names  = regexp.MustCompile(`^[ \t]*([^{ \t]*)[ \t]*(.*)$`)
	pair   = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"`)
)

// reference reads a text the slow and plain way: lines, a regular expression for
// each, maps.
func reference(p *Preset, text string) (r Report) {
	plain := func(name string) string { return strings.ReplaceAll(strings.TrimSuffix(name, "_total"), ":", "_") }
	number := func(s string) (float64, Trouble) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || len(s) > maxNumber || strings.Trim(s, "0123456789.eE+-") != "" {
			return 0, NoNumber
		}
		if v < 0 {
			return 0, Negative
		}
		return v, Fine
	}
	type found struct {
		values  []float64
		labels  map[string]bool
		trouble Trouble
	}
	all := make([]found, len(p.families))
	for _, text := range strings.Split(text, "\n") {
		good := len(text) <= maxLine
		text = strings.TrimSuffix(text, "\r")
		parts := names.FindStringSubmatch(text)
		name, inside, rest := parts[1], "", parts[2]
		if strings.HasPrefix(rest, "{") {
			m := braces.FindStringSubmatch(rest)
			if good = good && m != nil; good {
				inside, rest = m[1], m[2]
			}
		}
		for i, f := range p.families {
			// A _ of ours is not a : of theirs.
			if plain(name) != plain(f.name) || strings.Contains(name, ":") && !strings.Contains(f.name, ":") ||
				strings.Count(name, ":") > 1 || strings.Contains(name, ":") && strings.Index(name, ":") != strings.Index(f.name, ":") {
				continue
			}
			trouble := func(why Trouble) {
				if all[i].trouble == Fine {
					all[i].trouble = why
				}
			}
			if !good {
				trouble(Malformed)
				continue
			}
			labels := map[string]string{}
			for _, l := range pair.FindAllStringSubmatch(inside, -1) {
				if _, again := labels[l[1]]; !again {
					labels[l[1]] = l[2]
				}
			}
			other := labels["tp_rank"] != "" && labels["tp_rank"] != "0" || labels["pp_rank"] != "" && labels["pp_rank"] != "0"
			if f.label != "" && labels[f.label] != f.is || other {
				continue
			}
			words := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' })
			if len(words) == 0 {
				trouble(NoNumber)
				continue
			}
			v, why := number(words[0])
			if why == Fine && len(words) > 1 && words[1][0] != '#' &&
				(strings.Trim(words[1], "0123456789.eE+-") != "" || len(words) > 2 && words[2][0] != '#') {
				why = Malformed
			}
			if why == Fine && f.product[0] != "" {
				var a, b float64
				if a, why = number(labels[f.product[0]]); why == Fine {
					b, why = number(labels[f.product[1]])
				}
				v = a * b
			}
			if why == Fine && v > most[f.meaning] {
				why = OutOfRange
			}
			switch {
			case why != Fine:
				trouble(why)
			case len(all[i].values) == maxSeries:
				trouble(TooMany)
			case all[i].labels[inside]:
				trouble(Twice)
			default:
				if all[i].labels == nil {
					all[i].labels = map[string]bool{}
				}
				all[i].labels[inside] = true
				all[i].values = append(all[i].values, v)
			}
		}
	}
	for m := range numMeanings {
		r.trouble[m] = NotTold
		for i, f := range p.families {
			if f.meaning != m || len(all[i].values) == 0 && all[i].trouble == Fine {
				continue
			}
			total := 0.0
			for _, v := range all[i].values {
				total += v
			}
			if f.combine == mean {
				total /= float64(max(len(all[i].values), 1))
			}
			switch {
			case all[i].trouble != Fine:
				r.trouble[m] = all[i].trouble
			case total > most[m] && f.combine == sum:
				r.trouble[m] = OutOfRange
			default:
				r.values[m], r.trouble[m] = min(total, most[m]), Fine
			}
			break
		}
	}
	(*Scanner)(nil).derive(&r)
	return r
}

// FuzzScan holds that the scanner reads what the reference reads, in whatever
// pieces the text comes.
func FuzzScan(f *testing.F) {
	for _, p := range Presets() {
		if text, err := os.ReadFile("testdata/" + p.Engine + ".txt"); err == nil {
			f.Add(p.Engine, string(text), uint64(1))
		}
	}
	f.Add("vllm", "vllm:num_requests_waiting{a=\"\\\"\",} 3 4 # x\nvllm_num_requests_waiting_total{a=\"b\"} NaN", uint64(2))
	f.Add("vllm", "process_start_time_seconds 1\r\n\r\n {} 4\nvllm:num_requests_waiting{} {} 3\n", uint64(3))
	f.Fuzz(func(t *testing.T, engine, text string, seed uint64) {
		p := Of(engine)
		if p == nil || len(text) > 8<<10 {
			return
		}
		want := reference(p, text)
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := NewScanner(p)
		for rest := []byte(text); len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			require.NoError(t, s.Feed(rest[:n]))
			rest = rest[n:]
		}
		got := s.Report()
		for m := range numMeanings {
			require.Equal(t, want.trouble[m].String(), got.trouble[m].String(), "%v of %q", m, text)
			require.InDelta(t, want.values[m], got.values[m], 1e-9*math.Abs(want.values[m]), "%v of %q", m, text)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	text, err := os.ReadFile("testdata/vllm.txt")
	require.NoError(b, err)
	for len(text) < 100<<10 { // as long as vLLM's
		text = append(text, "vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"0.3\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 12\n"...)
	}
	s := NewScanner(Of("vllm"))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset()
		_ = s.Feed(text)
		s.Report()
	}
}
