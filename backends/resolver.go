// The addresses of one host, kept fresh in the background, so that a slow or
// dead DNS server is never on the path of a request.

package backends

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// An address that changed is used at most refreshEvery, its jitter and
// lookupTimeout later, which together stay below 30 s. lookupTimeout leaves
// room for the two servers and two tries of a plain resolv.conf.
const (
	refreshEvery  = 10 * time.Second
	refreshJitter = time.Second // either way, so that hosts do not ask in step
	retryFirst    = time.Second // after a failure; doubles up to refreshEvery
	lookupTimeout = 15 * time.Second
	maxAddresses  = 64 // of one answer; more would only prolong a dial
)

var errNoAddress = errors.New("the answer has no usable address")

// LookupFunc asks for the addresses of a host. It must return soon after ctx
// ends. Its order is kept, as it may be that of RFC 6724.
type LookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// lookupSystem is the LookupFunc of a Resolver that is given none.
func lookupSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Resolver keeps the addresses of one host. It owns one goroutine, or none for
// a literal address, which ends in Close. All methods are safe for concurrent
// use.
type Resolver struct {
	host   string
	lookup LookupFunc

	list   atomic.Pointer[[]netip.Addr] // the last good answer
	err    atomic.Pointer[error]        // why the latest lookup failed; nil after a good one
	first  chan struct{}                // closed once the first lookup has ended, well or not
	cancel context.CancelFunc
	ended  chan struct{} // closed when the goroutine is gone
}

// NewResolver starts to resolve host at once, so that the first request finds
// an answer. A nil lookup asks the operating system.
func NewResolver(host string, lookup LookupFunc) *Resolver {
	if lookup == nil {
		lookup = lookupSystem
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Resolver{host: host, lookup: lookup, first: make(chan struct{}), cancel: cancel, ended: make(chan struct{})}
	if addr, err := netip.ParseAddr(host); err == nil {
		r.list.Store(&[]netip.Addr{addr.Unmap()})
		close(r.first)
		close(r.ended)
		return r
	}
	go r.refresh(ctx)
	return r
}

func (r *Resolver) refresh(ctx context.Context) {
	defer close(r.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := retryFirst
	for answered := false; ; answered = true {
		wait := refreshEvery - refreshJitter + rand.N(2*refreshJitter)
		if r.ask(ctx) {
			retry = retryFirst
		} else {
			wait = min(retry, wait)
			retry *= 2
			retry = min(retry, refreshEvery)
		}
		if !answered {
			close(r.first)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask looks the host up once. Whatever is not a usable answer leaves the list
// as it was: an empty DNS answer is more often an outage than a wish.
func (r *Resolver) ask(ctx context.Context) (good bool) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := r.lookup(ctx, r.host)
	if err == nil {
		if list := usable(found); len(list) > 0 {
			r.list.Store(&list)
			r.err.Store(nil)
			return true
		}
		err = errNoAddress
	}
	err = fmt.Errorf("cannot look up %q: %w", r.host, err)
	r.err.Store(&err)
	return false
}

// usable returns a copy of what may be dialed, families interleaved from that
// of the first address on (RFC 8305 §4, First Address Family Count 1). An
// unspecified address, as blocking DNS servers answer, would dial this machine.
func usable(found []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	seen := make(map[netip.Addr]bool, len(found))
	for _, addr := range found {
		addr = addr.Unmap()
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || seen[addr] {
			continue
		}
		seen[addr] = true
		if len(first) == 0 || addr.Is4() == first[0].Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	list := make([]netip.Addr, 0, len(first)+len(second))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			list = append(list, first[i])
		}
		if i < len(second) {
			list = append(list, second[i])
		}
	}
	return list[:min(len(list), maxAddresses)]
}

// Addrs returns the last good list at once and without allocating; it is shared
// and must not be changed. Only before the first answer it waits for that, or
// for ctx. Where no lookup ever went well, the error is that of the latest.
func (r *Resolver) Addrs(ctx context.Context) ([]netip.Addr, error) {
	if list := r.list.Load(); list != nil {
		return *list, nil
	}
	select {
	case <-r.first:
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot look up %q in time: %w", r.host, ctx.Err())
	}
	err := r.Err() // before the list: a good answer stores the list first
	if list := r.list.Load(); list != nil {
		return *list, nil
	}
	return nil, err
}

// Err returns why the latest lookup failed, or nil if it went well. The last
// good list is in use all the same.
func (r *Resolver) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close stops the refreshing and waits for its end. What was known stays known.
// It may be called more than once.
func (r *Resolver) Close() {
	r.cancel()
	<-r.ended
}
