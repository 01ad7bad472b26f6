//go:build engines

// The engines: how each is started, and what it does in its own way.

package engines

import (
	"path/filepath"
	"testing"
)

// engine is one kind of server.
type engine struct {
	name   string // of its folder, and in the router's configuration
	form   string // of its model, for model.py
	chat   func(python, model, host, port string) []string
	embed  func(python, model, host, port string) []string // nil if the same process does both
	env    []string
	series series
	tells  []string                       // of what the router knows of an engine
	lists  bool                           // the router goes by its list of models
	die    func(t *testing.T, p *process) // as it does in life; it need not come back
	quirks quirks

	// computed is how many tokens of prompts were not in its cache, by its metrics.
	computed func(figure func(name string) float64) float64
}

// series are names of its metrics.
type series struct {
	running, waiting, generated string
}

// quirks are what it does in its own way.
type quirks struct {
	lastWords     string // of a stream that it dies on, or the router's in the place of it
	dyingEnds     bool   // and it ends that stream as if it were whole
	countsOne     bool   // of several choices, usage has the tokens of one
	usageWithText bool   // of a stream of completions: usage comes with the last choice, not by itself
	revives       bool   // a new process is there in a moment
	distracted    bool   // it looks for who has left only after a second without anything to say to others
}

func TestLlamaCpp(t *testing.T) {
	runChecks(t, &engine{
		name: "llamacpp",
		form: "gguf",
		chat: func(python, model, host, port string) []string {
			return []string{python, filepath.Join("llamacpp", "serve.py"), model, host, port}
		},
		series: series{
			running:   "llamacpp:requests_processing",
			waiting:   "llamacpp:requests_deferred",
			generated: "llamacpp:tokens_predicted_total",
		},
		computed: func(figure func(name string) float64) float64 { return figure("llamacpp:prompt_tokens_total") },
		tells:    []string{"running", "waiting", "slots", "kv_tokens"},
		die:      func(_ *testing.T, p *process) { p.kill() },
		quirks:   quirks{lastWords: `"code":"upstream_interrupted"`, countsOne: true, usageWithText: true, revives: true, distracted: true},
	})
}

func TestVLLM(t *testing.T) {
	serve := func(python, model, host, port string, args ...string) []string {
		return append([]string{
			python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "tiny",
			"--host", host, "--port", port, "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "2",
		}, args...)
	}
	runChecks(t, &engine{
		name: "vllm",
		form: "hf",
		chat: func(python, model, host, port string) []string {
			return serve(python, model, host, port, "--enable-auto-tool-choice", "--tool-call-parser", "hermes")
		},
		embed: func(python, model, host, port string) []string {
			return serve(python, model, host, port, "--runner", "pooling")
		},
		env: []string{
			"VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind", "OMP_NUM_THREADS=1",
			"VLLM_NO_USAGE_STATS=1", "HF_HUB_OFFLINE=1",
		},
		series: series{
			running:   "vllm:num_requests_running",
			waiting:   "vllm:num_requests_waiting",
			generated: "vllm:generation_tokens_total",
		},
		computed: func(figure func(name string) float64) float64 {
			return figure("vllm:prefix_cache_queries_total") - figure("vllm:prefix_cache_hits_total")
		},
		tells:  []string{"running", "waiting", "kv_use"},
		lists:  true,
		die:    func(t *testing.T, p *process) { p.killChild(t, "VLLM::EngineCor") },
		quirks: quirks{lastWords: "EngineCore encountered an issue.", dyingEnds: true},
	})
}

// runChecks puts a router before an engine and makes a subtest of each check.
func runChecks(t *testing.T, e *engine) {
	w := newWorld(t, e)
	for _, check := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"health", checkHealth},
		{"metrics", checkMetrics},
		{"signals", checkSignals},
		{"front", checkFront},
		{"unary", checkUnary},
		{"stream", checkStream},
		{"usage", checkUsage},
		{"responses", checkResponses},
		{"tools", checkTools},
		{"schema", checkSchema},
		{"embeddings", checkEmbeddings},
		{"errors", checkErrors},
		{"many", checkMany},
		{"connections", checkConnections},
		{"affinity", checkAffinity},
		{"cancel", checkCancel},
		{"stall", checkStall},
		{"death", checkDeath},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, w) })
	}
}
