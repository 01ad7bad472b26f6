package sim

// Figures about the engine: /metrics under vLLM's names, and /sim/stats.

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// bounds are the histograms' upper bounds in seconds, those of vLLM's time to
// first token.
var bounds = [...]float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}

// histogram counts durations. The zero value is empty.
type histogram struct {
	counts [len(bounds) + 1]uint64
	sum    time.Duration
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d.Seconds() > bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += d
}

// figures are the latencies of a server, in real time.
type figures struct {
	ttft, perToken, total histogram
}

// page writes a Prometheus text page.
type page struct {
	strings.Builder
	labels string
}

func (p *page) number(name, kind, help string, value float64) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n%s{%s} %s\n", name, help, name, kind, name, p.labels, formatFloat(value))
}

func (p *page) histogram(name, help string, h *histogram) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	total := uint64(0)
	for i, n := range h.counts {
		total += n
		bound := "+Inf"
		if i < len(bounds) {
			bound = formatFloat(bounds[i])
		}
		fmt.Fprintf(p, "%s_bucket{%s,le=\"%s\"} %d\n", name, p.labels, bound, total)
	}
	fmt.Fprintf(p, "%s_sum{%s} %s\n%s_count{%s} %d\n", name, p.labels, formatFloat(h.sum.Seconds()), name, p.labels, total)
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// metricsPage renders what vLLM would say.
func metricsPage(model string, s Stats, c Counters, f *figures) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	p := &page{labels: `engine="0",model_name="` + escape.Replace(model) + `"`}
	p.number("vllm:num_requests_running", "gauge", "Sequences in the batch.", float64(c.Running))
	p.number("vllm:num_requests_waiting", "gauge", "Sequences waiting for a place in the batch.", float64(c.Waiting))
	p.number("vllm:kv_cache_usage_perc", "gauge", "Share of KV blocks in use, 1 is all.", float64(c.BlocksUsed)/float64(c.BlocksTotal))
	p.number("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.", float64(c.CacheQueries))
	p.number("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found in the prefix cache.", float64(c.CacheHits))
	p.number("vllm:num_preemptions_total", "counter", "Sequences put back for want of KV blocks.", float64(c.Preemptions))
	p.number("vllm:prompt_tokens_total", "counter", "Prompt tokens of admitted sequences.", float64(c.PromptTokens))
	p.number("vllm:generation_tokens_total", "counter", "Tokens generated.", float64(c.OutputTokens))
	p.number("vllm:request_success_total", "counter", "Requests answered whole.", float64(s.Finished))
	fmt.Fprintf(p, "# HELP vllm:cache_config_info The KV cache.\n# TYPE vllm:cache_config_info gauge\n"+
		"vllm:cache_config_info{block_size=\"%d\",enable_prefix_caching=\"True\",engine=\"0\",num_gpu_blocks=\"%d\"} 1\n", BlockTokens, c.BlocksTotal)
	p.histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", &f.ttft)
	p.histogram("vllm:inter_token_latency_seconds", "From one token to the next.", &f.perToken)
	p.histogram("vllm:e2e_request_latency_seconds", "Arrival to last token.", &f.total)
	return p.String()
}

// Stats are what a test wants to know about a server. Requests counts those to
// the inference endpoints; Finished those answered whole, Aborted those whose
// client left, whose connection was cut or that failed by order midway. A plain
// value.
type Stats struct {
	Name        string `json:"name"`
	Received    int64  `json:"received"`
	Refused     int64  `json:"refused"` // answered with an error before a sequence was started
	Finished    int64  `json:"finished"`
	Aborted     int64  `json:"aborted"`
	Open        int64  `json:"open"` // received, and neither refused, finished nor aborted
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	BlocksUsed  int    `json:"blocks_used"`
	BlocksTotal int    `json:"blocks_total"`

	// LastHeaders are the names of the last request's headers, sorted. Their values
	// are not kept: some are credentials.
	LastHeaders []string `json:"last_headers"`
}
