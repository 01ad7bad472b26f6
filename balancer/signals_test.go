// These tests check what is taken for a signal, and how it ages.
package balancer_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow/balancer"
)

func TestSignalsKnowNothingAtFirst(t *testing.T) {
	for _, s := range []*balancer.Signals{nil, {}} {
		for name, get := range map[string]func(int64) (float64, time.Duration){
			"kv": s.KV, "waiting": s.Waiting, "running": s.Running, "quota": s.Quota, "hits": s.PrefixHits,
		} {
			v, age := get(12345)
			assert.Zero(t, v, name)
			assert.Equal(t, balancer.Never, age, name)
			assert.Zero(t, balancer.Freshness(age), name)
		}
		assert.Zero(t, s.Slots())
		assert.Zero(t, s.KVTokens())
		assert.Zero(t, s.Preemptions())
		assert.Zero(t, s.Restarts())
		assert.Equal(t, 15*time.Second, s.LoadTime())
	}
}

// TestSignalsRefuseNonsense: what is no sensible number turns the feature off; it
// neither counts nor leaves the old value standing.
func TestSignalsRefuseNonsense(t *testing.T) {
	var s balancer.Signals
	f := func(set func(float64, int64) bool, get func(int64) (float64, time.Duration), v, want float64, ok bool) {
		t.Helper()
		set(0.5, 1)
		assert.Equal(t, ok, set(v, 2))
		got, age := get(2)
		assert.Equal(t, want, got)
		assert.Equal(t, ok, age == 0)
	}
	for _, nonsense := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, -1e-9, math.MaxFloat64} {
		f(s.SetKV, s.KV, nonsense, 0, false)
		f(s.SetWaiting, s.Waiting, nonsense, 0, false)
		f(s.SetRunning, s.Running, nonsense, 0, false)
		f(s.SetQuota, s.Quota, nonsense, 0, false)
		f(s.SetPrefixHits, s.PrefixHits, nonsense, 0, false)
	}
	f(s.SetKV, s.KV, 0, 0, true)
	f(s.SetKV, s.KV, 1, 1, true)
	f(s.SetKV, s.KV, 1.004, 1, true)
	f(s.SetKV, s.KV, 1.5, 0, false)
	f(s.SetKV, s.KV, 73, 0, false) // a percentage is no share
	f(s.SetQuota, s.Quota, 1.004, 0, false)
	f(s.SetWaiting, s.Waiting, 40000, 40000, true)
}

func TestSignalsAge(t *testing.T) {
	var s balancer.Signals
	s.SetWaiting(7, int64(time.Hour))
	f := func(after, age time.Duration, fresh float64) {
		t.Helper()
		v, got := s.Waiting(int64(time.Hour + after))
		assert.EqualValues(t, 7, v)
		assert.Equal(t, age, got)
		assert.InDelta(t, fresh, balancer.Freshness(got), 1e-9)
	}
	f(0, 0, 1)
	f(-time.Minute, 0, 1) // told after the asker looked at the clock
	f(2*time.Second, 2*time.Second, 1)
	f(6*time.Second, 6*time.Second, 0.5)
	f(10*time.Second, 10*time.Second, 0)
	f(time.Hour, time.Hour, 0)
	s.SetWaiting(7, 0) // the first moment there is
	_, age := s.Waiting(0)
	assert.Less(t, age, time.Second)
}

func TestSignalsOfANewLife(t *testing.T) {
	var s balancer.Signals
	s.SetKV(0.5, 1)
	s.SetWaiting(1, 1)
	s.SetRunning(1, 1)
	s.SetPrefixHits(0.5, 1)
	s.SetQuota(0.5, 1)
	s.SetSlots(4)
	s.SetKVTokens(1000)
	s.SetLoadTime(3 * time.Second)
	s.AddPreemptions(2)
	s.Restarted()
	for _, get := range []func(int64) (float64, time.Duration){s.KV, s.Waiting, s.Running, s.PrefixHits} {
		_, age := get(2)
		assert.Equal(t, balancer.Never, age)
	}
	used, _ := s.Quota(2)
	assert.Equal(t, 0.5, used, "a quota is an account's, not an engine's")
	assert.Zero(t, s.Slots())
	assert.Zero(t, s.KVTokens())
	assert.Equal(t, 3*time.Second, s.LoadTime())
	assert.EqualValues(t, 2, s.Preemptions())
	assert.EqualValues(t, 1, s.Restarts())
	s.SetSlots(-3)
	s.SetKVTokens(-3)
	assert.Zero(t, s.Slots())
	assert.Zero(t, s.KVTokens())
}
