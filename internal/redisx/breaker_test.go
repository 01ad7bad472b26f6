package redisx

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBreaker(t *testing.T) {
	var b breaker
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for i := range tolerated - 1 {
		assert.True(t, b.allow(at(i)))
		assert.False(t, b.fail(at(i)))
	}
	assert.False(t, b.succeed(), "it was not open")
	for i := range tolerated {
		assert.Equal(t, StateClosed, b.state(at(10)))
		assert.True(t, b.allow(at(10)))
		assert.Equal(t, i == tolerated-1, b.fail(at(10)))
	}
	assert.Equal(t, StateOpen, b.state(at(10)))
	assert.False(t, b.allow(at(509)))
	assert.False(t, b.succeed(), "what began before it opened does not close it")
	assert.True(t, b.allow(at(510)), "one probe")
	assert.Equal(t, StateHalfOpen, b.state(at(510)))
	assert.False(t, b.allow(at(510)), "and no second")
	assert.False(t, b.fail(at(520)))
	assert.False(t, b.allow(at(1519)), "twice as long")
	assert.True(t, b.allow(at(1520)))
	b.abandon()
	assert.True(t, b.allow(at(1520)), "whoever probed has left")
	assert.True(t, b.succeed())
	assert.Equal(t, StateClosed, b.state(at(1520)))
	assert.Equal(t, uint64(1), b.opened)
	for ms := 2000; ; ms = 2 * ms { // rests no longer than longest
		if b.allow(at(ms)) {
			b.fail(at(ms))
		}
		if ms > 1<<24 {
			break
		}
	}
	assert.LessOrEqual(t, b.rest, longest)
}

// Two failures with more than the patience between them are enough.
func TestBreakerOfSlowAnswers(t *testing.T) {
	var b breaker
	start := time.Unix(1000, 0)
	assert.False(t, b.fail(start))
	assert.True(t, b.fail(start.Add(patience)))
}
