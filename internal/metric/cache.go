package metric

// What is counted of the cache of answers.

import (
	"sync/atomic"

	"github.com/helixflow/helixflow"
)

// CacheResult is what the cache had to do with a request.
type CacheResult uint8

// The results. CacheUnused is none: the model has no cache.
const (
	CacheUnused CacheResult = iota
	CacheHit
	CacheMiss
	CacheBypass    // its answer may not be kept
	CacheCoalesced // it shared an answer that was on its way
	numCacheResults
)

var cacheResults = [numCacheResults]string{"", "hit", "miss", "bypass", "coalesced"}

// String is the result in a word; empty for none.
func (r CacheResult) String() string { return cacheResults[r] }

// CacheStats is what is kept at one moment.
type CacheStats struct {
	Limit, Bytes, Answers int64
	Evicted, Refused      uint64

	Shared                                   bool // replicas share
	SharedHits, SharedDropped, SharedForeign uint64
}

// FlightStats is what is shared at one moment.
type FlightStats struct {
	UnderWay, Followers int64
	Lost                uint64
}

// cacheSeries is what is counted per model.
type cacheSeries struct {
	results  [numCacheResults]atomic.Uint64
	saved    [2]atomic.Uint64 // tokens, input and output
	microUSD atomic.Uint64
}

// Cache counts what the cache had to do with a request.
func (s *ModelSeries) Cache(r CacheResult) { s.cache.results[r].Add(1) }

// Saved counts what an answer from the cache did not cost.
func (s *ModelSeries) Saved(u helixflow.Usage, microUSD int64) {
	s.cache.saved[0].Add(uint64(max(u.InputTokens, 0)))
	s.cache.saved[1].Add(uint64(max(u.OutputTokens, 0)))
	s.cache.microUSD.Add(uint64(max(microUSD, 0)))
}

// Cache has scrapes ask stats, from any goroutine, what is kept. The latest one
// given counts.
func (m *Metrics) Cache(stats func() CacheStats) { m.cache.Store(&stats) }

// Flights has scrapes ask stats, from any goroutine, what is shared. The latest one
// given counts.
func (m *Metrics) Flights(stats func() FlightStats) { m.flights.Store(&stats) }

// writeCacheOfModels writes nothing for models without a cache.
func writeCacheOfModels(t *text, models []*ModelSeries) {
	var with []*ModelSeries
	for _, s := range models {
		used := uint64(0)
		for i := range s.cache.results {
			used += s.cache.results[i].Load()
		}
		if used > 0 {
			with = append(with, s)
		}
	}
	if len(with) == 0 {
		return
	}
	t.family(cacheRequests)
	for _, s := range with {
		for r, name := range cacheResults[CacheHit:] {
			t.sample(cacheRequests.name, s.cache.results[CacheResult(r)+CacheHit].Load(), "model", s.name, "result", name)
		}
	}
	t.family(cacheSavedTokens)
	for _, s := range with {
		t.sample(cacheSavedTokens.name, s.cache.saved[0].Load(), "model", s.name, "type", "input")
		t.sample(cacheSavedTokens.name, s.cache.saved[1].Load(), "model", s.name, "type", "output")
	}
	t.family(cacheSavedUSD)
	for _, s := range with {
		t.sampleFloat(cacheSavedUSD.name, float64(s.cache.microUSD.Load())/1e6, "model", s.name)
	}
}

// writeCache writes nothing where there is none.
func (m *Metrics) writeCache(t *text) {
	stats := m.cache.Load()
	if stats == nil {
		return
	}
	s := (*stats)()
	t.family(cacheAnswers)
	t.sample(cacheAnswers.name, uint64(max(s.Answers, 0)))
	t.family(cacheBytes)
	t.sample(cacheBytes.name, uint64(max(s.Bytes, 0)))
	t.family(cacheLimit)
	t.sample(cacheLimit.name, uint64(s.Limit))
	t.family(cacheDropped)
	t.sample(cacheDropped.name, s.Evicted, "reason", "evicted")
	t.sample(cacheDropped.name, s.Refused, "reason", "refused")
	if s.Shared {
		t.family(cacheShared)
		t.sample(cacheShared.name, s.SharedHits, "what", "hit")
		t.sample(cacheShared.name, s.SharedDropped, "what", "dropped")
		t.sample(cacheShared.name, s.SharedForeign, "what", "foreign")
	}
	m.writeFlights(t)
}

func (m *Metrics) writeFlights(t *text) {
	stats := m.flights.Load()
	if stats == nil {
		return
	}
	s := (*stats)()
	t.family(cacheFlights)
	t.sample(cacheFlights.name, uint64(max(s.UnderWay, 0)))
	t.family(cacheFollowers)
	t.sample(cacheFollowers.name, uint64(max(s.Followers, 0)))
	t.family(cacheLost)
	t.sample(cacheLost.name, s.Lost)
}
