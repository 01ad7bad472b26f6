package authn

// An issuer's keys: kept fresh in the background, asked for by requests, and
// never replaced by anything worse.

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
)

const (
	refreshEvery  = 10 * time.Minute // give or take a tenth, so that routers do not ask in step
	retryFirst    = 5 * time.Second  // after a failure, doubling to
	retryLast     = 5 * time.Minute
	askEvery      = 30 * time.Second // fetches that requests cause by naming unknown keys
	askAfterError = 5 * time.Second  // likewise, after a fetch that failed
	keyWait       = time.Second      // how long a request waits for a fetch
	maxWaiting    = 64               // requests that wait for one issuer
	staleAlarm    = time.Hour        // without news, the log says so as an error
	staleLimit    = 24 * time.Hour   // without news, the keys are believed no more
	unknownFor    = time.Minute      // how long an unknown key id is remembered,
	maxUnknown    = 1000             // and how many are
	fetchesApart  = time.Second      // at least, whoever asks for them
)

// KeySet is the keys of one issuer. Make it with ParseKeySet, or have KeySets
// fetch it; of the zero KeySet nobody knows the keys. Safe for concurrent use.
type KeySet struct {
	keys   atomic.Pointer[keyList]
	remote *remote // nil: what it holds is all it will ever hold
}

// keyList is what is believed at a time. Immutable.
type keyList struct {
	list []*verifyKey
	good time.Time // when that was fetched
}

// ParseKeySet makes a set that does not change of a JSON Web Key Set.
func ParseKeySet(body []byte) (*KeySet, error) {
	keys, err := parseKeys(body)
	if err != nil {
		return nil, err
	}
	k := new(KeySet)
	k.keys.Store(&keyList{list: keys})
	return k, nil
}

// find returns the key with this id for this algorithm. A token without an id
// means the only key of its algorithm. Without a key the reason is AuthSigner, or
// AuthUnavailable while nobody can say whether there is one.
func (k *KeySet) find(id, algorithm string, now time.Time) (*verifyKey, helixflow.AuthReason) {
	if key := k.look(id, algorithm, now); key != nil {
		return key, helixflow.AuthAccepted
	}
	if k.remote == nil {
		if !k.here(now) {
			return nil, helixflow.AuthUnavailable
		}
		return nil, helixflow.AuthSigner
	}
	switch done, verdict := k.remote.ask(id, now); verdict {
	case askBusy:
		return nil, helixflow.AuthUnavailable
	case askNot:
		if !k.here(now) {
			return nil, helixflow.AuthUnavailable
		}
		return nil, helixflow.AuthSigner
	default:
		patience := time.NewTimer(keyWait)
		defer patience.Stop()
		select {
		case <-done:
		case <-patience.C:
			return nil, helixflow.AuthUnavailable
		}
	}
	switch key := k.look(id, algorithm, now); {
	case key != nil:
		return key, helixflow.AuthAccepted
	case !k.here(now):
		return nil, helixflow.AuthUnavailable
	}
	k.remote.forget(id, now)
	return nil, helixflow.AuthSigner
}

// here reports whether there are keys to believe in.
func (k *KeySet) here(now time.Time) bool {
	r := k.keys.Load()
	return r != nil && (k.remote == nil || now.Sub(r.good) < staleLimit)
}

func (k *KeySet) look(id, algorithm string, now time.Time) *verifyKey {
	if !k.here(now) {
		return nil
	}
	var only *verifyKey
	for _, key := range k.keys.Load().list {
		switch {
		case key.algorithm != algorithm:
		case id != "" && key.id == id:
			return key
		case id == "" && only != nil:
			return nil
		case id == "":
			only = key
		}
	}
	return only
}

// adopt makes keys the ones that are believed. A key that stays is the object it
// was; one that left is marked, for the tokens that it verified.
func (k *KeySet) adopt(keys []*verifyKey, now time.Time) {
	var before []*verifyKey
	if r := k.keys.Load(); r != nil {
		before = r.list
	}
	for i, key := range keys {
		for _, old := range before {
			if key.same(old) && !old.gone.Load() {
				keys[i] = old
			}
		}
	}
	k.keys.Store(&keyList{list: keys, good: now})
	for _, old := range before {
		stays := false
		for _, key := range keys {
			stays = stays || key == old
		}
		old.gone.Store(!stays)
	}
}

// remote is how a key set is fetched, and when.
type remote struct {
	issuer string
	fetch  func(context.Context) ([]byte, error)
	log    *slog.Logger
	wanted chan struct{} // somebody wants a fetch now
	stop   context.CancelFunc
	ended  chan struct{}

	fetched, failed atomic.Uint64

	mu      sync.Mutex           // guards the fields below
	running chan struct{}        // closed when the fetch under way ends; nil: none is
	waiting int                  // requests that wait for it
	closed  time.Time            // until then requests cause no fetch
	unknown map[string]time.Time // key ids that a fetch did not bring, and until when
}

// newRemote makes a set that is empty until a first fetch, which is under way
// when it returns.
func newRemote(issuer string, fetch func(context.Context) ([]byte, error), log *slog.Logger) *KeySet {
	ctx, stop := context.WithCancel(context.Background())
	k := &KeySet{remote: &remote{
		issuer: issuer, fetch: fetch, log: log,
		wanted: make(chan struct{}, 1), stop: stop, ended: make(chan struct{}),
		running: make(chan struct{}),
		unknown: make(map[string]time.Time),
	}}
	go k.run(ctx)
	return k
}

// close ends the refreshing and waits for it.
func (k *KeySet) close() {
	k.remote.stop()
	<-k.remote.ended
}

// run fetches the keys: at once, on schedule, when it is wanted, and soon again
// after a failure.
func (k *KeySet) run(ctx context.Context) {
	defer close(k.remote.ended)
	began := time.Now()
	retry := retryFirst
	for {
		last := time.Now()
		var next time.Duration
		if err := k.refresh(ctx); err == nil {
			next, retry = jitter(refreshEvery), retryFirst
		} else if ctx.Err() == nil {
			k.complain(err, began)
			next, retry = jitter(retry), min(2*retry, retryLast)
		}
		due := time.NewTimer(next)
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-due.C:
		case <-k.remote.wanted:
			due.Reset(max(time.Until(last.Add(fetchesApart)), 0))
			select {
			case <-ctx.Done():
				due.Stop()
				return
			case <-due.C:
			}
		}
	}
}

// jitter is d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5)
}

// refresh fetches the keys once and adopts them if they are any good.
func (k *KeySet) refresh(ctx context.Context) error {
	r := k.remote
	r.begin(time.Now())
	body, err := r.fetch(ctx)
	var keys []*verifyKey
	if err == nil {
		keys, err = parseKeys(body)
	}
	now := time.Now()
	if err == nil {
		k.adopt(keys, now)
		r.fetched.Add(1)
	} else {
		r.failed.Add(1)
	}
	r.end(now, err)
	return err
}

// complain tells the operator of a failed fetch; began is when the first one was.
func (k *KeySet) complain(err error, began time.Time) {
	last := began
	if r := k.keys.Load(); r != nil {
		last = r.good
	}
	age := time.Since(last)
	log := k.remote.log.Warn
	if age >= staleAlarm {
		log = k.remote.log.Error
	}
	log("cannot fetch the keys of an issuer; those that are here stay for a day", "issuer", k.remote.issuer,
		"error", err, "without_news_for", age.Round(time.Second).String())
}

// begin notes that a fetch is under way, which closes the gate for others.
func (r *remote) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = make(chan struct{})
	}
	r.closed = now.Add(askEvery)
	select {
	case <-r.wanted: // this fetch is the one
	default:
	}
}

// end lets go who waits for the fetch.
func (r *remote) end(now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.closed = now.Add(askAfterError)
	}
	close(r.running)
	r.running, r.waiting = nil, 0
}

// askVerdict is what becomes of the wish for a fetch.
type askVerdict uint8

const (
	askNot  askVerdict = iota // there is none now
	askWait                   // one is under way
	askBusy                   // one is under way, and enough wait for it
)

// ask has the keys fetched because a token names one that is not here, unless
// that has been tried a moment ago. The channel closes when the fetch has ended.
func (r *remote) ask(id string, now time.Time) (<-chan struct{}, askVerdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.running != nil && r.waiting >= maxWaiting:
		return nil, askBusy
	case r.running != nil:
	case now.Before(r.closed) || now.Before(r.unknown[id]):
		return nil, askNot
	default:
		r.running = make(chan struct{})
		r.closed = now.Add(askEvery)
		r.want()
	}
	r.waiting++
	return r.running, askWait
}

// want has run fetch the keys soon, if not this moment.
func (r *remote) want() {
	select {
	case r.wanted <- struct{}{}:
	default: // it has been woken
	}
}

// forget remembers that the issuer has no such key, so that it is not asked for
// it again so soon.
func (r *remote) forget(id string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unknown) >= maxUnknown {
		for id, until := range r.unknown {
			if !now.Before(until) {
				delete(r.unknown, id)
			}
		}
	}
	if len(r.unknown) < maxUnknown {
		r.unknown[id] = now.Add(unknownFor)
	}
}
