package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSheet(t *testing.T) {
	f := func(l level, got, bound float64, want bool) {
		t.Helper()
		var most, least sheet
		most.atMost("G0", l, "at most", got, bound)
		least.atLeast("G0", l, "at least", -got, -bound)
		assert.Equal(t, want, most.ok())
		assert.Equal(t, want, least.ok())
	}
	f(gated, 1, 2, true)
	f(gated, 2, 2, true)
	f(gated, 3, 2, false)
	f(aimed, 3, 2, true)
}
