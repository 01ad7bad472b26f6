// Several addresses of one host: which goes first, and who wins when they are
// tried beside each other (RFC 8305, "Happy Eyeballs").

package backends

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	raceDelay = 250 * time.Millisecond // before the next address is tried too; RFC 8305 §5
	avoidFor  = 30 * time.Second       // an address that failed goes last for so long
)

// order returns a copy of addrs: the first one moves on with each dial, and
// those to avoid come last, so that one dead address of several does not delay
// every n-th dial. The two families keep alternating.
func (d *Dialer) order(addrs []netip.Addr, now time.Time) []netip.Addr {
	first := int((d.turn.Add(1) - 1) % uint32(len(addrs)))
	good := make([]netip.Addr, 0, len(addrs))
	var last []netip.Addr
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range addrs {
		addr := addrs[(first+i)%len(addrs)]
		if until, marked := d.avoid[addr]; !marked {
			good = append(good, addr)
		} else if now.Before(until) {
			last = append(last, addr)
		} else {
			delete(d.avoid, addr)
			good = append(good, addr)
		}
	}
	return append(good, last...)
}

func (d *Dialer) markBad(addr netip.Addr, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Marks of addresses that left the DNS are never looked up again.
	if d.avoid == nil || len(d.avoid) > 2*maxAddresses {
		d.avoid = make(map[netip.Addr]time.Time)
	}
	d.avoid[addr] = now.Add(avoidFor)
}

func (d *Dialer) markGood(addr netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.avoid, addr)
}

// try is one address's part in a race.
type try struct {
	place int // in the order of starting
	conn  net.Conn
	err   error
}

// race tries the addresses in their order, the next one after raceDelay or as
// soon as the one before has failed, and returns the first connection. It waits
// for the losers, which end at once when cancelled.
func (d *Dialer) race(ctx context.Context, addrs []netip.Addr) (net.Conn, error) {
	tryCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(raceDelay)
	defer timer.Stop()
	tries := make(chan try, len(addrs))
	started, pending := 0, 0
	start := func() {
		if started == len(addrs) || ctx.Err() != nil {
			return
		}
		place := started
		started, pending = started+1, pending+1
		timer.Reset(raceDelay)
		go func() {
			conn, err := d.connect(tryCtx, netip.AddrPortFrom(addrs[place], d.port))
			tries <- try{place, conn, err}
		}()
	}

	var won try
	var failure error
	failures := 0
	for start(); won.conn == nil && pending > 0; {
		select {
		case <-timer.C:
			start()
		case t := <-tries:
			pending--
			if t.err == nil && ctx.Err() != nil {
				_ = t.conn.Close()
				t.err = ctx.Err()
			}
			if t.err == nil {
				won = t
				break
			}
			if ctx.Err() == nil {
				d.markBad(addrs[t.place], time.Now())
			}
			if failures++; failure == nil {
				failure = t.err
			}
			start()
		}
	}
	cancel()
	if won.conn == nil {
		return nil, allFailed(ctx, failure, failures)
	}
	d.markGood(addrs[won.place])
	for range pending {
		d.lost(<-tries, won, addrs)
	}
	return won.conn, nil
}

// lost cleans up after a try that came too late. One that had started before
// the winner had more than raceDelay and is known to be slow.
func (d *Dialer) lost(t, won try, addrs []netip.Addr) {
	if t.conn != nil {
		_ = t.conn.Close()
		return
	}
	if t.place < won.place {
		d.markBad(addrs[t.place], time.Now())
	}
}

// allFailed is the error of a race nobody won: the first failure, which is that
// of the address most wanted, or why none was tried.
func allFailed(ctx context.Context, failure error, failures int) error {
	switch {
	case failure == nil:
		return ctx.Err()
	case failures > 1:
		return fmt.Errorf("%w (and %d more addresses failed)", failure, failures-1)
	}
	return failure
}
