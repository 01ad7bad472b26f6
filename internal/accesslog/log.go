package accesslog

// Log: the side of the access log that the request path sees.

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/helixflow/helixflow/internal/ring"
)

// room is how many lines wait while the destination does not take them: with the
// writer's naps more than a million a second pass.
const room = 8 << 10

// closeLimit is how long Close waits for a destination that takes nothing.
const closeLimit = 3 * time.Second

// Options say what is written and how files are kept.
type Options struct {
	// Sample is the share of requests to write, from 0 to 1. It goes by the
	// request's id, so that all routers and logs agree on one. Requests that were
	// cut or answered with a status of 500 or more are written always.
	Sample float64

	// Hashes says that records are to have Hashes.
	Hashes bool

	MaxSize int64 // bytes of a file before it is rotated; 0: never
	Keep    int   // rotated files kept: .1, the newest, to .Keep; 0: none

	// Log is told, once, when writing begins to fail, and when it works again; nil
	// for nobody.
	Log *slog.Logger
}

// Stats are counts since Open.
type Stats struct {
	Written  uint64 // lines
	Dropped  uint64 // lines that had no room, came after Close or could not be written by then
	Failures uint64 // attempts to write, rotate or reopen that failed
}

// Log is an open access log. A nil Log takes records and does nothing.
type Log struct {
	records   *ring.Ring[Record]
	threshold uint64 // hashes below it are sampled
	all       bool   // sampled or not
	hashes    bool
	operator  *slog.Logger

	wake    chan struct{}
	asleep  atomic.Bool // the writer waits for wake without a timer
	reopen  atomic.Bool
	closing atomic.Bool
	done    chan struct{} // closed when the writer has ended
	err     error         // what it ended with; read behind done

	written, lost, failures atomic.Uint64
}

// Open opens the access log at dest: a file, made if need be, or "stdout" or
// "stderr".
func Open(dest string, o Options) (*Log, error) {
	switch {
	case !(o.Sample >= 0 && o.Sample <= 1):
		return nil, fmt.Errorf("cannot open the access log: a sample of %v is not from 0 to 1", o.Sample)
	case o.MaxSize < 0 || o.Keep < 0:
		return nil, errors.New("cannot open the access log: a size or a number of files is below zero")
	}
	out, err := openOutput(dest, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open the access log: %w", err)
	}
	return start(out, o, room), nil
}

// start starts the writer; it owns out.
func start(out *output, o Options, room int) *Log {
	l := newLog(o, room)
	go newWriter(l, out).run()
	return l
}

func newLog(o Options, room int) *Log {
	l := &Log{
		records:  ring.New[Record](room),
		all:      o.Sample >= 1,
		hashes:   o.Hashes,
		operator: o.Log,
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	if !l.all {
		l.threshold = uint64(math.Ldexp(o.Sample, 64))
	}
	return l
}

// Write logs *r if it is sampled. It never waits and does not allocate; a Record
// for which there is no room is dropped and counted.
func (l *Log) Write(r *Record) {
	if l == nil || !l.sampled(r) {
		return
	}
	if l.closing.Load() {
		l.lost.Add(1)
		return
	}
	if l.records.Push(r) && l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.rouse()
	}
}

// Hashes reports whether records are to have Hashes.
func (l *Log) Hashes() bool { return l != nil && l.hashes }

func (l *Log) sampled(r *Record) bool {
	return l.all || r.Status >= 500 || r.Cut || xxhash.Sum64(r.ID.bytes[:r.ID.n]) < l.threshold
}

// rouse makes the writer look around.
func (l *Log) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Reopen asks for the file to be opened anew by its name, for those who have
// renamed it, and returns at once. If that fails the old one stays in use.
func (l *Log) Reopen() {
	if l == nil {
		return
	}
	l.reopen.Store(true)
	l.rouse()
}

// Stats returns the counts so far.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	return Stats{Written: l.written.Load(), Dropped: l.records.Dropped() + l.lost.Load(), Failures: l.failures.Load()}
}

var errStuck = fmt.Errorf("cannot flush the access log: its destination took nothing for %v", closeLimit)

// Close writes what was logged before it, closes the file and waits for both, a
// few seconds if the destination is stuck. A second Close does the same.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.closing.Store(true)
	l.rouse()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-l.done:
		return l.err
	case <-limit.C:
		return errStuck
	}
}
