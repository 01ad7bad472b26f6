package pressure

import "testing"

// BenchmarkSystem is what a look costs.
func BenchmarkSystem(b *testing.B) {
	for b.Loop() {
		System(1 << 30)
	}
}
