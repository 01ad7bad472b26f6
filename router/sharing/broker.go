package sharing

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/router/admission"
)

const (
	look    = 20 * time.Millisecond // from one look at all leases to the next
	beat    = time.Second           // from one word that this replica is here to the next
	talkers = 8                     // exchanges at once, besides those that requests wait for
	parting = 500 * time.Millisecond
)

// Broker makes the exchanges of a book's leases. The zero value shares nothing
// and is nobody's; make one with NewBroker.
type Broker struct {
	book *admission.Book
	mu   sync.Mutex // one Use at a time
	link atomic.Pointer[link]
}

// link is a Redis in use.
type link struct {
	client          *redisx.Client
	commons         *admission.Commons
	me              string // names this replica there
	lease, replicas *redisx.Script
	held            atomic.Int64 // leases that are looked after
	alone           atomic.Int64 // of them
	work            chan *admission.Lease
	stop            chan struct{}
	running         sync.WaitGroup
}

// NewBroker returns the broker of a book. It shares nothing before Use.
func NewBroker(book *admission.Book) *Broker { return &Broker{book: book} }

// Use shares the book's limits through a Redis from now on, and no longer through
// the one before, which is closed; nil shares nothing.
func (b *Broker) Use(client *redisx.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.link.Load()
	if client == nil {
		b.book.Share(nil)
		b.link.Store(nil)
	} else {
		k := newLink(client)
		b.link.Store(k)
		b.book.Share(k.commons)
	}
	if old != nil {
		old.close()
	}
}

// Close hands every lease back.
func (b *Broker) Close() { b.Use(nil) }

// Client is the one in use; nil: none.
func (b *Broker) Client() *redisx.Client {
	if k := b.link.Load(); k != nil {
		return k.client
	}
	return nil
}

// Ask makes an exchange for a lease that lacks amount, or waits for the one that is
// being made. It takes no longer than the client's timeout; a lease that was not
// answered is alone afterwards.
func (b *Broker) Ask(l *admission.Lease, amount int64) {
	k := b.link.Load()
	if k == nil {
		return
	}
	l.Want(amount)
	defer l.Want(-amount)
	last := l.Asked()
	l.Exchanging.Lock()
	defer l.Exchanging.Unlock()
	if l.Alone() || l.Asked() != last || !k.commons.Owns(l) { // what there is to know is known
		return
	}
	k.exchange(l, amount, false)
	l.Stir()
}

// AskAll is Ask for several leases at once.
func (b *Broker) AskAll(list []admission.Shortage) {
	if len(list) == 0 {
		return
	}
	var others sync.WaitGroup
	for _, s := range list[1:] {
		others.Go(func() { b.Ask(s.Lease, s.Amount) })
	}
	b.Ask(list[0].Lease, list[0].Amount)
	others.Wait()
}

// Status is how the sharing stands.
type Status struct {
	Replicas int64 // that there are, this one included; 0: nothing is shared
	Leases   int64 // that this one holds
	Alone    int64 // of them, for which a share of the limit counts
	Redis    redisx.Stats
}

// Status returns how the sharing stands.
func (b *Broker) Status() Status {
	k := b.link.Load()
	if k == nil {
		return Status{}
	}
	return Status{Replicas: k.commons.Replicas(), Leases: k.held.Load(), Alone: k.alone.Load(), Redis: k.client.Stats()}
}

func newLink(client *redisx.Client) *link {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	k := &link{
		client: client, commons: admission.NewCommons(), me: "r-" + hex.EncodeToString(id),
		work: make(chan *admission.Lease), stop: make(chan struct{}),
	}
	k.lease, k.replicas = newScripts()
	k.running.Go(k.keep)
	k.running.Go(k.stay)
	return k
}

// stay tells Redis that this replica is here, until it leaves.
func (k *link) stay() {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		k.count("stay")
		select {
		case <-ticker.C:
		case <-k.stop:
			k.count("leave")
			return
		}
	}
}

// keep looks after the leases that hold or owe something.
func (k *link) keep() {
	var talking sync.WaitGroup
	for range talkers {
		talking.Go(k.talk)
	}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var leases []*admission.Lease
	for {
		select {
		case l := <-k.commons.Stirred():
			leases = append(leases, l)
		case now := <-ticker.C:
			leases = k.visit(leases, now)
		case <-k.stop:
			close(k.work)
			talking.Wait()
			k.part(leases)
			return
		}
	}
}

// visit does what the leases want, and returns those that are still to be looked
// after.
func (k *link) visit(leases []*admission.Lease, now time.Time) []*admission.Lease {
	kept, alone := leases[:0], int64(0)
	for _, l := range leases {
		switch task := l.Task(now); task {
		case admission.Forget:
			l.Rest(now)
			continue
		case admission.Renew, admission.Quit:
			select {
			case k.work <- l:
			default: // all are talking; at the next look
			}
		}
		if l.Alone() {
			alone++
		}
		kept = append(kept, l)
	}
	clear(leases[len(kept):])
	k.held.Store(int64(len(kept)))
	k.alone.Store(alone)
	return kept
}

// talk makes exchanges.
func (k *link) talk() {
	for l := range k.work {
		if task := l.Task(time.Now()); task == admission.Renew || task == admission.Quit {
			l.Exchanging.Lock()
			k.exchange(l, 0, task == admission.Quit)
			l.Exchanging.Unlock()
		}
	}
}

// part hands all leases back, as far as that goes quickly.
func (k *link) part(leases []*admission.Lease) {
	end := time.Now().Add(parting)
	for _, l := range leases {
		if k.client.Down() || time.Now().After(end) {
			return
		}
		l.Exchanging.Lock()
		k.exchange(l, 0, true)
		l.Exchanging.Unlock()
	}
}

func (k *link) close() {
	close(k.stop)
	k.running.Wait()
	k.client.Close()
}
