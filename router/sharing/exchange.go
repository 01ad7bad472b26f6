package sharing

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/helixflow/helixflow/router/admission"
)

// round is what an exchange is made for, besides what the leases want anyway.
type round struct {
	short []shortage // what requests wait for
	quit  bool       // all is handed back
}

// shortage is what a request lacks, and the last exchange that it knows of.
type shortage struct {
	admission.Shortage
	last int64
}

// ask makes exchanges until all leases, of one home, have been in one since.
func (k *link) ask(list []admission.Shortage) {
	r := round{short: make([]shortage, len(list))}
	for i, s := range list {
		s.Lease.Want(s.Amount)
		defer s.Lease.Want(-s.Amount)
		r.short[i] = shortage{s, s.Lease.Asked()}
	}
	for _, s := range list {
		k.exchange(s.Lease, r)
		s.Lease.Stir()
	}
}

// exchange makes one exchange for a lease, and in the same operation for others of
// its home that nobody has in one. It returns those that have been in it, the first
// one always.
func (k *link) exchange(first *admission.Lease, r round) []*admission.Lease {
	first.Exchanging.Lock()
	now := time.Now()
	b := batch{leases: []*admission.Lease{first}}
	defer b.release()
	bid, ok := k.bid(first, &r, now)
	if !ok {
		return b.leases
	}
	b.bids = append(b.bids, bid)
	join := func(l *admission.Lease) {
		if len(b.bids) == together || !l.Exchanging.TryLock() {
			return
		}
		if bid, ok := k.bid(l, &r, now); ok {
			b.leases, b.bids = append(b.leases, l), append(b.bids, bid)
		} else {
			l.Exchanging.Unlock()
		}
	}
	for _, s := range r.short {
		join(s.Lease)
	}
	for _, l := range k.homes.neighbours(first) {
		join(l)
	}
	k.send(&b)
	return b.leases
}

// bid is that of a lease, whose Exchanging the caller holds; there is none where
// there is nothing to be said.
func (k *link) bid(l *admission.Lease, r *round, now time.Time) (b admission.Bid, ok bool) {
	if i := slices.IndexFunc(r.short, func(s shortage) bool { return s.Lease == l }); i >= 0 {
		if l.Alone() || l.Asked() != r.short[i].last || !k.commons.Owns(l) { // what there is to know is known
			return b, false
		}
		return l.Bid(now, r.short[i].Amount, false)
	}
	task := l.Along(now)
	if r.quit || task == admission.Quit {
		return l.Bid(now, 0, true)
	}
	if task == admission.Renew {
		return l.Bid(now, 0, false)
	}
	return b, false
}

// batch are leases that are exchanged together: their Exchanging is held.
type batch struct {
	leases []*admission.Lease
	bids   []admission.Bid
}

func (b *batch) release() {
	for _, l := range b.leases {
		l.Exchanging.Unlock()
	}
}

// send has Redis answer the bids of a batch, or ends them as not answered.
func (k *link) send(b *batch) {
	keys, args := make([]string, len(b.bids)), make([]any, 0, len(b.bids)*perBid)
	for i, l := range b.leases {
		keys[i] = k.client.Key(l.Name())
		args = appendArguments(args, k.me+"-"+strconv.FormatUint(l.Serial(), 10), &b.bids[i])
	}
	granted := 0
	_ = k.client.Run(context.Background(), k.lease, keys, func(n []int64) bool {
		if len(n) != perGrant*len(b.bids) {
			return false
		}
		for granted < len(b.bids) {
			g := n[perGrant*granted:]
			if !b.leases[granted].Grant(&b.bids[granted], admission.Grant{Total: g[0], Level: g[1], Leased: g[2], Replicas: g[3], Born: g[4]}) {
				return false
			}
			granted++
		}
		return true
	}, args...)
	for i := granted; i < len(b.bids); i++ {
		b.leases[i].Fail(&b.bids[i])
	}
}
