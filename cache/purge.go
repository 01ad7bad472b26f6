package cache

// Purges: which answers are not wanted any more, whichever replica was told. No clock
// decides: replicas tell each other of purges in a log, whose order the Redis gives,
// and an answer that others may find says how much of it was heard when it was asked
// for. What follows a purge is good at once, whatever time it is where.

import (
	"sync"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
)

// Selection says which answers a purge is about: those that fit all fields that
// are not zero.
type Selection struct {
	Tenant string
	Model  string
	Digest Digest
}

// fits reports whether the purge is about a.
func (s *Selection) fits(a *Answer) bool {
	return (s.Tenant == "" || s.Tenant == a.Tenant) && (s.Model == "" || s.Model == a.Model) &&
		(s.Digest == Digest{} || s.Digest == a.Key.Digest)
}

const (
	maxPurges = 256            // that are remembered one by one
	pastAsked = 25 * time.Hour // nothing that was asked before is still under way, or kept
)

// mark is how much of the log was heard, through one link.
type mark struct {
	redisx.Place
	link uint32
}

// lacks reports whether the entry at p was not heard yet.
func (m mark) lacks(link uint32, p redisx.Place) bool {
	return p != redisx.Place{} && (m.link != link || m.Before(p))
}

// purge is a Selection, and when it was purged.
type purge struct {
	Selection
	id     uint64
	at     time.Time    // when this process heard of it, by its own clock
	place  redisx.Place // in the log; zero: it is this process's alone
	untold bool         // it is to be in the log, and perhaps is not
	being  bool         // it is being told just now
}

// purges are those of the last day. The zero value is ready; safe for concurrent
// use.
type purges struct {
	mu    sync.Mutex // guards the fields below
	list  []purge
	heard redisx.Place // of those that are no longer in the list
	link  uint32       // counts the logs that were listened to
	made  uint64
	now   func() time.Time // nil: time.Now; tests put in another
}

// clock is this process's time.
func (t *purges) clock() time.Time {
	if t.now != nil {
		return t.now()
	}
	return time.Now()
}

// add remembers p, and returns its id. It forgets what is long past; of too many it
// makes one that is about everything.
func (t *purges) add(p purge) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.put(p)
}

func (t *purges) put(p purge) uint64 {
	recent := t.list[:0]
	for _, old := range t.list {
		switch {
		case p.at.Sub(old.at) < pastAsked:
			recent = append(recent, old)
		case t.heard.Before(old.place):
			t.heard = old.place
		}
	}
	t.made++
	p.id = t.made
	if t.list = append(recent, p); len(t.list) <= maxPurges {
		return p.id
	}
	all := purge{id: p.id, at: p.at}
	for _, old := range t.list {
		all.untold = all.untold || old.untold
		if all.place.Before(old.place) {
			all.place = old.place
		}
	}
	t.list = append(t.list[:0], all)
	return p.id
}

// learn remembers a purge that the log tells of, unless it is known.
func (t *purges) learn(which Selection, place redisx.Place) (link uint32, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if t.list[i].place == place {
			return t.link, false
		}
	}
	t.put(purge{Selection: which, at: t.clock(), place: place})
	return t.link, true
}

// told notes where the purge stands in the log, or that it could not be told.
func (t *purges) told(id uint64, place redisx.Place, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if p := &t.list[i]; p.id == id {
			p.place, p.untold, p.being = place, err != nil, false
		}
	}
}

// untold takes a purge that is still to be told, if there is one.
func (t *purges) untold() (which Selection, id uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if p := &t.list[i]; p.untold && !p.being {
			p.being = true
			return p.Selection, p.id, true
		}
	}
	return which, 0, false
}

// relink has all that was heard so far count for nothing in the log that is listened
// to from now on.
func (t *purges) relink() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.link++
	t.heard = redisx.Place{}
	for i := range t.list {
		t.list[i].place = redisx.Place{}
	}
}

func (t *purges) linked() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.link
}

// heardBy is how much of the log was heard when something was asked for.
func (t *purges) heardBy(asked time.Time) mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := mark{t.heard, t.link}
	for i := range t.list {
		if p := &t.list[i]; asked.After(p.at) && m.Before(p.place) {
			m.Place = p.place
		}
	}
	return m
}

// concerns reports whether a, which this process asked for, was asked for before a
// purge that is about it.
func (t *purges) concerns(a *Answer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if p := &t.list[i]; !a.Asked.After(p.at) && p.fits(a) {
			return true
		}
	}
	return false
}

// outdates reports whether whoever asked for a, which another replica may have been,
// had not heard of a purge that is about it.
func (t *purges) outdates(a *Answer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if p := &t.list[i]; (p.untold || a.heard.lacks(t.link, p.place)) && p.fits(a) {
			return true
		}
	}
	return false
}

// Purge forgets the answers that fit, and will not keep those that are under way;
// other replicas that share hear of it within a second or two. It returns how many
// were in memory, and whether the others could not be told yet: they will be when the
// Redis is back.
func (c *Cache) Purge(which Selection, now time.Time) (deleted int, err error) {
	s := c.shared.Load()
	id := c.purges.add(purge{Selection: which, at: now, untold: s != nil, being: s != nil})
	deleted = c.memory.Delete(which.fits)
	if s != nil {
		err = c.tell(s, which, id)
	}
	return deleted, err
}

func (c *Cache) tell(s *Shared, which Selection, id uint64) error {
	place, err := s.Purge(which)
	c.purges.told(id, place, err)
	return err
}

// tellRest tells the others what they could not be told before.
func (c *Cache) tellRest(s *Shared) {
	for {
		which, id, ok := c.purges.untold()
		if !ok || c.tell(s, which, id) != nil {
			return
		}
	}
}

// learn is Purge by another replica, at its place in the log. Those of this one come
// back, too.
func (c *Cache) learn(which Selection, place redisx.Place) {
	if link, news := c.purges.learn(which, place); news {
		c.memory.Delete(func(a *Answer) bool { return which.fits(a) && a.heard.lacks(link, place) })
	}
}
