package sharing

import (
	"slices"
	"sync"
	"time"

	"github.com/helixflow/helixflow/router/admission"
)

// together is how many leases are exchanged at once, at most: a script keeps a
// Redis busy for some 10 µs for each.
const together = 16

// homes are the leases that are looked after, by where their limits stand: those of
// one home can be exchanged in one operation.
type homes struct {
	mu sync.Mutex // guards the fields below; held for a look at all leases, and once for each exchange
	of map[string]*home
}

type home struct {
	leases  []*admission.Lease
	talking bool // somebody is about to make an exchange, or makes it, that nobody waits for
}

// add has a lease looked after.
func (hs *homes) add(l *admission.Lease) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.of[l.Home()]
	if h == nil {
		h = new(home)
		hs.of[l.Home()] = h
	}
	h.leases = append(h.leases, l)
}

// visit hands on one lease of each home in which any wants an exchange, and returns
// how many leases are still to be looked after, and how many of them are alone.
func (hs *homes) visit(now time.Time, work chan<- *admission.Lease) (held, alone int64) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for name, h := range hs.of {
		kept := h.leases[:0]
		for _, l := range h.leases {
			task := l.Task(now)
			if task == admission.Forget {
				l.Rest(now)
				continue
			}
			kept = append(kept, l)
			if task != admission.Nothing && !h.talking {
				select {
				case work <- l:
					h.talking = true
				default: // all are talking; at the next look
				}
			}
			if l.Alone() {
				alone++
			}
		}
		clear(h.leases[len(kept):])
		h.leases = kept
		held += int64(len(kept))
		if len(kept) == 0 && !h.talking {
			delete(hs.of, name)
		}
	}
	return held, alone
}

// talked ends what visit has begun.
func (hs *homes) talked(l *admission.Lease) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.of[l.Home()].talking = false
}

// neighbours are some of those of l's home, from the one after it on.
func (hs *homes) neighbours(l *admission.Lease) (leases []*admission.Lease) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.of[l.Home()]
	if h == nil {
		return nil
	}
	i := slices.Index(h.leases, l) + 1
	leases = append(leases, h.leases[i:min(i+2*together, len(h.leases))]...)
	return append(leases, h.leases[:min(i, 2*together)]...)
}

// all are those that are looked after.
func (hs *homes) all() (leases []*admission.Lease) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.of {
		leases = append(leases, h.leases...)
	}
	return leases
}
