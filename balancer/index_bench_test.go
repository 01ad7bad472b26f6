package balancer_test

import (
	"fmt"
	"testing"

	"github.com/helixflow/helixflow/balancer"
)

// BenchmarkIndex is what a pick pays: hashing the prompt, matching it, and noting
// where it went.
func BenchmarkIndex(b *testing.B) {
	for _, size := range []int{1 << 10, 8 << 10, 32 << 10, 400 << 10} {
		for _, n := range []int{8, 64, 256} {
			x := balancer.NewIndex(64<<20, n)
			prompt := text(1, size)
			var c balancer.Chain
			var m balancer.Matches
			hash := func() { c.Reset(1); c.Write(prompt); c.EndSpan() }
			hash()
			for i := range n {
				x.Insert(&c, i, 0)
			}
			open := balancer.FirstN(n)
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/%dK/%d", name, size>>10, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						f()
					}
				})
			}
			if n == 8 {
				run("hash", hash)
			}
			run("match", func() { x.Match(&c, open, &m) })
			i := 0
			run("again", func() { i++; x.Insert(&c, i%n, int64(i)) })
			run("all", func() { i++; hash(); x.Match(&c, open, &m); x.Insert(&c, i%n, int64(i)) })
		}
	}
}

// BenchmarkIndexNew is Insert of prompts never seen, in an index that is full and
// whose lines are in no cache: what it costs at worst.
func BenchmarkIndexNew(b *testing.B) {
	for _, size := range []int{8 << 10, 400 << 10} {
		for _, n := range []int{8, 64, 256} {
			chains := make([]balancer.Chain, 64<<20/size)
			prompt := text(1, size)
			for i := range chains {
				chains[i].Reset(uint64(i))
				chains[i].Write(prompt)
			}
			b.Run(fmt.Sprintf("%dK/%d", size>>10, n), func(b *testing.B) {
				b.ReportAllocs()
				x := balancer.NewIndex(min(balancer.IndexBytes(int64(n)*balancer.DefaultHorizon, n), 64<<20), n)
				for i := range 20_000 * 20 / chains[0].Len() {
					x.Insert(&chains[i%len(chains)], i%n, 0)
				}
				i := 0
				for b.Loop() {
					i++
					x.Insert(&chains[i%len(chains)], i%n, int64(i))
				}
			})
		}
	}
}
