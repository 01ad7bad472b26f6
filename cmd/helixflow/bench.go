package main

// helixflow bench: load on an endpoint, and how long its answers take.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/helixflow/helixflow/bench/load"
)

// BenchCmd is "helixflow bench".
type BenchCmd struct {
	URL         string        `name:"url" default:"http://127.0.0.1:8080/v1" placeholder:"URL" help:"Base URL of the endpoint, as an OpenAI client gets it (${default})."`
	Key         string        `placeholder:"KEY" help:"API key; - reads it from standard input, where no other user of the machine sees it."`
	Model       string        `required:"" placeholder:"NAME" help:"Model to ask."`
	Connections int           `short:"c" default:"16" placeholder:"N" help:"How many ask at once (${default})."`
	Rate        float64       `placeholder:"R" help:"Requests a second, at a steady pace; without it each connection asks again as soon as it has its answer."`
	Duration    time.Duration `short:"d" default:"10s" placeholder:"D" help:"How long to ask (${default}); answers that run then are waited for."`
	Timeout     time.Duration `default:"1m" placeholder:"D" help:"How long an answer may take (${default})."`
	Prompt      string        `default:"Tell me a story." placeholder:"TEXT" help:"The prompt (\"${default}\")."`
	PromptBytes int           `placeholder:"N" help:"Make the prompt about so many bytes long, with words behind it."`
	MaxTokens   int           `placeholder:"N" help:"Most tokens of an answer; without it the model decides."`
	Stream      bool          `help:"Ask for streams."`
	JSON        bool          `help:"Print the result as JSON, and nothing else."`
}

// maxPrompt is the longest prompt that --prompt-bytes makes.
const maxPrompt = 64 << 20

// Run asks, and prints what came of it.
func (c *BenchCmd) Run(env *Env) error {
	key := c.Key
	if key == "-" {
		var err error
		if key, err = argumentOrStdin(key, env); err != nil {
			return err
		}
	}
	if c.PromptBytes < 0 || c.PromptBytes > maxPrompt {
		return &usageError{fmt.Sprintf("--prompt-bytes must be from 0 to %d", maxPrompt)}
	}
	o := load.Options{
		URL: c.URL, Key: key, Model: c.Model, Prompt: lengthen(c.Prompt, c.PromptBytes), MaxTokens: c.MaxTokens, Stream: c.Stream,
		Connections: c.Connections, Rate: c.Rate, Duration: c.Duration, Timeout: c.Timeout,
	}
	if err := o.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	r, err := load.Run(env.Ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(env.Stdout, newBenchReport(r))
	} else {
		err = printBench(env.Stdout, r)
	}
	if err == nil && r.Requests() == 0 {
		return errReported
	}
	return err
}

// lengthen returns text with words behind it, n bytes or a few more in all.
func lengthen(text string, n int) string {
	const words = " and then"
	if more := n - len(text); more > 0 {
		text += strings.Repeat(words, (more+len(words)-1)/len(words))
	}
	return text
}

// quantiles are seconds.
type quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func newQuantiles(t load.Times) *quantiles {
	if len(t) == 0 {
		return nil
	}
	at := func(q float64) float64 { return t.Quantile(q).Seconds() }
	return &quantiles{at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}

// String is for people.
func (q *quantiles) String() string {
	return fmt.Sprintf("p50 %s\tp90 %s\tp99 %s\tp99.9 %s\tmax %s", milliseconds(q.P50), milliseconds(q.P90), milliseconds(q.P99), milliseconds(q.P999), milliseconds(q.Max))
}

func milliseconds(s float64) string { return fmt.Sprintf("%.2f ms", 1e3*s) }

type benchReport struct {
	Requests  int            `json:"requests"`
	Failed    int            `json:"failed"`
	Unsent    int            `json:"unsent"`
	Reasons   map[string]int `json:"reasons"`
	Elapsed   float64        `json:"elapsed_s"`
	PerSecond float64        `json:"requests_per_second"`
	Latency   *quantiles     `json:"latency_s"`
	TTFT      *quantiles     `json:"ttft_s,omitempty"`
	Gap       *quantiles     `json:"gap_s,omitempty"`
	Events    int            `json:"events,omitempty"`
}

func newBenchReport(r *load.Result) benchReport {
	b := benchReport{
		Requests: r.Requests(), Failed: r.Failures(), Unsent: r.Unsent, Reasons: r.Failed, Elapsed: r.Elapsed.Seconds(),
		Latency: newQuantiles(r.Latency), TTFT: newQuantiles(r.TTFT), Gap: newQuantiles(r.Gap), Events: r.Events,
	}
	if b.Reasons == nil {
		b.Reasons = map[string]int{}
	}
	b.PerSecond = float64(b.Requests) / max(b.Elapsed, 1e-9)
	return b
}

// printBench is the result for people.
func printBench(out io.Writer, r *load.Result) error {
	b := newBenchReport(r)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "requests\t%d in %.1f s\t%.1f a second\t%d failed\n", b.Requests, b.Elapsed, b.PerSecond, b.Failed)
	for _, line := range []struct {
		name  string
		times *quantiles
	}{{"latency", b.Latency}, {"first event", b.TTFT}, {"between events", b.Gap}} {
		if line.times != nil {
			fmt.Fprintf(w, "%s\t%s\n", line.name, line.times)
		}
	}
	if b.Unsent > 0 {
		fmt.Fprintf(w, "unsent\t%d\tcame due while all connections were busy: more of them (-c), or a lower rate\n", b.Unsent)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(w, "failed\t%d\t%s\n", r.Failed[why], why)
	}
	return w.Flush()
}
