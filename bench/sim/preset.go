package sim

// What a simulated machine can do: the presets by name.

import (
	"fmt"
	"strings"
	"time"
)

// Preset is the machine and the scheduler's limits. A step takes
// StepBase + PerPrefill·(prompt tokens) + PerDecode·(sequences decoding) +
// PerContext·(KV tokens read). A plain value.
type Preset struct {
	Name string

	StepBase   time.Duration // reading the weights once, and launching
	PerPrefill time.Duration // computing one prompt token
	PerDecode  time.Duration // one more sequence in the batch
	PerContext time.Duration // reading one token of KV cache

	JitterPermille int // a step takes up to this much longer or shorter

	MaxSeqs        int // sequences in the batch, vLLM's max_num_seqs
	MaxBatchTokens int // tokens of one step, vLLM's max_num_batched_tokens
	Blocks         int // KV blocks of BlockTokens tokens
	MaxModelLen    int // prompt and output tokens of one sequence
}

// Presets returns all presets, the ones for tests first. The 70B row is
// ROUTING's fit to published throughput; the 8B rows are roofline estimates at
// half the peak FLOPS and 80 % of the memory bandwidth, not fits to a run; so is that
// of an 8B model in 4 bits on an RTX 4090 behind llama.cpp's slots.
func Presets() []Preset {
	const us, ms = time.Microsecond, time.Millisecond
	row := func(name string, base, prefill, decode, context time.Duration, jitter, blocks, length int) Preset {
		return Preset{
			Name: name, StepBase: base, PerPrefill: prefill, PerDecode: decode, PerContext: context,
			JitterPermille: jitter, MaxSeqs: 256, MaxBatchTokens: 8192, Blocks: blocks, MaxModelLen: length,
		}
	}
	return []Preset{
		row("instant", 0, 0, 0, 0, 0, 8192, 131072),
		row("fast", 100*us, 200, 1*us, 0, 0, 8192, 131072),
		row("h100-70b-tp4", 18*ms, 46*us, 20*us, 40, 20, 28800, 131072),
		row("h100-8b", 7*ms, 32*us, 10*us, 48, 20, 27344, 131072),
		row("l4-8b", 64*ms, 270*us, 60*us, 520, 20, 2720, 32768),
		row("ollama-4090", 6*ms, 110*us, 900*us, 130, 20, 2048, 8192).withSlots(4, 512),
	}
}

// withSlots is p with so many sequences at once and so many tokens in a step.
func (p Preset) withSlots(n, tokens int) Preset {
	p.MaxSeqs, p.MaxBatchTokens = n, tokens
	return p
}

// WithKVTokens returns p with a KV cache of so many tokens, rounded down to blocks.
func (p Preset) WithKVTokens(n int) Preset {
	p.Blocks = n / BlockTokens
	return p
}

// KVTokens returns how many tokens the KV cache holds.
func (p *Preset) KVTokens() int { return p.Blocks * BlockTokens }

// PresetNamed returns the preset of that name, or an error that lists the names.
func PresetNamed(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("cannot find preset %q: there are %s", name, strings.Join(names, ", "))
}

// stepTime is how long a step takes before jitter.
func (p *Preset) stepTime(prefill, decode, context int) int64 {
	return int64(p.StepBase) + int64(p.PerPrefill)*int64(prefill) +
		int64(p.PerDecode)*int64(decode) + int64(p.PerContext)*int64(context)
}
