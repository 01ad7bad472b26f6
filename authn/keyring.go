package authn

// The keyring: from a presented credential to a principal.

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"math"
	"time"

	"github.com/helixflow/helixflow"
)

// ErrUnauthenticated is the one answer to every credential that does not
// authenticate, whatever the reason. Nobody changes it.
var ErrUnauthenticated = &helixflow.Error{
	Kind:   helixflow.KindUnauthenticated,
	Public: "Incorrect API key provided.",
}

// Keyring knows every key of one snapshot; make it with a [Builder]. It is
// immutable and safe for concurrent use, and prints nothing of what it holds. The
// zero Keyring knows no key.
//
// Keys lie in slices without pointers to each, found over a table of our own: a
// million of them are 150 bytes each with their principals, little work for the
// garbage collector, and a lookup touches the same few cache lines whether there
// is such a key or not.
type Keyring struct {
	serial     uint64 // no other keyring has it; 0: it knows no key
	seed       maphash.Seed
	slots      []uint32 // the table: see slot; a power of two, at most half of it used
	locks      []lock
	principals []Principal // as locks
	rights     []*Rights

	formers  []former // formers[0] fits nothing; empty while no key has two secrets
	formerOf []uint32 // by lock; 0 for most

	schemes []*mac // what a lock's scheme means; schemes[0] is nil: plain SHA-256
}

// lock is what a secret must fit, and when: 64 bytes, one line of a cache.
type lock struct {
	id      [idLength]byte
	scheme  uint8
	revoked uint8 // 1: until is the moment of a revocation
	digest  [sha256.Size]byte
	from    int64 // Unix milliseconds
	until   int64
}

// former is the secret that a key had before.
type former struct {
	scheme uint8
	digest [sha256.Size]byte
	until  int64
}

const (
	always = math.MinInt64 // as from
	never  = math.MaxInt64 // as until
)

// Authenticate returns whom the credential stands for, or why for nobody, which
// is not for the caller's eyes. It allocates nothing, borrows the credential for
// the call only, and is safe for concurrent use; the principal lives as long as
// the keyring. A key ends at the instant it expires, not after it.
//
// What is not of the form of a key, its checksum included, is refused by its bytes
// alone. Behind that, every refusal does the same work, whatever its reason: an
// unknown id is held against the lock of some other key, and reasons come from a
// table, not from branches.
func (k *Keyring) Authenticate(credential []byte, now time.Time) (*Principal, helixflow.AuthReason) {
	n, _, reason := k.authenticate(credential, now.UnixMilli())
	if reason != helixflow.AuthAccepted {
		return nil, reason
	}
	return &k.principals[n], helixflow.AuthAccepted
}

// span is the time during which a secret is good: Unix milliseconds, until not
// included.
type span struct{ from, until int64 }

// authenticate returns the number of the lock that the credential opens, and for
// how long it does.
func (k *Keyring) authenticate(credential []byte, at int64) (uint32, span, helixflow.AuthReason) {
	presented, err := parse(credential)
	if err != nil {
		return 0, span{}, reasonOf(err)
	}
	if len(k.locks) == 0 {
		return 0, span{}, helixflow.AuthUnknown
	}
	i, known := k.find(presented.id)
	l := &k.locks[i]
	good := span{l.from, l.until}
	fits := k.fits(l.scheme, presented.secret, &l.digest)
	reason := outcome(known, fits, at >= l.until, at < l.from, l.revoked)
	if reason != helixflow.AuthAccepted && len(k.formers) > 0 {
		f := &k.formers[k.formerOf[i]]
		fits |= k.fits(f.scheme, presented.secret, &f.digest) & before(at, f.until)
		reason = outcome(known, fits, at >= l.until, at < l.from, l.revoked)
		good.until = min(good.until, f.until)
	}
	return uint32(i), good, reason
}

// A slot of the table holds the number of a lock plus one, and above that eight
// bits of its id's hash, so that other ids' locks need not be looked at. 0 is a
// free slot.
const (
	slotBits = 24
	maxKeys  = 1<<slotBits - 1

	maxSchemes = 1 << 8
)

func tagOf(h uint64) uint32 { return uint32(h>>56) << slotBits }

// find returns the number of the id's lock, and 1; or that of another, always the
// same one for an id, and 0. Both ends of the search are one to the processor.
func (k *Keyring) find(id []byte) (n, known int) {
	h := maphash.Bytes(k.seed, id)
	tag := tagOf(h)
	mask := uint64(len(k.slots) - 1)
	other := (h & (1<<32 - 1)) * uint64(len(k.locks)) >> 32
	at := h >> 16 & mask
	for {
		s := k.slots[at]
		empty := int(bit(s == 0))
		n = int(s&maxKeys) - 1 + empty*(int(other)+1)
		if empty == 1 || s&^maxKeys == tag {
			same := subtle.ConstantTimeCompare(k.locks[n].id[:], id)
			if same|empty == 1 {
				return n, same
			}
		}
		at = (at + 1) & mask
	}
}

// fits returns 1 for the secret that the digest was made of, else 0.
func (k *Keyring) fits(scheme uint8, secret43 []byte, digest *[sha256.Size]byte) int {
	var d [sha256.Size]byte
	if m := k.schemes[scheme]; m != nil {
		d = m.digest(secret43)
	} else {
		d = plainDigest(secret43)
	}
	return subtle.ConstantTimeCompare(d[:], digest[:])
}

// before returns 1 for a moment before the end, else 0.
func before(at, end int64) int { return int(bit(at < end)) }

func bit(b bool) uint8 {
	if b { // a conditional move, not a branch
		return 1
	}
	return 0
}

// outcomes are the reasons by: known, fits, over, early, revoked.
var outcomes = func() (table [32]helixflow.AuthReason) {
	for i := range table {
		known, fits, over, early, revoked := i&16 != 0, i&8 != 0, i&4 != 0, i&2 != 0, i&1 != 0
		switch {
		case !known:
			table[i] = helixflow.AuthUnknown
		case !fits:
			table[i] = helixflow.AuthWrongSecret
		case over && revoked:
			table[i] = helixflow.AuthRevoked
		case over:
			table[i] = helixflow.AuthExpired
		case early:
			table[i] = helixflow.AuthNotYet
		}
	}
	return table
}()

func outcome(known, fits int, over, early bool, revoked uint8) helixflow.AuthReason {
	return outcomes[uint8(known)<<4|uint8(fits)<<3|bit(over)<<2|bit(early)<<1|revoked]
}

// Len is how many keys there are.
func (k *Keyring) Len() int { return len(k.locks) }

// Principals are those of all keys, in the order in which they were added. They
// are the keyring's.
func (k *Keyring) Principals() iter.Seq[*Principal] {
	return func(yield func(*Principal) bool) {
		for i := range k.principals {
			if !yield(&k.principals[i]) {
				return
			}
		}
	}
}

// ByID is the principal of the key with this id; nil if there is none.
func (k *Keyring) ByID(id string) *Principal {
	if len(id) != idLength || len(k.locks) == 0 {
		return nil
	}
	if n, known := k.find([]byte(id)); known == 1 {
		return &k.principals[n]
	}
	return nil
}

// Standing is what would become of the key with this id, presented with its
// secret.
func (k *Keyring) Standing(id string, now time.Time) helixflow.AuthReason {
	p := k.ByID(id)
	if p == nil {
		return helixflow.AuthUnknown
	}
	n, _ := k.find([]byte(id))
	l, at := &k.locks[n], now.UnixMilli()
	return outcome(1, 1, at >= l.until, at < l.from, l.revoked)
}

// Rights are those of all principals, each once, by their Number. They and the
// slice are the keyring's.
func (k *Keyring) Rights() []*Rights { return k.rights }

// Format prints how many keys there are for every verb: the padded peppers
// inside must not reach a log, and reflection would show them.
func (k Keyring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("keyring of %d keys", len(k.locks)))
}
