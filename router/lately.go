package router

import (
	"slices"
	"sync"
	"time"
)

// keepEvents is how many different errors an operator is shown.
const keepEvents = 20

// Event is an error worth an operator's look; equal ones are one event.
type Event struct {
	At     time.Time // the latest time
	Source string    // the backend's URL
	Text   string
	Count  int
}

// lately is the last errors. The zero value is ready; safe for concurrent use.
type lately struct {
	mu     sync.Mutex // guards events
	events []Event    // the latest last
}

func (l *lately) note(source, text string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Event{Source: source, Text: text}
	if i := slices.IndexFunc(l.events, func(o Event) bool { return o.Source == source && o.Text == text }); i >= 0 {
		e = l.events[i]
		l.events = slices.Delete(l.events, i, i+1)
	} else if len(l.events) >= keepEvents {
		l.events = slices.Delete(l.events, 0, 1)
	}
	e.At = now
	e.Count++
	l.events = append(l.events, e)
}

func (l *lately) list() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.events)
	slices.Reverse(list)
	return list
}
