package accesslog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bench is a writer that runs when the test says so, on a file in a folder.
type bench struct {
	t    *testing.T
	path string
	log  *Log
	w    *writer
}

func newBench(t *testing.T, o Options) *bench {
	o.Sample = 1
	path := filepath.Join(t.TempDir(), "access.log")
	out, err := openOutput(path, o)
	require.NoError(t, err)
	l := newLog(o, 1<<10)
	b := &bench{t, path, l, newWriter(l, out)}
	t.Cleanup(func() { _ = b.w.out.Close() })
	return b
}

// write logs the requests from and to, each in a write of its own.
func (b *bench) write(from, to int) {
	for i := from; i <= to; i++ {
		b.log.Write(record(i))
		b.w.drain()
	}
}

// holds checks which requests lie in which file, by what stands behind its name,
// and that there is no other one.
func (b *bench) holds(want map[string]string) {
	b.t.Helper()
	got := make(map[string]string)
	entries, err := os.ReadDir(filepath.Dir(b.path))
	require.NoError(b.t, err)
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(filepath.Dir(b.path), e.Name())); err == nil {
			got[strings.TrimPrefix(e.Name(), "access.log")] = ids(b.t, string(text))
		}
	}
	assert.Equal(b.t, want, got)
}

// three lines and a bit.
func threeLines() int64 { return int64(3*len(appendLine(nil, record(0))) + 20) }

func TestRotate(t *testing.T) {
	b := newBench(t, Options{MaxSize: threeLines(), Keep: 2})
	b.write(0, 2)
	b.holds(map[string]string{"": "r0 r1 r2 "})
	b.write(3, 3)
	b.holds(map[string]string{"": "r3 ", ".1": "r0 r1 r2 "})
	b.write(4, 6)
	b.holds(map[string]string{"": "r6 ", ".1": "r3 r4 r5 ", ".2": "r0 r1 r2 "})
	b.write(7, 9)
	b.holds(map[string]string{"": "r9 ", ".1": "r6 r7 r8 ", ".2": "r3 r4 r5 "})
	assert.Equal(t, Stats{Written: 10}, b.log.Stats())

	// After a restart the size is known.
	require.NoError(t, b.w.out.Close())
	out, err := openOutput(b.path, Options{MaxSize: threeLines(), Keep: 2})
	require.NoError(t, err)
	b.w = newWriter(b.log, out)
	b.write(10, 12)
	b.holds(map[string]string{"": "r12 ", ".1": "r9 r10 r11 ", ".2": "r6 r7 r8 "})
}

func TestRotateKeepsNone(t *testing.T) {
	b := newBench(t, Options{MaxSize: threeLines()})
	b.write(0, 4)
	b.holds(map[string]string{"": "r3 r4 "})
}

func TestRotateOff(t *testing.T) {
	b := newBench(t, Options{Keep: 2})
	b.write(0, 9)
	b.holds(map[string]string{"": "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 "})
}

// TestRotateLongLine has a line that no file is large enough for.
func TestRotateLongLine(t *testing.T) {
	b := newBench(t, Options{MaxSize: 10, Keep: 2})
	b.write(0, 2)
	b.holds(map[string]string{"": "r2 ", ".1": "r1 ", ".2": "r0 "})
}

// TestRotateMoved finds the file moved, or gone, when it is time to rotate.
func TestRotateMoved(t *testing.T) {
	b := newBench(t, Options{MaxSize: threeLines(), Keep: 2})
	b.write(0, 2)
	require.NoError(t, os.Rename(b.path, b.path+"-moved"))
	b.write(3, 3)
	b.holds(map[string]string{"-moved": "r0 r1 r2 ", "": "r3 "})
	b.write(4, 5)
	require.NoError(t, os.Rename(b.path, b.path+"-again"))
	require.NoError(t, os.WriteFile(b.path, nil, 0o600))
	b.write(6, 6)
	b.holds(map[string]string{"-moved": "r0 r1 r2 ", "-again": "r3 r4 r5 ", "": "r6 "})
}

// TestRotateFails goes on with the old file, and tries again a second later.
func TestRotateFails(t *testing.T) {
	b := newBench(t, Options{MaxSize: threeLines(), Keep: 1})
	require.NoError(t, os.MkdirAll(filepath.Join(b.path+".1", "in the way"), 0o700))
	b.write(0, 5)
	b.holds(map[string]string{"": "r0 r1 r2 r3 r4 r5 "})
	assert.Equal(t, Stats{Written: 6, Failures: 1}, b.log.Stats())
	require.NoError(t, os.RemoveAll(b.path+".1"))
	b.w.rotateAt = time.Now()
	b.write(6, 6)
	b.holds(map[string]string{"": "r6 ", ".1": "r0 r1 r2 r3 r4 r5 "})
}

func TestReopen(t *testing.T) {
	b := newBench(t, Options{MaxSize: threeLines(), Keep: 2})
	b.write(0, 1)
	require.NoError(t, os.Rename(b.path, b.path+"-old"))
	b.write(2, 2)
	b.w.renew()
	b.write(3, 5)
	b.holds(map[string]string{"-old": "r0 r1 r2 ", "": "r3 r4 r5 "})

	// What cannot be opened changes nothing.
	require.NoError(t, os.Rename(b.path, b.path+"-older"))
	require.NoError(t, os.Mkdir(b.path, 0o700))
	b.w.renew()
	b.w.out.max = 0
	b.write(6, 6)
	b.holds(map[string]string{"-old": "r0 r1 r2 ", "-older": "r3 r4 r5 r6 "})
	assert.Equal(t, Stats{Written: 7, Failures: 1}, b.log.Stats())
}

// TestReopenInsideALine has a line written in part: it goes whole to another file,
// and to the same one what is missing.
func TestReopenInsideALine(t *testing.T) {
	f := func(move bool, want map[string]string) {
		t.Helper()
		b := newBench(t, Options{})
		full := &halting{File: b.w.out.w.(*os.File), room: len(appendLine(nil, record(0))) + 10}
		b.w.out.w = full
		b.log.Write(record(0))
		b.log.Write(record(1))
		b.w.drain()
		require.EqualValues(t, 1, b.log.Stats().Failures)
		if move {
			require.NoError(t, os.Rename(b.path, b.path+"-old"))
		}
		b.w.renew()
		b.write(2, 2)
		if move { // the disk that was full has a torn line
			text, err := os.ReadFile(b.path + "-old")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(b.path+"-old", text[:len(text)-10], 0o600))
		}
		b.holds(want)
		assert.EqualValues(t, 3, b.log.Stats().Written)
	}
	f(true, map[string]string{"-old": "r0 ", "": "r1 r2 "})
	f(false, map[string]string{"": "r0 r1 r2 "})
}

// halting is a file on a disk with little room.
type halting struct {
	*os.File
	room int
}

func (h *halting) Write(p []byte) (int, error) {
	n := min(len(p), h.room)
	h.room -= n
	n, err := h.File.Write(p[:n])
	if err == nil && n < len(p) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// TestFullDevice is the real thing.
func TestFullDevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		return // elsewhere TestLogDiskFull has to do
	}
	l, err := Open("/dev/full", Options{Sample: 1, MaxSize: 1})
	require.NoError(t, err)
	l.Write(record(0))
	require.EqualError(t, l.Close(), "cannot write the last 1 lines of the access log")
}
