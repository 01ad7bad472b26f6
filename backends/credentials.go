package backends

// The API keys a pool has: used in turn, and rested when the backend refuses
// one.

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

// refusedRest is how long a key rests that was answered 401: somebody has to do
// something about it first.
const refusedRest = 5 * time.Minute

// Credentials are the keys of one pool. Safe for concurrent use; printing them
// shows no key.
type Credentials struct {
	keys []*Credential
	turn atomic.Uint32
}

// Credential is one key. Its rest outlives plans.
type Credential struct {
	key     secret.Text
	mark    uint32
	line    *[]byte // a pointer, since fmt can print an unexported field past every method
	base    time.Time
	until   atomic.Int64 // nanoseconds since base
	limited atomic.Int32 // 429s in a row that did not say for how long
}

// newCredentials makes lines of the keys. Those that old has too are shared
// with it.
func newCredentials(keys []secret.Text, old *Credentials, base time.Time) (*Credentials, error) {
	c := &Credentials{keys: make([]*Credential, 0, len(keys))}
	for i, key := range keys {
		text := key.Reveal()
		if text == "" {
			return nil, fmt.Errorf("key %d of %d is empty", i+1, len(keys))
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("key %d of %d has characters that no header may carry", i+1, len(keys))
		}
		if old != nil {
			if k := old.find(text); k != nil {
				c.keys = append(c.keys, k)
				continue
			}
		}
		if c.find(text) != nil {
			return nil, errors.New("a key stands twice")
		}
		line := []byte("Authorization: Bearer " + text + "\r\n")
		c.keys = append(c.keys, &Credential{key: key, mark: markOf(text), base: base, line: &line})
	}
	return c, nil
}

func (c *Credentials) find(text string) *Credential {
	for _, k := range c.keys {
		if k.key.Reveal() == text {
			return k
		}
	}
	return nil
}

// Pick returns the key whose turn it is among those that do not rest, or the
// one whose rest ends first; nil where the pool has none. It does not allocate.
func (c *Credentials) Pick(now time.Time) *Credential {
	n := uint32(len(c.keys))
	if n == 0 {
		return nil
	}
	turn := c.turn.Add(1) % n
	best := c.keys[turn]
	soonest := best.rest(now)
	for i := uint32(1); i < n && soonest > 0; i++ {
		k := c.keys[(turn+i)%n]
		if rest := k.rest(now); rest < soonest {
			best, soonest = k, rest
		}
	}
	return best
}

// Marked returns the key with this mark, whether it rests or not; nil for none.
func (c *Credentials) Marked(mark uint32) *Credential {
	for _, k := range c.keys {
		if k.mark == mark {
			return k
		}
	}
	return nil
}

// Ready reports how many keys do not rest: another try is worth it above 0.
func (c *Credentials) Ready(now time.Time) int {
	n := 0
	for _, k := range c.keys {
		if k.rest(now) <= 0 {
			n++
		}
	}
	return n
}

// Len returns how many keys there are.
func (c *Credentials) Len() int { return len(c.keys) }

// Number returns which of the pool's keys k is, from 1, to be named in logs; 0
// if it is none of them.
func (c *Credentials) Number(k *Credential) int {
	for i := range c.keys {
		if c.keys[i] == k {
			return i + 1
		}
	}
	return 0
}

// Format prints how many keys there are, for every verb and flag.
func (c *Credentials) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[%d keys]", len(c.keys)) }

// rest is how much longer k rests; 0 or less when it does not.
func (k *Credential) rest(now time.Time) time.Duration {
	return time.Duration(k.until.Load()) - now.Sub(k.base)
}

// Mark is a number that stands for the key among those of its pool, never 0; the
// same one in every process. It is too short to tell the key.
func (k *Credential) Mark() uint32 { return k.mark }

// markOf makes a number of a text.
func markOf(text string) uint32 {
	sum := sha256.Sum256([]byte(text))
	return max(binary.LittleEndian.Uint32(sum[:]), 1)
}

// Line returns the header line with its CRLF. It must not be changed or logged.
func (k *Credential) Line() []byte { return *k.line }

// Refused has k rest after a 401.
func (k *Credential) Refused(now time.Time) { k.restFor(refusedRest, now) }

// Limited has k rest after a 429: for wait, at most a minute, or where that is
// 0 for 1 s, 2 s, 4 s and so on.
func (k *Credential) Limited(wait time.Duration, now time.Time) {
	if wait <= 0 {
		if k.rest(now) > 0 {
			return // many requests met the one limit
		}
		wait = Backoff(int(k.limited.Add(1)) - 1)
	}
	k.restFor(min(wait, maxRest), now)
}

// Accepted says that k was taken.
func (k *Credential) Accepted() {
	if k.limited.Load() != 0 {
		k.limited.Store(0)
	}
}

func (k *Credential) restFor(d time.Duration, now time.Time) {
	until := int64(now.Sub(k.base) + d)
	for {
		old := k.until.Load()
		if old >= until || k.until.CompareAndSwap(old, until) {
			return
		}
	}
}

// Format prints nothing of k, for every verb and flag.
func (k *Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }
