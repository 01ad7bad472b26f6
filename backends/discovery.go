package backends

// Discovery: the backends that DNS names, asked again and again, with the last
// good answer kept.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/helixflow/helixflow/balancer"
)

// Found is one backend that was found.
type Found struct {
	URL    string
	Weight int // 1 to 1000
}

// Discovered is what is known of a pool's backends at one moment. The list is
// shared and must not be changed.
type Discovered struct {
	List     []Found   // of the last good answers, by URL
	Err      error     // why the latest answer was not good; nil if it was
	LastGood time.Time // zero: never yet
	Failures uint64
}

// DNSName says what is asked.
type DNSName struct {
	Name   string
	SRV    bool   // its records name hosts, ports and weights; else it has addresses
	Port   int    // of every address; not for SRV
	Scheme string // http or https
	Path   string // of every backend's URL, or ""
	Every  time.Duration
}

// Lookups are how DNS is asked. Nil functions ask the operating system.
type Lookups struct {
	Addresses func(ctx context.Context, host string) ([]netip.Addr, error)
	Services  func(ctx context.Context, name string) ([]*net.SRV, error)
}

// A backend leaves with the third good answer in a row that lacks it: servers
// that have more addresses than they tell at once leave out others each time.
const missedAtMost = 3

// Discovery asks for one name. It owns one goroutine, which ends in Close. All
// methods are safe for concurrent use.
type Discovery struct {
	name    DNSName
	lookups Lookups
	changed func()
	cancel  context.CancelFunc
	ended   chan struct{}
	first   chan struct{} // closed once the first answer came, good or not

	mu     sync.Mutex // guards the fields below
	known  map[string]*acquaintance
	status Discovered
}

// acquaintance is a backend that some answer had.
type acquaintance struct {
	Found
	missed int
}

// Discover begins to ask. changed is called from the discovery's goroutine after
// each change of the list or of the error; it must not block.
func Discover(name DNSName, l Lookups, changed func()) *Discovery {
	if l.Addresses == nil {
		l.Addresses = lookupSystem
	}
	if l.Services == nil {
		l.Services = func(ctx context.Context, name string) ([]*net.SRV, error) {
			_, list, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
			return list, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Discovery{
		name: name, lookups: l, changed: changed, cancel: cancel,
		ended: make(chan struct{}), first: make(chan struct{}), known: map[string]*acquaintance{},
	}
	go d.run(ctx)
	return d
}

// First is closed once the first answer came, good or not.
func (d *Discovery) First() <-chan struct{} { return d.first }

// Status returns what is known now.
func (d *Discovery) Status() Discovered {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Close ends the asking and waits for the end.
func (d *Discovery) Close() {
	d.cancel()
	<-d.ended
}

func (d *Discovery) run(ctx context.Context) {
	defer close(d.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for asked := false; ; asked = true {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		list, err := d.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if d.learn(list, err, time.Now()) {
			d.changed()
		}
		if !asked {
			close(d.first)
		}
		timer.Reset(jittered(d.name.Every))
	}
}

var (
	errNoneFound    = errors.New("the answer has no usable backend")
	errTooManyFound = fmt.Errorf("the answer has more than %d backends; the rest is left out", balancer.MaxBackends)
)

// learn takes an answer in, and reports whether that changed anything. An empty
// one is no answer: it is more often an outage than a wish.
func (d *Discovery) learn(list []Found, err error, now time.Time) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.status
	if len(list) == 0 {
		d.status.Failures++
		d.status.Err = fmt.Errorf("cannot find backends by the name %s: %w", d.name.Name, cmp.Or(err, errNoneFound))
		return before.Err == nil || before.Err.Error() != d.status.Err.Error()
	}
	for _, a := range d.known {
		a.missed++
	}
	for _, f := range list {
		d.known[f.URL] = &acquaintance{Found: f}
	}
	next := make([]Found, 0, len(d.known))
	for url, a := range d.known {
		if a.missed >= missedAtMost {
			delete(d.known, url)
			continue
		}
		next = append(next, a.Found)
	}
	slices.SortFunc(next, func(a, b Found) int { return cmp.Compare(a.URL, b.URL) })
	d.status.Err = nil
	if len(next) > balancer.MaxBackends {
		for _, f := range next[balancer.MaxBackends:] {
			delete(d.known, f.URL)
		}
		next, d.status.Err = next[:balancer.MaxBackends], errTooManyFound
	}
	d.status.LastGood = now
	if !slices.Equal(before.List, next) {
		d.status.List = next
		return true
	}
	return (before.Err == nil) != (d.status.Err == nil)
}

// ask asks once. What came of a partly bad answer counts.
func (d *Discovery) ask(ctx context.Context) ([]Found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if d.name.SRV {
		records, err := d.lookups.Services(ctx, d.name.Name)
		return d.fromServices(records), err
	}
	addrs, err := d.lookups.Addresses(ctx, d.name.Name)
	var list []Found
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() {
			list = d.add(list, addr.String(), d.name.Port, 1)
		}
	}
	return list, err
}

// fromServices are the records of the lowest priority: RFC 2782 keeps the others
// for when none of these can be reached, which is the router's to find out.
func (d *Discovery) fromServices(records []*net.SRV) (list []Found) {
	if len(records) == 0 {
		return nil
	}
	first := slices.MinFunc(records, func(a, b *net.SRV) int { return cmp.Compare(a.Priority, b.Priority) }).Priority
	for _, r := range records {
		if r.Priority == first {
			list = d.add(list, strings.TrimSuffix(r.Target, "."), int(r.Port), int(r.Weight))
		}
	}
	return list
}

// add appends a backend if it makes a URL that is not there yet.
func (d *Discovery) add(list []Found, host string, port, weight int) []Found {
	url := d.name.Scheme + "://" + net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port)) + d.name.Path
	if _, err := ParseAddress(url); err != nil || slices.ContainsFunc(list, func(f Found) bool { return f.URL == url }) {
		return list
	}
	return append(list, Found{URL: url, Weight: min(max(weight, 1), 1000)})
}
