package accesslog

// writer: the goroutine that encodes and writes.

import (
	"bytes"
	"fmt"
	"time"
)

const (
	piece      = 32 << 10             // lines are written together up to about this
	nap        = 5 * time.Millisecond // while requests come, lines gather for so long
	retryEvery = time.Second          // a destination that failed
)

// writer is what the goroutine of a Log holds.
type writer struct {
	log   *Log
	out   *output
	timer *time.Timer
	buf   []byte // whole lines
	sent  int    // bytes of buf that are written
	lines int    // in buf

	rotateAt time.Time // not before
	write    trouble
	rotate   trouble
	reopen   trouble
}

// trouble is something that does not work at the moment.
type trouble struct{ told bool }

func newWriter(l *Log, out *output) *writer {
	return &writer{log: l, out: out, timer: time.NewTimer(nap), buf: make([]byte, 0, piece+piece/4)}
}

// run writes until the log is closed.
func (w *writer) run() {
	l := w.log
	defer close(l.done)
	for {
		closing := l.closing.Load() // first, so that the last round sees all that came before
		if l.reopen.Swap(false) {
			w.renew()
		}
		took := w.drain()
		if closing {
			l.err = w.end()
			return
		}
		w.pause(took)
	}
}

// drain writes what is in the ring, and reports whether there was anything. It
// stops early when the destination fails.
func (w *writer) drain() (took bool) {
	records := w.log.records
	for {
		r := records.Next()
		if r == nil {
			w.flush()
			return took
		}
		if len(w.buf) >= piece && !w.flush() {
			return took
		}
		w.buf = appendLine(w.buf, r)
		w.lines++
		took = true
		records.Done()
	}
}

// flush writes what is in buf, and reports whether that is done.
func (w *writer) flush() bool {
	if len(w.buf) == 0 {
		return true
	}
	if w.sent == 0 && w.out.full(len(w.buf)) {
		w.turn()
	}
	for w.sent < len(w.buf) {
		n, err := w.out.Write(w.buf[w.sent:])
		w.sent += n
		if err != nil {
			w.report(&w.write, "write", err)
			return false
		}
	}
	w.report(&w.write, "write", nil)
	w.log.written.Add(uint64(w.lines))
	w.buf, w.sent, w.lines = w.buf[:0], 0, 0
	return true
}

// turn rotates the file, if it did not just fail to.
func (w *writer) turn() {
	now := time.Now()
	if now.Before(w.rotateAt) {
		return
	}
	err := w.out.Rotate()
	if err != nil {
		w.rotateAt = now.Add(retryEvery)
	}
	w.report(&w.rotate, "rotate", err)
}

// renew opens the file anew. A line that is written in part is written whole to
// another one.
func (w *writer) renew() {
	other, err := w.out.Reopen()
	if other {
		w.sent = bytes.LastIndexByte(w.buf[:w.sent], '\n') + 1
	}
	w.report(&w.reopen, "reopen", err)
}

// report counts an attempt that failed. The operator is told of the first, and
// when it works again.
func (w *writer) report(t *trouble, verb string, err error) {
	if err != nil {
		w.log.failures.Add(1)
	}
	if failing := err != nil; t.told != failing {
		t.told = failing
		w.tell(verb, err)
	}
}

func (w *writer) tell(verb string, err error) {
	switch l := w.log.operator; {
	case l == nil:
	case err != nil:
		l.Error("cannot "+verb+" the access log", "error", err)
	default:
		l.Info("can "+verb+" the access log again", "lines_dropped", w.log.Stats().Dropped)
	}
}

// pause waits for something to do: a short while when there was something, or
// until it is called when there was not.
func (w *writer) pause(took bool) {
	l := w.log
	switch {
	case len(w.buf) > 0: // the destination failed
		w.timer.Reset(retryEvery)
	case took:
		w.timer.Reset(nap)
	default:
		l.asleep.Store(true)
		if l.records.Next() == nil && !l.closing.Load() && !l.reopen.Load() {
			<-l.wake
		}
		l.asleep.Store(false)
		return
	}
	select {
	case <-l.wake:
	case <-w.timer.C:
	}
}

// end closes the destination, and counts as lost what it did not take.
func (w *writer) end() error {
	lost := w.lines - bytes.Count(w.buf[:w.sent], []byte("\n"))
	for records := w.log.records; records.Next() != nil; records.Done() {
		lost++
	}
	err := w.out.Close()
	w.timer.Stop()
	if lost > 0 {
		w.log.lost.Add(uint64(lost))
		return fmt.Errorf("cannot write the last %d lines of the access log", lost)
	}
	return err
}
