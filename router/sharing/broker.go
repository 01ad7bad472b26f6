package sharing

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
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
	homes           homes
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

// Ask makes exchanges for leases that lack something, or waits for those that are
// being made: all at once, those of one home in one operation. It takes little longer
// than the client's timeout; a lease that was not answered is alone afterwards.
func (b *Broker) Ask(list []admission.Shortage) {
	k := b.link.Load()
	if k == nil {
		return
	}
	var others sync.WaitGroup
	for len(list) > 0 {
		n := 1
		for i := range list { // those of the first one's home to the front
			if i > 0 && list[i].Lease.Home() == list[0].Lease.Home() {
				list[n], list[i] = list[i], list[n]
				n++
			}
		}
		some := list[:n]
		if list = list[n:]; len(list) == 0 {
			k.ask(some)
		} else {
			others.Go(func() { k.ask(some) })
		}
	}
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
		homes: homes{of: make(map[string]*home)}, work: make(chan *admission.Lease), stop: make(chan struct{}),
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
	for {
		select {
		case l := <-k.commons.Stirred():
			k.homes.add(l)
		case now := <-ticker.C:
			held, alone := k.homes.visit(now, k.work)
			k.held.Store(held)
			k.alone.Store(alone)
		case <-k.stop:
			close(k.work)
			talking.Wait()
			k.part()
			return
		}
	}
}

// talk makes exchanges.
func (k *link) talk() {
	for l := range k.work {
		k.exchange(l, round{})
		k.homes.talked(l)
	}
}

// part hands all leases back, as far as that goes quickly.
func (k *link) part() {
	end, leases := time.Now().Add(parting), k.homes.all()
	for len(leases) > 0 && !k.client.Down() && time.Now().Before(end) {
		done := k.exchange(leases[0], round{quit: true})
		leases = slices.DeleteFunc(leases, func(l *admission.Lease) bool { return slices.Contains(done, l) })
	}
}

func (k *link) close() {
	close(k.stop)
	k.running.Wait()
	k.client.Close()
}
