package backends

// Signals: one goroutine per endpoint that reads what its engine tells of itself.

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/backends/signals"
	"github.com/helixflow/helixflow/internal/secret"
)

const (
	watchTimeout = 2 * time.Second        // for one answer, whole
	watchSlow    = 100 * time.Millisecond // an answer that takes longer costs the engine too much
	watchBackoff = 10 * time.Second       // at most, between reads that are slow or fail
	watchFirst   = time.Second            // the first one comes within this time
)

// Watching is what is read of what an engine tells, and how.
type Watching struct {
	Metrics *signals.Preset // nil: none
	Path    string          // of the metrics; empty is the preset's
	Port    string          // of the metrics; empty is the backend's own
	Every   time.Duration   // between two reads
	Models  ModelLists      // which lists of models are read
	Props   bool            // llama.cpp's /props says how many slots it has
	Header  secret.Text     // lines that each read carries
}

// idle reports whether there is nothing to read.
func (w *Watching) idle() bool { return w.Metrics == nil && w.Models == (ModelLists{}) && !w.Props }

// watcher reads the signals of one endpoint. It sleeps until configure.
type watcher struct {
	ep      *Endpoint
	changed chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}

	told   atomic.Pointer[told]
	models atomic.Pointer[modelList]

	adapters   atomic.Pointer[adapterList]
	adaptersAt atomic.Int64 // when they were told last, as a tick

	counts [numReads]atomic.Uint64

	listProblem atomic.Pointer[error] // why the latest list was not read; nil if it was

	// Of the goroutine alone.
	ctx       context.Context
	now       Watching // what the fields below were made for
	metrics   errand
	lists     errand
	scanner   *signals.Scanner
	feed      func([]byte) error
	ask       []byte // the request for the metrics
	wait      time.Duration
	nextRead  time.Time
	nextLists time.Time
	last      lastRead
}

// The ways a read can end, as metrics name them.
const (
	readGood = iota
	readSlow
	readFailed
	numReads
)

var readNames = [numReads]string{"ok", "slow", "failed"}

// told is how the latest read ended. Immutable.
type told struct {
	problem string // why nothing was read; empty if something was
	watched *signals.Preset
	report  signals.Report
	at      time.Time
}

// lastRead is what the next read is compared with.
type lastRead struct {
	started, worked         float64
	preempted, asked, found float64

	hasStarted, hasWorked, hasPreempted, hasCounts bool
}

func newWatcher(ep *Endpoint) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{ep: ep, ctx: ctx, cancel: cancel, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run()
	return w
}

// configure says that the pool's rules are in force, and may have changed.
func (w *watcher) configure() { wake(w.changed) }

// close ends the reading and waits for the end.
func (w *watcher) close() {
	w.cancel()
	<-w.ended
}

func (w *watcher) run() {
	defer close(w.ended)
	defer w.lay()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.changed:
			w.setUp(&w.ep.pool.rules.Load().Watching)
		case <-timer.C:
		}
		w.due()
		if next := w.next(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// setUp makes ready for what is to be read from now on. What stays the same goes
// on as it was.
func (w *watcher) setUp(now *Watching) {
	if *now == w.now {
		return
	}
	w.lay()
	w.now, w.last = *now, lastRead{}
	w.ep.Signals.Forget()
	w.told.Store(nil)
	w.forgetModels()
	w.forgetAdapters()
	if now.idle() {
		return
	}
	soon := time.Now().Add(rand.N(max(min(now.Every, watchFirst), 1)))
	w.lists = errand{dialer: w.ep.dialer, ctx: w.ctx}
	if w.now.Models != (ModelLists{}) || now.Props {
		w.nextLists = soon
	}
	if now.Metrics == nil {
		return
	}
	w.metrics = errand{dialer: w.ep.dialer, ctx: w.ctx}
	if now.Port != "" && now.Port != w.ep.dialer.address.Port {
		o := w.ep.dialer.options
		o.Address.Port = now.Port
		w.metrics = errand{dialer: NewDialer(o), own: true, ctx: w.ctx}
	}
	path := now.Path
	if path == "" {
		path = now.Metrics.Path
	}
	w.ask = w.metrics.text("GET", path, now.Header.Reveal(), nil)
	w.scanner = signals.NewScanner(now.Metrics)
	w.feed = w.scanner.Feed
	w.wait, w.nextRead = now.Every, soon
}

// lay lets go of what setUp made.
func (w *watcher) lay() {
	if w.metrics.dialer != nil {
		w.metrics.close()
	}
	if w.lists.dialer != nil {
		w.lists.close()
	}
	w.metrics, w.lists, w.scanner = errand{}, errand{}, nil
	w.nextRead, w.nextLists = time.Time{}, time.Time{}
}

// due reads what it is time for.
func (w *watcher) due() {
	now := time.Now()
	if !w.nextRead.IsZero() && !now.Before(w.nextRead) {
		w.read()
		w.nextRead = time.Now().Add(jittered(w.wait))
	}
	if !w.nextLists.IsZero() && !now.Before(w.nextLists) {
		w.nextLists = now.Add(jittered(listEvery)) // first: what is found there may want the next sooner
		w.readLists()
	}
}

// next is when something is due; zero for never.
func (w *watcher) next() time.Time {
	switch {
	case w.nextRead.IsZero():
		return w.nextLists
	case w.nextLists.IsZero():
		return w.nextRead
	default:
		return earlier(w.nextRead, w.nextLists)
	}
}

// read reads the metrics once. A read that fails leaves what was known to grow
// old; one that is slow, or fails, makes the next one come later.
func (w *watcher) read() {
	began := time.Now()
	w.scanner.Reset()
	err := w.metrics.do(w.ask, watchTimeout, w.feed)
	if err == nil && isMarkup(w.metrics.head.ContentType()) {
		err = errMarkup
	}
	if w.ctx.Err() != nil {
		return
	}
	took := time.Since(began)
	how := readGood
	switch {
	case err != nil:
		how = readFailed
	case took > watchSlow:
		how = readSlow
	}
	w.counts[how].Add(1)
	if how == readGood {
		w.wait = w.now.Every
	} else {
		w.wait = max(min(2*w.wait, watchBackoff), w.now.Every)
	}
	if err != nil {
		w.note(reasonOfErrand(err, watchTimeout), signals.Report{})
		return
	}
	report := w.scanner.Report()
	w.note("", report)
	read := time.Now()
	w.apply(&report, int64(w.ep.pool.tick(read)))
	if w.now.Metrics.TellsAdapters() {
		w.readAdapters(read)
	}
}

// note keeps how a read ended, for whoever asks. While nothing about it changes
// it allocates nothing.
func (w *watcher) note(problem string, r signals.Report) {
	old := w.told.Load()
	if old != nil && old.problem == problem && old.report.SameTroubles(&r) {
		return
	}
	w.told.Store(&told{problem: problem, watched: w.now.Metrics, report: r, at: time.Now()})
}

// isMarkup tells what certainly is no text of metrics.
func isMarkup(kind []byte) bool {
	return hasPrefixFold(kind, "text/html") || hasPrefixFold(kind, "application/json")
}

func hasPrefixFold(p []byte, prefix string) bool {
	if len(p) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := p[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// apply hands what was read to the balancer. What the text does not tell, or not
// in a way that makes sense, is forgotten.
func (w *watcher) apply(r *signals.Report, now int64) {
	s := &w.ep.Signals
	if w.restarted(r) {
		w.last = lastRead{}
		s.Restarted()
		w.forgetAdapters()
		if !w.nextLists.IsZero() {
			w.nextLists = time.Now() // it may have come back with other models
		}
	}
	s.SetRunning(orNaN(r, signals.Running), now)
	s.SetWaiting(orNaN(r, signals.Waiting), now)
	s.SetKV(orNaN(r, signals.KVUse), now)
	p := w.now.Metrics
	if p.Tells(signals.Slots) {
		n, _ := r.Get(signals.Slots)
		s.SetSlots(int32(n))
	}
	if p.Tells(signals.KVTokens) || p.Tells(signals.KVBlocks) {
		n, _ := r.Get(signals.KVTokens)
		s.SetKVTokens(int64(n))
	}
	w.applyCounts(r, now)
}

// applyCounts is for what only grows: what counts is by how much.
func (w *watcher) applyCounts(r *signals.Report, now int64) {
	s, last := &w.ep.Signals, &w.last
	if n, ok := r.Get(signals.Preempted); ok {
		if last.hasPreempted && n > last.preempted {
			s.AddPreemptions(uint64(n - last.preempted))
		}
		last.preempted, last.hasPreempted = n, true
	}
	asked, ok := r.Get(signals.Asked)
	found, also := r.Get(signals.Found)
	switch share, told := r.Get(signals.HitShare); {
	case told:
		s.SetPrefixHits(share, now)
	case !ok || !also:
		s.SetPrefixHits(math.NaN(), now)
		last.hasCounts = false
	case last.hasCounts && asked > last.asked && found >= last.found:
		s.SetPrefixHits(min((found-last.found)/(asked-last.asked), 1), now)
		fallthrough
	default:
		last.asked, last.found, last.hasCounts = asked, found, true
	}
	if v, ok := r.Get(signals.Started); ok {
		last.started, last.hasStarted = v, true
	}
	if v, ok := r.Get(signals.Worked); ok {
		last.worked, last.hasWorked = v, true
	}
}

// restarted reports whether the engine is not the one that was read last: it
// began later, or has done less.
func (w *watcher) restarted(r *signals.Report) bool {
	started, ok := r.Get(signals.Started)
	if ok && w.last.hasStarted && math.Abs(started-w.last.started) > 1 {
		return true
	}
	worked, ok := r.Get(signals.Worked)
	return ok && w.last.hasWorked && worked < w.last.worked
}

func orNaN(r *signals.Report, m signals.Meaning) float64 {
	if v, ok := r.Get(m); ok {
		return v
	}
	return math.NaN()
}
