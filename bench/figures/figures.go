package main

// The figures: what is asked of whom, and what was promised.

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/helixflow/helixflow/bench/load"
)

// figure is one load, for several targets. The first is what the others are
// beside.
type figure struct {
	name    string
	options load.Options
	targets []string
	events  bool               // CPU is per event of streams, not per request
	most    map[string]float64 // the promised ratios
	more    float64            // the promised seconds above the first one's, of all others; 0: ratios are what is promised
	wall    bool               // of the median request's time, not of CPU
}

const model = "bench"

var seed = 1

var figures = []figure{
	{
		name: "unary 1 KiB", options: load.Options{Connections: 64, Prompt: words(1000)},
		targets: []string{"bare", "one", "everything", "reverse", "nginx", "haproxy"}, most: map[string]float64{"one": 1.15, "everything": 1.15},
	},
	{
		name: "unary 1 KiB beside ReverseProxy", options: load.Options{Connections: 64, Prompt: words(1000)},
		targets: []string{"reverse", "everything"}, most: map[string]float64{"everything": 0.30},
	},
	{
		name: "unary 32 KiB", options: load.Options{Connections: 64, Prompt: words(32_000)},
		targets: []string{"bare", "one", "everything"}, most: map[string]float64{"one": 1.25, "everything": 1.25},
	},
	{
		name: "1,000 streams", options: load.Options{Connections: 1000, Stream: true, Prompt: order + "25,40ms; " + words(900)}, events: true,
		targets: []string{"bare", "one", "everything"}, most: map[string]float64{"one": 1.00, "everything": 1.00},
	},
	{
		name: "cache hit", options: load.Options{Connections: 64, Prompt: words(1000), Seed: &seed},
		targets: []string{"bare", "cache"}, most: map[string]float64{"cache": 0.60},
	},
	{
		name: "cache miss of 32 KiB", options: load.Options{Connections: 64, Prompt: words(32_000), Seed: &seed, Distinct: true},
		targets: []string{"one", "cache", "alone"}, more: 30e-6,
	},
	{
		name: "cache miss of 32 KiB, one client", options: load.Options{Connections: 1, Prompt: words(32_000), Seed: &seed, Distinct: true},
		targets: []string{"one", "cache", "alone"}, more: 30e-6, wall: true,
	},
	{
		name: "no cache rule", options: load.Options{Connections: 64, Prompt: words(1000)},
		targets: []string{"one", "elsewhere"}, most: map[string]float64{"elsewhere": 1.01},
	},
}

const head = `
server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0", lame_duck: 0s}
`

const limits = `{requests_per_minute: 100M, tokens_per_minute: 1000M, tokens_per_day: 1000M, concurrent: 100k, budget: {usd: 1000000}}`

// routers are HelixFlow's configurations, by target.
var routers = map[string]string{
	"one": head + `
tenants: [{name: t, keys: [{name: k, generate: true}]}]
pools: [{name: p, engine: vllm, backends: [ONE]}]
models: [{name: bench, targets: [{pool: p}]}]
`,
	"everything": head + `
limits: ` + limits + `
log: {access: "DIR/access.log"}
tenants:
  - {name: t, limits: ` + limits + `, model_limits: [{model: bench, requests_per_minute: 100M}], keys: [{name: k, generate: true, limits: ` + limits + `}]}
pools: [{name: p, engine: vllm, backends: [ALL]}]
models: [{name: bench, targets: [{pool: p}], price: {input: 1, output: 2}, limits: ` + limits + `}]
`,
	"cache": head + `
tenants: [{name: t, keys: [{name: k, generate: true}]}]
pools: [{name: p, engine: vllm, backends: [ONE]}]
models: [{name: bench, targets: [{pool: p}], cache: {exact: 1h}}]
`,
	"alone": head + `
tenants: [{name: t, keys: [{name: k, generate: true}]}]
pools: [{name: p, engine: vllm, backends: [ONE]}]
models: [{name: bench, targets: [{pool: p}], cache: {exact: 1h, coalesce: false}}]
`,
	"elsewhere": head + `
tenants: [{name: t, keys: [{name: k, generate: true}]}]
pools: [{name: p, engine: vllm, backends: [ONE]}]
models: [{name: bench, targets: [{pool: p}]}, {name: other, targets: [{pool: p}], cache: {exact: 1h}}]
`,
}

// words is a text of about n bytes.
func words(n int) string { return strings.Repeat("lorem ipsum ", n/12) }

// samples are what the rounds showed of one target.
type samples struct {
	name                       string
	to                         *target
	cpu, p50, p99, rate, bytes []float64
	ratio, more                []float64 // to the first target, and above it
	failed                     int
}

// measure prints the figure's lines, and returns how many promises are not kept.
func (f *figure) measure(ctx context.Context, l *lab, s *settings, out io.Writer) (missed int, err error) {
	var list []*samples
	for _, name := range f.targets {
		t, err := l.get(ctx, name)
		if err != nil {
			return 0, err
		}
		if t != nil {
			list = append(list, &samples{name: name, to: t})
		}
	}
	for round := -1; round < s.rounds; round++ { // the first, shorter one is to warm up
		each := s.each
		if round < 0 {
			each = min(each, 300*time.Millisecond)
		}
		for i := range list {
			m := list[(i+max(round, 0))%len(list)]
			if err := f.visit(ctx, m, each, round < 0); err != nil {
				return 0, fmt.Errorf("%s: %w", m.name, err)
			}
		}
		for _, m := range list[1:] {
			if round >= 0 {
				m.compare(list[0], round, f.wall)
			}
		}
	}
	for _, m := range list {
		missed += f.print(m, out)
	}
	return missed, nil
}

// compare adds what m is beside the first target in this round.
func (m *samples) compare(first *samples, round int, wall bool) {
	own, its := m.cpu[round], first.cpu[round]
	if wall {
		own, its = m.p50[round], first.p50[round]
	}
	m.ratio, m.more = append(m.ratio, own/its), append(m.more, own-its)
}

// tolerated is the part of requests that may fail: a proxy that fails is not
// cheap.
const tolerated = 0.001

// visit asks one target for a while.
func (f *figure) visit(ctx context.Context, m *samples, each time.Duration, warm bool) error {
	o := f.options
	o.URL, o.Key, o.Model, o.Duration = m.to.url, m.to.key, model, each
	before, _, err := usage(m.to.pid)
	if err != nil {
		return err
	}
	r, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	after, rss, err := usage(m.to.pid)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case float64(r.Failures()) > tolerated*float64(r.Requests()):
		return fmt.Errorf("%d requests failed, %d did not: %v", r.Failures(), r.Requests(), r.Failed)
	case warm:
		return nil
	}
	m.failed += r.Failures()
	n := r.Requests()
	if f.events {
		n = r.Events
	}
	m.cpu = append(m.cpu, (after-before).Seconds()/float64(n))
	m.p50 = append(m.p50, r.Latency.Quantile(0.5).Seconds())
	m.p99 = append(m.p99, r.Latency.Quantile(0.99).Seconds())
	m.rate = append(m.rate, float64(n)/r.Elapsed.Seconds())
	m.bytes = append(m.bytes, float64(rss))
	return nil
}

// print writes one line, and returns 1 if what was promised is not kept.
func (f *figure) print(m *samples, out io.Writer) (missed int) {
	ratio, spread, promised := "", "", ""
	switch {
	case len(m.ratio) == 0:
	case f.more > 0:
		ratio = fmt.Sprintf("%+.1f µs", 1e6*median(m.more))
		spread = fmt.Sprintf("%+.1f–%+.1f", 1e6*slices.Min(m.more), 1e6*slices.Max(m.more))
		promised = fmt.Sprintf("≤ %+.0f µs", 1e6*f.more)
		if median(m.more) > f.more {
			promised, missed = promised+", missed", 1
		}
	default:
		ratio = fmt.Sprintf("%.2f×", median(m.ratio))
		spread = fmt.Sprintf("%.2f–%.2f", slices.Min(m.ratio), slices.Max(m.ratio))
		if most, ok := f.most[m.name]; ok {
			promised = fmt.Sprintf("≤ %.2f×", most)
			if math.Round(median(m.ratio)*100) > math.Round(most*100) {
				promised, missed = promised+", missed", 1
			}
		}
	}
	fmt.Fprintf(out, "| %s | %s | %.1f µs | %s | %s | %.3f ms | %.2f ms | %.0f | %.0f MiB | %d | %s |\n", f.name, m.name, 1e6*median(m.cpu), ratio, spread,
		1e3*median(m.p50), 1e3*median(m.p99), median(m.rate), median(m.bytes)/(1<<20), m.failed, promised)
	return missed
}

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
