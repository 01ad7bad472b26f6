package signals

// The engines, and the names they use.

// Meaning is what a number tells.
type Meaning uint8

// The meanings.
const (
	Running     Meaning = iota // requests the engine works on
	Waiting                    // requests in its own queue
	KVUse                      // share of the KV cache that is in use, 0 to 1
	KVTokens                   // tokens the KV cache holds
	KVBlocks                   // blocks the KV cache holds, where that is told apart from
	BlockTokens                // the tokens of one block
	Slots                      // requests it can work on at once
	Asked                      // prompt tokens looked up in the prefix cache; only grows
	Found                      // those of them that were there; only grows
	HitShare                   // found ÷ asked, where the engine divides itself
	Preempted                  // requests thrown out to make room; only grows
	Worked                     // something that only grows while the engine lives
	Started                    // when it began, in Unix seconds
	numMeanings
)

var meaningNames = [numMeanings]string{
	"running", "waiting", "kv_use", "kv_tokens", "kv_blocks", "block_tokens", "slots",
	"asked", "found", "hit_share", "preempted", "worked", "started",
}

// String returns the meaning's name as metrics and the admin API write it.
func (m Meaning) String() string { return meaningNames[m] }

// most is the largest value that makes sense for each meaning.
var most = [numMeanings]float64{
	Running: 1e7, Waiting: 1e7, KVUse: 1.01, KVTokens: 1e12, KVBlocks: 1e12, BlockTokens: 1e6, Slots: 1e7,
	Asked: 1e18, Found: 1e18, HitShare: 1.01, Preempted: 1e18, Worked: 1e18, Started: 1e11,
}

// combine is how the series of one family make one value.
type combine uint8

const (
	sum  combine = iota
	mean         // of shares
)

// family is one name and what it tells. Both spellings of a prefix, vllm: and
// vllm_, and a _total at the end or none, are the same name.
type family struct {
	meaning Meaning
	name    string
	combine combine
	label   string    // only series with this label
	is      string    // of this value
	product [2]string // the value is the product of these two labels
}

// Preset is one engine. Families of the same meaning stand in the order in which
// they are believed.
type Preset struct {
	Engine   string
	Path     string // where it tells, of the server, not of its API
	adapters string // the name under which it tells of LoRA adapters
	families []family
}

var started = family{meaning: Started, name: "process_start_time_seconds"}

// presets are the engines that tell something. A row of docs/reference/engines.md
// is made of each.
var presets = []Preset{
	{Engine: "vllm", Path: "/metrics", adapters: vllmAdapters, families: vllm},
	{Engine: "sim", Path: "/metrics", adapters: vllmAdapters, families: vllm},
	{Engine: "sglang", Path: "/metrics", families: []family{
		{meaning: Running, name: "sglang:num_running_reqs"},
		{meaning: Waiting, name: "sglang:num_queue_reqs"},
		{meaning: KVUse, name: "sglang:token_usage", combine: mean},
		{meaning: KVTokens, name: "sglang:max_total_num_tokens"},
		{meaning: KVTokens, name: "sglang:cache_config_info", product: [2]string{"num_pages", "page_size"}},
		{meaning: HitShare, name: "sglang:cache_hit_rate", combine: mean},
		{meaning: Preempted, name: "sglang:num_retracted_requests_total"},
		{meaning: Worked, name: "sglang:prompt_tokens_total"},
		started,
	}},
	{Engine: "tgi", Path: "/metrics", families: []family{
		{meaning: Running, name: "tgi_batch_current_size"},
		{meaning: Waiting, name: "tgi_queue_size"},
		{meaning: Worked, name: "tgi_request_count"},
		started,
	}},
	{Engine: "trtllm", Path: "/prometheus/metrics", families: []family{
		{meaning: Running, name: "trtllm_num_requests_running"},
		{meaning: Running, name: "nv_trt_llm_request_metrics", label: "request_type", is: "scheduled"},
		{meaning: Waiting, name: "trtllm_num_requests_waiting"},
		{meaning: Waiting, name: "nv_trt_llm_request_metrics", label: "request_type", is: "waiting"},
		{meaning: Waiting, name: "nv_inference_pending_request_count"},
		{meaning: KVUse, name: "trtllm_kv_cache_utilization", combine: mean},
		{meaning: KVUse, name: "nv_trt_llm_kv_cache_block_metrics", label: "kv_cache_block_type", is: "fraction", combine: mean},
		{meaning: KVBlocks, name: "trtllm_kv_cache_max_blocks"},
		{meaning: KVBlocks, name: "nv_trt_llm_kv_cache_block_metrics", label: "kv_cache_block_type", is: "max"},
		{meaning: BlockTokens, name: "trtllm_kv_cache_tokens_per_block", combine: mean},
		{meaning: BlockTokens, name: "nv_trt_llm_kv_cache_block_metrics", label: "kv_cache_block_type", is: "tokens_per", combine: mean},
		{meaning: Slots, name: "nv_trt_llm_request_metrics", label: "request_type", is: "max"},
		{meaning: HitShare, name: "trtllm_kv_cache_hit_rate", combine: mean},
		{meaning: Worked, name: "trtllm_request_success_total"},
		{meaning: Worked, name: "nv_inference_request_success"},
		started,
	}},
	{Engine: "llamacpp", Path: "/metrics", families: []family{
		{meaning: Running, name: "llamacpp:requests_processing"},
		{meaning: Waiting, name: "llamacpp:requests_deferred"},
		{meaning: KVUse, name: "llamacpp:kv_cache_usage_ratio", combine: mean},
		{meaning: Worked, name: "llamacpp:prompt_tokens_total"},
		started,
	}},
}

const vllmAdapters = "vllm:lora_requests_info"

var vllm = []family{
	{meaning: Running, name: "vllm:num_requests_running"},
	{meaning: Waiting, name: "vllm:num_requests_waiting"},
	{meaning: KVUse, name: "vllm:kv_cache_usage_perc", combine: mean},
	{meaning: KVUse, name: "vllm:gpu_cache_usage_perc", combine: mean},
	{meaning: KVTokens, name: "vllm:cache_config_info", product: [2]string{"num_gpu_blocks", "block_size"}},
	{meaning: Asked, name: "vllm:prefix_cache_queries_total"},
	{meaning: Asked, name: "vllm:gpu_prefix_cache_queries_total"},
	{meaning: Found, name: "vllm:prefix_cache_hits_total"},
	{meaning: Found, name: "vllm:gpu_prefix_cache_hits_total"},
	{meaning: Preempted, name: "vllm:num_preemptions_total"},
	{meaning: Worked, name: "vllm:prompt_tokens_total"},
	started,
}

// Of returns what is known of an engine; nil when it tells nothing in this form.
func Of(engine string) *Preset {
	for i := range presets {
		if presets[i].Engine == engine {
			return &presets[i]
		}
	}
	return nil
}

// Presets returns every engine. It is shared and must not be changed.
func Presets() []Preset { return presets }

// Names returns the names under which the engine tells m, the one that is
// believed first in front, as an operator would look for them.
func (p *Preset) Names(m Meaning) []string {
	var list []string
	for _, f := range p.families {
		if f.meaning != m {
			continue
		}
		switch name := f.name; {
		case f.label != "":
			list = append(list, name+`{`+f.label+`="`+f.is+`"}`)
		case f.product[0] != "":
			list = append(list, name+`{`+f.product[0]+", "+f.product[1]+`}`)
		default:
			list = append(list, name)
		}
	}
	return list
}

// Tells reports whether the engine has a name for m.
func (p *Preset) Tells(m Meaning) bool {
	for _, f := range p.families {
		if f.meaning == m {
			return true
		}
	}
	return false
}
