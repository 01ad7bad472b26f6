package configs

import (
	"strings"
	"time"

	"github.com/helixflow/helixflow"
)

// The cache of answers: what it means, what it may hold, its keys, its checks.

// Cache is where answers are kept. Which are, each model says.
type Cache struct {
	Memory      int64    // bytes; default 256 MiB
	TenantShare Share    // default 25%: what a tenant may have of it when it is full and others have something
	Redis       bool     // default true: replicas share answers through Redis, where there is one
	Headers     []string // request headers that can change an answer; default openai-beta
}

// ModelCache says which answers of a model are kept.
type ModelCache struct {
	Exact     time.Duration // how long; 0 (default) is not at all
	Jitter    Share         // default 10%: by which a lifetime may be shorter
	Scope     string        // tenant (default) | key | model | shared: whose answers a request may get
	MaxAnswer int64         // bytes; default 1 MiB
	Allow     []string      // of sampling, choices, server_tools, stored: what is kept besides; default nothing
	Replay    string        // instant (default) | original: the pace of a stream
	Coalesce  bool          // default true: those who ask the same at once share one call of a backend
	Charge    string        // none (default) | tokens | all: what an answer from the cache counts as
}

const (
	minCache = 1 << 20
	maxCache = 1 << 40
	// maxAnswerShare is the part of the memory that one answer may take at most.
	maxAnswerShare = 16
)

var (
	cacheScopes  = []string{"tenant", "key", "model", "shared"}
	cacheAllows  = []string{"sampling", "choices", "server_tools", "stored"}
	cacheReplays = []string{"instant", "original"}
	cacheCharges = []string{"none", "tokens", "all"}
)

func defaultCache() Cache {
	return Cache{Memory: 256 << 20, TenantShare: Whole / 4, Redis: true, Headers: []string{"openai-beta"}}
}

func defaultModelCache() ModelCache {
	return ModelCache{Jitter: Whole / 10, Scope: "tenant", MaxAnswer: 1 << 20, Replay: "instant", Coalesce: true, Charge: "none"}
}

func cacheKeys(c *Cache) object {
	return object{
		{name: "memory", value: size{&c.Memory, minCache, maxCache}, doc: "The most memory for answers that are kept, of all tenants together."},
		{name: "tenant_share", value: share{&c.TenantShare, Whole / 100, Whole}, doc: "What one tenant may have of it when it is full and others have something too: who has more makes room out of its own. 100% is off."},
		{name: "redis", value: boolean{&c.Redis}, doc: "Share answers with other routers through redis, where there is one."},
		{name: "headers", value: texts{&c.Headers, 0, "none"}, doc: "Request headers that can change an answer: requests that differ in one of them do not share answers."},
	}
}

func modelCacheKeys(c *ModelCache) object {
	return object{
		{name: "exact", value: duration{&c.Exact, 0, maxDuration}, doc: "How long the answer to a request is given again to the very same one; 0 is off."},
		{name: "jitter", value: share{&c.Jitter, 0, Whole / 2}, doc: "By how much of it a lifetime may be shorter, at random: answers that came together do not end together."},
		{name: "scope", value: choice{&c.Scope, cacheScopes}, doc: "Whose answers a request may get: its tenant's, its key's, those of everybody who may use the model, or shared: likewise, of every such model that leads to the same targets."},
		{name: "max_answer", value: size{&c.MaxAnswer, 1 << 10, 64 << 20}, doc: "The biggest answer that is kept; at most a sixteenth of cache.memory."},
		{name: "allow", value: choiceSet{&c.Allow, cacheAllows}, doc: "What is kept besides answers that would be the same again: sampling (neither temperature 0 nor a seed), choices (n above 1), server_tools (tools that the backend runs), stored (store: true)."},
		{name: "replay", value: choice{&c.Replay, cacheReplays}, doc: "How a stream is given again: at once, or at the pace that it had."},
		{name: "coalesce", value: boolean{&c.Coalesce}, doc: "Requests that ask the same while its answer is on its way share that answer, from its first byte."},
		{name: "charge", value: choice{&c.Charge, cacheCharges}, doc: "What an answer from the cache counts as against limits and budgets: the request alone, its tokens too, or all that it would have cost."},
	}
}

// checkCache checks the cache and what the models say of it.
func checkCache(r *reader, c *Config) {
	taken := names{}
	for i, name := range c.Cache.Headers {
		path := at("cache", "headers", i)
		switch {
		case !isToken(name):
			r.wrong(path, "%s is not a header name", r.shown(path))
		case strings.EqualFold(name, "authorization"), strings.HasPrefix(strings.ToLower(name), helixflow.HeaderOwnPrefix):
			r.wrong(path, "%s does not reach a backend, so it changes no answer", r.shown(path))
		default:
			taken.claim(r, strings.ToLower(name), path)
		}
	}
	for i := range c.Models {
		m, path := &c.Models[i], at("models", i, "cache")
		if m.Cache.Exact == 0 {
			continue
		}
		if p := below(path, "max_answer"); m.Cache.MaxAnswer > c.Cache.Memory/maxAnswerShare && !r.refused(at("cache", "memory")) {
			if r.given(p) {
				r.wrong(p, "%s is more than a sixteenth of cache.memory, %s", r.shown(p), r.shownOr(at("cache", "memory"), formatSize(c.Cache.Memory)))
			} else {
				m.Cache.MaxAnswer = c.Cache.Memory / maxAnswerShare
			}
		}
		for _, name := range m.Hooks {
			for j := range c.Hooks {
				if c.Hooks[j].Name == name && c.Hooks[j].SeesAnswers() {
					r.wrong(below(path, "exact"), "excludes the hook %s, which must see every answer: one from the cache would be shown to nobody", name)
				}
			}
		}
	}
}
