//go:build integration && linux

package replicas

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// passage is a request that was let pass, at some time between those two, since
// the world began: when exactly, only its router knows, and on a busy machine that
// may be long before it arrives.
type passage struct{ sent, arrived time.Duration }

// request is one that says when it was sent.
func (w *world) request() string {
	return fmt.Sprintf(`{"model":"m","messages":[],"max_tokens":10,"user":"%d"}`, time.Since(w.began))
}

// pass notes one that has arrived at the backend.
func (w *world) pass(body []byte) {
	var r struct{ User string }
	_ = json.Unmarshal(body, &r)
	sent, err := strconv.ParseInt(r.User, 10, 64)
	if err != nil {
		w.t.Errorf("a request has arrived that nobody sent: %.200q", body)
	}
	w.mu.Lock()
	w.passed = append(w.passed, passage{time.Duration(sent), time.Since(w.began)})
	w.mu.Unlock()
	w.served.Add(1)
}

// passages are those so far, by arrival.
func (w *world) passages() []passage {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Clone(w.passed)
	slices.SortFunc(list, func(a, b passage) int { return cmp.Compare(a.arrived, b.arrived) })
	return list
}

// within is how many passages there were in a window: so many for certain, and so
// many at most.
func within(list []passage, from, to time.Duration) (certain, possible int) {
	for _, p := range list {
		if p.sent >= from && p.arrived <= to {
			certain++
		}
		if p.sent <= to && p.arrived >= from {
			possible++
		}
	}
	return certain, possible
}

// excess is by how many those that certainly passed within a window exceed what
// rate brings in its time, in the window where they do most.
func excess(list []passage, rate float64) (most float64) {
	for _, first := range list {
		n := 0.0
		for _, p := range list {
			if p.sent < first.sent {
				continue
			}
			n++
			most = max(most, n-rate*(p.arrived-first.sent).Seconds())
		}
	}
	return most
}
