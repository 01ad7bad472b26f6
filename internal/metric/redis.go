package metric

// Redis, and the limits that are shared through it.

import (
	"maps"
	"slices"
)

// Redis is what is known of a Redis and of what goes through it.
type Redis struct {
	Operations    uint64
	Failed        map[string]uint64 // by the name of what went wrong
	Breaker       string            // one of breakerStates
	Opened        uint64
	Replicas      int64
	Leases, Alone int64
}

// breakerStates are those a breaker can be in.
var breakerStates = []string{"closed", "half_open", "open"}

// Redis has what is known of Redis written with each scrape; nil figures are none.
func (m *Metrics) Redis(figures func() *Redis) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redis = figures
}

func (o *operations) writeRedis(t *text) {
	if o.redis == nil {
		return
	}
	r := o.redis()
	if r == nil {
		return
	}
	t.family(redisOperations)
	t.sample(redisOperations.name, r.Operations)
	t.family(redisErrors)
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		t.sample(redisErrors.name, r.Failed[kind], "kind", kind)
	}
	t.family(redisBreaker)
	for _, state := range breakerStates {
		is := uint64(0)
		if state == r.Breaker {
			is = 1
		}
		t.sample(redisBreaker.name, is, "state", state)
	}
	t.family(redisBreakerOpened)
	t.sample(redisBreakerOpened.name, r.Opened)
	t.family(sharedReplicas)
	t.sample(sharedReplicas.name, uint64(r.Replicas))
	t.family(sharedLeases)
	t.sample(sharedLeases.name, uint64(max(r.Leases-r.Alone, 0)), "state", "shared")
	t.sample(sharedLeases.name, uint64(r.Alone), "state", "alone")
}
