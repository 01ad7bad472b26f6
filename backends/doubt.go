package backends

import "time"

// doubtEvery is how often others can have an endpoint checked.
const doubtEvery = time.Second

// Doubt has those endpoints checked at once of which named says yes, but for those
// that are out, whose checks come soon in any case, or were doubted a moment ago.
// It returns how many. What others say of an endpoint is a reason to look at it,
// and nothing is held against it but what is seen then.
func (f *Fleet) Doubt(named func(pool, url string) bool, now time.Time) (checked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := tick(now.Sub(f.began))
	for id, ep := range f.endpoints {
		if !named(id.pool, id.url) || !ep.health.state().serves() {
			continue
		}
		if ep.doubted != 0 && at-ep.doubted < tick(doubtEvery) {
			continue
		}
		ep.doubted = max(at, 1)
		ep.probe.hurry()
		checked++
	}
	return checked
}
