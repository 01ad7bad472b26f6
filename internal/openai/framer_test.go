package openai

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEventEnd(t *testing.T) {
	f := func(b string, want int) {
		t.Helper()
		assert.Equal(t, want, EventEnd([]byte(b)), "%q", b)
	}
	f("", 0)
	f("data: x", 0)
	f("data: x\n", 0)
	f("data: x\n\n", 9)
	f("data: x\n\ndata: y\n\n", 9)
	f("data: x\r\n\r\n", 11)
	f("data: x\r\n\r\nd", 11)
	f("data: x\r\n\r", 0) // its LF may follow
	f("data: x\r", 0)
	f("data: x\r\r", 9)
	f("data: x\r\rdata", 9)
	f("data: x\r\n", 0)
	f("data: x\n\r\n", 10)
	f("data: x\n\r", 0)
	f("data: x\n\rd", 9)
	f("data: x\r\r\n", 9)
	f("event: e\ndata: x\n\n", 18)
	f("event: e\rdata: x\r\r", 18)
	f(": c\n\n", 5)
	f("\n", 1)
	f("\r\n", 2)
	f("\n\n", 1)
	f("a\rb\nc\r\nd\n\n", 10)
}

// splitSlow cuts b into events one byte at a time: a blank line is a line end
// right behind a line end, and CR LF is one unless both line ends are lone CRs.
func splitSlow(b []byte) (ends []int) {
	start, i := 0, 0
	for i < len(b) {
		begins := i == start || b[i-1] == '\n' || b[i-1] == '\r'
		loneBefore := i > start && b[i-1] == '\r'
		switch {
		case b[i] == '\n':
			i++
		case b[i] != '\r':
			i++
			continue
		case begins && loneBefore:
			i++
		case i+1 == len(b):
			return ends
		case b[i+1] == '\n':
			i += 2
		default:
			i++
		}
		if begins {
			ends = append(ends, i)
			start = i
		}
	}
	return ends
}

func FuzzEventEnd(f *testing.F) {
	f.Add([]byte("data: x\n\ndata: y\r\n\r\n: c\r\rdata: z\n\r\n\n\r\r\n"))
	f.Add([]byte("\r\n\r\r\n\n\r"))
	f.Add([]byte("event: a\ndata: {}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 200)]
		want := splitSlow(b)
		for piece := 1; piece <= len(b); piece++ {
			var ends []int
			var fr Framer
			start, have := 0, 0
			for have < len(b) {
				have = min(have+piece, len(b))
				for start < have {
					n := fr.EventEnd(b[start:have])
					if n == 0 {
						break
					}
					start += n
					ends = append(ends, start)
				}
			}
			require.Equal(t, want, ends, "%q in pieces of %d", b, piece)
		}
	})
}

func TestFramerReset(t *testing.T) {
	var f Framer
	assert.Zero(t, f.EventEnd([]byte("data: a long begin\n")))
	f.Reset()
	assert.Equal(t, 4, f.EventEnd([]byte("d:\n\n")))
}

// TestFramerLooksOnce proves that a large event in many pieces is looked at once:
// what was seen before is overwritten with an end of event, which must not be found.
func TestFramerLooksOnce(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 1<<20)
	var f Framer
	for n := 1 << 10; n < len(b); n += 1 << 10 {
		require.Zero(t, f.EventEnd(b[:n]))
		copy(b[n-10:], "\n\n")
	}
}

// TestManyLines has an event of many lines cost what its bytes cost, not the square
// of it, which would be minutes.
func TestManyLines(t *testing.T) {
	for _, line := range []string{"x\r", "x\n", "x\r\n", "data\r"} {
		b := bytes.Repeat([]byte(line), 2<<20)
		start := time.Now()
		assert.Zero(t, EventEnd(b))
		var e Event
		ReadEvent(b, chat, &e)
		assert.Less(t, time.Since(start), 10*time.Second)
	}
}

func BenchmarkEventEnd(b *testing.B) {
	for b.Loop() {
		if EventEnd(typicalChunk) != len(typicalChunk) {
			b.Fatal("no end")
		}
	}
}
