package authn

// Tokens that were verified a moment ago, so that a token seen before costs what
// an API key costs.

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	seenSets = 2048 // of seenWays each: room for 10,000 tokens that share their sets unevenly
	seenWays = 8
	seenFor  = time.Minute
)

// seen remembers verified tokens by the SHA-256 of their whole text, never by
// less of it (CVE-2026-35030). It belongs to one snapshot, so that what was true
// under one configuration is not believed under the next. Safe for concurrent
// use; nothing in it locks.
type seen struct {
	sets [seenSets][seenWays]atomic.Pointer[verified]
}

// verified is a token that was verified. Immutable.
type verified struct {
	digest  [sha256.Size]byte
	who     *Principal
	key     *verifyKey
	expires time.Time // of the token, by the wall clock
	until   time.Time // to be verified again, by the monotonic clock
}

// holds reports whether the verdict still holds: its time has not run out, nor
// the token's, and the key has not left its issuer's set.
func (v *verified) holds(now time.Time) bool {
	return now.Before(v.until) && now.Before(v.expires) && !v.key.gone.Load()
}

// find returns whose token this is, nil when it has to be verified.
func (s *seen) find(digest *[sha256.Size]byte, now time.Time) *Principal {
	set := s.set(digest)
	for i := range set {
		if v := set[i].Load(); v != nil && v.digest == *digest {
			if v.holds(now) {
				return v.who
			}
			return nil
		}
	}
	return nil
}

// add remembers v in the place of the same token, of nothing, of a verdict that
// holds no more, or of the oldest. Two at once may take the same place; then one
// is verified again.
func (s *seen) add(v *verified, now time.Time) {
	set := s.set(&v.digest)
	place := 0
	var oldest time.Time
	for i := range set {
		o := set[i].Load()
		if o == nil || o.digest == v.digest || !o.holds(now) {
			place = i
			break
		}
		if oldest.IsZero() || o.until.Before(oldest) {
			place, oldest = i, o.until
		}
	}
	set[place].Store(v)
}

// set is where a token may be. Nobody chooses it: only tokens that an issuer
// has signed get here, and the digest is uniform.
func (s *seen) set(digest *[sha256.Size]byte) *[seenWays]atomic.Pointer[verified] {
	return &s.sets[binary.LittleEndian.Uint64(digest[:])%seenSets]
}
