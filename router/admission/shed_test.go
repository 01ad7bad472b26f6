package admission

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestSheds: a batch stands back little by little, the others when nothing is left.
func TestSheds(t *testing.T) {
	f := func(c Class, saturation, wantShare float64) {
		t.Helper()
		const draws = 10_000
		shed := 0
		for i := range draws {
			if c.Sheds(saturation, float64(i)/draws) {
				shed++
			}
		}
		assert.InDelta(t, wantShare, float64(shed)/draws, 0.001, "%s at %.2f", c, saturation)
	}
	f(Batch, 0, 0)
	f(Batch, 0.6, 0)
	f(Batch, 0.7, 0.0625)
	f(Batch, 0.8, 0.25)
	f(Batch, 0.9, 0.5625)
	f(Batch, 1, 1)
	f(Batch, 7, 1)
	for _, c := range []Class{System, Interactive, Default} {
		f(c, 0.99, 0)
		f(c, 1, 1)
	}
	assert.Equal(t, "system interactive default batch", System.String()+" "+Interactive.String()+" "+Default.String()+" "+Batch.String())
}

func TestPace(t *testing.T) {
	var p Pace
	now := time.Now()
	assert.Zero(t, p.Wait(100))
	for range 4 {
		now = now.Add(time.Second)
		p.Given(now)
	}
	assert.Zero(t, p.Wait(100), "three gaps are too few")
	for range 20 {
		now = now.Add(time.Second)
		p.Given(now)
	}
	assert.Equal(t, 100*time.Second, p.Wait(100).Round(time.Millisecond))
	for range 40 {
		now = now.Add(100 * time.Millisecond)
		p.Given(now)
	}
	assert.Less(t, p.Wait(100), 12*time.Second)
	assert.Zero(t, p.Wait(0))
	p.Reset()
	assert.Zero(t, p.Wait(100))
	assert.Zero(t, testing.AllocsPerRun(100, func() { p.Given(now) }))
}
