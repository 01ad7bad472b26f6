//go:build unix

package router

// What a rule costs those whose answer is not known, and those who have none: in
// turn, since a machine is never the same twice.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asker asks as one kind of client does.
type asker struct {
	name string
	once func()
	took []float64 // microseconds of each request
	cpu  []float64 // of each round: of this process, which is client, router and backend
}

// inTurn has each of them ask perRound times a round. It reports the median time of a
// request of the first one, and what the others' take more; and likewise the processor
// time, by the rounds' differences, and between which quartiles these lie.
func inTurn(b *testing.B, perRound int, askers ...*asker) {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	order := slices.Clone(askers)
	for b.Loop() {
		for _, a := range order {
			cpu := used()
			for range perRound {
				began := time.Now()
				a.once()
				a.took = append(a.took, us(time.Since(began)))
			}
			a.cpu = append(a.cpu, us(used()-cpu)/float64(perRound))
		}
		// What one leaves to be done behind its answer is not always the same one's to bear.
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	quarter := func(list []float64, n int) float64 {
		list = slices.Sorted(slices.Values(list))
		return list[len(list)*n/4]
	}
	first := askers[0]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quarter(first.took, 2), first.name+"-µs")
	b.ReportMetric(quarter(first.cpu, 2), first.name+"-cpu-µs")
	for _, a := range askers[1:] {
		var cpu []float64
		for i := range a.cpu {
			cpu = append(cpu, a.cpu[i]-first.cpu[i])
		}
		b.ReportMetric(quarter(a.took, 2)-quarter(first.took, 2), a.name+"-more-µs")
		b.ReportMetric(quarter(cpu, 1), a.name+"-more-cpu-q1-µs")
		b.ReportMetric(quarter(cpu, 2), a.name+"-more-cpu-µs")
		b.ReportMetric(quarter(cpu, 3), a.name+"-more-cpu-q3-µs")
	}
}

// BenchmarkMiss is what a rule costs those whose answer is not known, beside who has
// none. Prompts are of 32 KiB, each another.
func BenchmarkMiss(b *testing.B) {
	url := newReplier(b, jsonAnswer(whole))
	const digits = 12
	body := `{"model":"m","temperature":0,"messages":[{"role":"user","content":"` + strings.Repeat("0", digits) + strings.Repeat("words ", 32<<10/6) + `"}]}`
	f := func(name, config string) *asker {
		raw := []byte(chat(body))
		at, n := bytes.Index(raw, []byte(strings.Repeat("0", digits))), 0
		ask := newWorld(b, config).loopOf(b, raw, "}}")
		return &asker{name: name, once: func() {
			n++
			copy(raw[at:], fmt.Sprintf("%0*d", digits, n))
			ask()
		}}
	}
	inTurn(b, 1, f("none", open("", url)), f("flight", remembering(url, "")), f("alone", remembering(url, ", coalesce: false")))
}

// BenchmarkNoRule is what a model without a rule pays when another one has one: 1 KiB,
// beside a router that knows of no cache, and beside another one of those, which tells
// how far the figure can be trusted.
func BenchmarkNoRule(b *testing.B) {
	url := newReplier(b, jsonAnswer(whole))
	body := `{"model":"m","temperature":0,"messages":[{"role":"user","content":"` + strings.Repeat("x", 900) + `"}]}`
	f := func(name, config string) *asker {
		return &asker{name: name, once: newWorld(b, config).loop(b, chat(body), "}}")}
	}
	elsewhere := open("", url) + "  - name: other\n    targets: [{pool: p}]\n    cache: {exact: 10m}\n"
	inTurn(b, 64, f("none", open("", url)), f("elsewhere", elsewhere), f("same", open("", url)))
}
