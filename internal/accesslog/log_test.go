package accesslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink is a destination that takes a number of bytes, when the gate is open.
type sink struct {
	mu   sync.Mutex // guards the fields below
	room int
	got  bytes.Buffer

	gate chan struct{} // nil: open
}

func (s *sink) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(p), s.room)
	s.room -= n
	s.got.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (s *sink) Close() error { return nil }

// make gives the sink room for n bytes more.
func (s *sink) make(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room += n
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

const plenty = 1 << 30

// record is the request number i.
func record(i int) *Record {
	r := &Record{Time: time.Unix(0, 0), Status: 200, Tries: i}
	r.ID.Set(fmt.Appendf(nil, "r%d", i))
	return r
}

// ids returns the request ids of whole lines of JSON, with a space behind each.
func ids(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(text) {
		var r struct {
			ID string `json:"request_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		require.True(t, strings.HasSuffix(line, "\n"))
		all.WriteString(r.ID + " ")
	}
	return all.String()
}

func TestLogToFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	require.NoError(t, os.WriteFile(path, []byte("before\n"), 0o600))
	l, err := Open(path, Options{Sample: 1})
	require.NoError(t, err)
	for i := range 3 {
		l.Write(record(i))
	}
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	rest, ok := strings.CutPrefix(string(text), "before\n")
	require.True(t, ok, "appended")
	assert.Equal(t, "r0 r1 r2 ", ids(t, rest))

	l.Write(record(3))
	assert.Equal(t, Stats{Written: 3, Dropped: 1}, l.Stats())
}

func TestLogNil(t *testing.T) {
	var l *Log
	l.Write(record(1))
	l.Reopen()
	assert.Zero(t, l.Stats())
	assert.NoError(t, l.Close())
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	f := func(dest string, o Options, text string) {
		t.Helper()
		l, err := Open(dest, o)
		require.ErrorContains(t, err, "cannot open the access log: ")
		require.ErrorContains(t, err, text)
		assert.Nil(t, l)
	}
	f("", Options{}, "no file is named")
	f(dir, Options{}, "neither a file nor a device")
	f(filepath.Join(dir, "none", "a.log"), Options{}, "no such file")
	f("stdout", Options{Sample: -0.1}, "not from 0 to 1")
	f("stdout", Options{Sample: 1.1}, "not from 0 to 1")
	f("stdout", Options{MaxSize: -1}, "below zero")
	f("stdout", Options{Keep: -1}, "below zero")
}

func TestLogSample(t *testing.T) {
	none, some, more, all := newLog(Options{}, 2), newLog(Options{Sample: 0.1}, 2), newLog(Options{Sample: 0.5}, 2), newLog(Options{Sample: 1}, 2)
	again := newLog(Options{Sample: 0.1}, 2)
	count := [3]int{}
	for i := range 10_000 {
		r := record(i)
		require.False(t, none.sampled(r))
		require.True(t, all.sampled(r))
		require.Equal(t, some.sampled(r), again.sampled(r), "it goes by the id")
		if some.sampled(r) {
			require.True(t, more.sampled(r), "a larger sample holds the smaller one")
			count[1]++
		}
		if more.sampled(r) {
			count[2]++
		}
	}
	assert.InDelta(t, 1000, count[1], 150)
	assert.InDelta(t, 5000, count[2], 250)

	f := func(want bool, change func(r *Record)) {
		t.Helper()
		r := record(1)
		change(r)
		assert.Equal(t, want, none.sampled(r))
	}
	f(false, func(r *Record) { r.Status = 404 })
	f(false, func(r *Record) { r.Status, r.Left = 499, true })
	f(true, func(r *Record) { r.Status = 500 })
	f(true, func(r *Record) { r.Status = 503 })
	f(true, func(r *Record) { r.Cut = true })
}

// TestLogWakes writes after the writer has gone to sleep, and while it naps.
func TestLogWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{room: plenty}
		l := start(&output{w: out}, Options{Sample: 1}, 8)
		want := ""
		for i := range 20 {
			synctest.Wait()
			l.Write(record(i))
			want += fmt.Sprintf("r%d ", i)
			time.Sleep(time.Duration(i%4) * nap / 2) // by the bubble's clock
			synctest.Wait()
			if i%4 == 3 {
				assert.Equal(t, want, ids(t, out.text()))
			}
		}
		require.NoError(t, l.Close())
		assert.Equal(t, want, ids(t, out.text()))
	})
}

// TestLogStuck has a destination that does not return: nobody else waits.
func TestLogStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{room: plenty, gate: make(chan struct{})}
		l := start(&output{w: out}, Options{Sample: 1}, 4)
		l.Write(record(0))
		synctest.Wait()
		for i := 1; i <= 10; i++ {
			l.Write(record(i))
		}
		assert.Equal(t, Stats{Dropped: 6}, l.Stats())
		began := time.Now()
		require.EqualError(t, l.Close(), "cannot flush the access log: its destination took nothing for 3s")
		assert.Equal(t, closeLimit, time.Since(began))
		close(out.gate)
		require.NoError(t, l.Close())
		assert.Equal(t, "r0 r1 r2 r3 r4 ", ids(t, out.text()))
		assert.Equal(t, Stats{Written: 5, Dropped: 6}, l.Stats())
	})
}

// TestLogDiskFull stops in the middle of a line and goes on there.
func TestLogDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		out := &sink{room: 10}
		l := start(&output{w: out}, Options{Sample: 1, Log: slog.New(slog.NewTextHandler(&told, nil))}, 4)
		l.Write(record(0))
		time.Sleep(10*retryEvery + retryEvery/2)
		for i := 1; i <= 6; i++ {
			l.Write(record(i))
		}
		synctest.Wait()
		assert.Equal(t, Stats{Dropped: 2, Failures: 11}, l.Stats(), "a try each second")
		assert.Len(t, out.text(), 10)
		out.make(100)
		time.Sleep(retryEvery)
		out.make(plenty)
		time.Sleep(retryEvery)
		synctest.Wait()
		assert.Equal(t, "r0 r1 r2 r3 r4 ", ids(t, out.text()))
		require.NoError(t, l.Close())
		assert.Equal(t, Stats{Written: 5, Dropped: 2, Failures: 12}, l.Stats())
		assert.Equal(t, 1, strings.Count(told.String(), `level=ERROR msg="cannot write the access log" error="no space left on device"`), told.String())
		assert.Equal(t, 1, strings.Count(told.String(), `msg="can write the access log again" lines_dropped=2`), told.String())
		assert.Equal(t, 2, strings.Count(told.String(), "\n"))
	})
}

func TestLogDiskFullToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := len(appendLine(nil, record(0)))
		out := &sink{room: line + 5}
		l := start(&output{w: out}, Options{Sample: 1}, 8)
		for i := range 4 {
			l.Write(record(i))
		}
		synctest.Wait()
		l.Write(record(4))
		require.EqualError(t, l.Close(), "cannot write the last 4 lines of the access log")
		assert.EqualValues(t, 4, l.Stats().Dropped)
	})
}

// TestLogMany has all that can go on at once go on at once.
func TestLogMany(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l, err := Open(path, Options{Sample: 1, MaxSize: 64 << 10, Keep: 1000})
	require.NoError(t, err)
	const writers, each = 8, 1000
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				l.Write(record(w*each + i))
				if i%100 == 0 {
					l.Reopen()
					l.Stats()
				}
			}
		})
	}
	writing.Wait()
	require.NoError(t, l.Close())
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), 64<<10)
		for id := range strings.FieldsSeq(ids(t, string(text))) {
			require.False(t, seen[id], id)
			seen[id] = true
		}
	}
	s := l.Stats()
	assert.EqualValues(t, len(seen), s.Written)
	assert.EqualValues(t, writers*each, s.Written+s.Dropped)
	assert.Zero(t, s.Failures)
}

func TestLogWriteAllocates(t *testing.T) {
	l := start(&output{w: &sink{room: plenty}}, Options{Sample: 0.5}, 1<<10)
	r := full()
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, func() { l.Write(r) }), 0.0)
	require.NoError(t, l.Close())
}

// BenchmarkWrite takes what a request pays, and what the whole record costs.
func BenchmarkWrite(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer null.Close()
	r := full()
	r.Status, r.Cut = 200, false
	f := func(name string, o Options, drainOutside bool) {
		b.Run(name, func(b *testing.B) {
			l := newLog(o, room)
			w := newWriter(l, &output{w: null})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.Write(r)
				if n++; n == room {
					if n = 0; drainOutside {
						b.StopTimer()
					}
					w.drain()
					if drainOutside {
						b.StartTimer()
					}
				}
			}
			require.Zero(b, l.Stats().Dropped)
		})
	}
	f("request", Options{Sample: 1}, true)
	f("whole", Options{Sample: 1}, false)
	f("sampled out", Options{Sample: 0.0001}, true)
}
