package authn

// The keyring: from a presented credential to a principal.

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/helixflow/helixflow"
)

// ErrUnauthenticated is the one answer to every credential that does not
// authenticate, whatever the reason. Nobody changes it.
var ErrUnauthenticated = &helixflow.Error{
	Kind:   helixflow.KindUnauthenticated,
	Public: "Incorrect API key provided.",
}

// Entry is a key as configuration names it.
type Entry struct {
	Tenant  string
	Name    string
	Hash    string    // what Hash made of the key
	Models  []string  // names, or prefixes ending in "*"; empty means all
	Expires time.Time // zero: never
	Debug   bool
}

// Keyring knows every key of one snapshot. It is immutable and safe for
// concurrent use, and prints nothing of what it holds.
type Keyring struct {
	byID       map[[idLength]byte]lock
	principals []*Principal
	decoy      lock // what an unknown id is compared with; fits no key
}

// lock is what a secret must fit, and whom it lets in.
type lock struct {
	digest [sha256.Size]byte
	mac    *mac // nil: plain SHA-256
	who    *Principal
}

// NewKeyring compiles entries and the peppers that their hashes name. It
// returns all problems at once, each with its tenant and key, never with a hash.
func NewKeyring(entries []Entry, peppers []Pepper) (*Keyring, error) {
	macs, problems := compilePeppers(peppers)
	k := &Keyring{
		byID:       make(map[[idLength]byte]lock, len(entries)),
		principals: make([]*Principal, 0, len(entries)),
	}
	users := make(map[*mac]int)
	for i := range entries {
		e := &entries[i]
		l, err := k.add(e, macs)
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot add key %q of tenant %q: %w", e.Name, e.Tenant, err))
			continue
		}
		// An unknown id should cost what most known ones do, or the time of a
		// refusal would tell them apart.
		users[l.mac]++
		if users[l.mac] > users[k.decoy.mac] {
			k.decoy.mac = l.mac
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return k, nil
}

func compilePeppers(peppers []Pepper) (map[int]*mac, []error) {
	macs := make(map[int]*mac, len(peppers))
	var problems []error
	for _, p := range peppers {
		m, err := newMAC(p)
		if err == nil && macs[p.Version] != nil {
			err = fmt.Errorf("pepper version %d stands twice", p.Version)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot use pepper: %w", err))
			continue
		}
		macs[p.Version] = m
	}
	return macs, problems
}

func (k *Keyring) add(e *Entry, macs map[int]*mac) (lock, error) {
	h, err := parseHash(e.Hash)
	if err != nil {
		return lock{}, err
	}
	m := macs[h.version]
	if h.version != 0 && m == nil {
		return lock{}, fmt.Errorf("its hash names pepper %d, which is not configured", h.version)
	}
	if other, taken := k.byID[h.id]; taken {
		return lock{}, fmt.Errorf("it has the same id as key %q of tenant %q", other.who.KeyName, other.who.Tenant)
	}
	models := ModelGrant(slices.Clone(e.Models))
	if err := models.validate(); err != nil {
		return lock{}, err
	}
	p := &Principal{
		Tenant: e.Tenant, KeyName: e.Name, KeyID: string(h.id[:]),
		Debug: e.Debug, Expires: e.Expires, Models: models,
	}
	l := lock{digest: h.digest, mac: m, who: p}
	k.byID[h.id] = l
	k.principals = append(k.principals, p)
	return l, nil
}

// Authenticate returns whom the credential stands for. The error is
// ErrUnauthenticated and nothing else. It allocates nothing, borrows the
// credential for the call only, and is safe for concurrent use; the principal
// lives as long as the keyring. A key is expired from the instant Expires on.
func (k *Keyring) Authenticate(credential []byte, now time.Time) (*Principal, error) {
	presented, err := parse(credential)
	if err != nil {
		return nil, ErrUnauthenticated
	}
	l, known := k.byID[[idLength]byte(presented.id)]
	if !known {
		l = k.decoy
	}
	var digest [sha256.Size]byte
	if l.mac != nil {
		digest = l.mac.digest(presented.secret)
	} else {
		digest = plainDigest(presented.secret)
	}
	fits := subtle.ConstantTimeCompare(digest[:], l.digest[:]) == 1
	if !fits || !known || expired(l.who, now) {
		return nil, ErrUnauthenticated
	}
	return l.who, nil
}

func expired(p *Principal, now time.Time) bool {
	return !p.Expires.IsZero() && !now.Before(p.Expires)
}

// Principals returns those of all keys, in the order of the entries. The slice
// is the caller's, the principals are the keyring's.
func (k *Keyring) Principals() []*Principal { return slices.Clone(k.principals) }

// Format prints how many keys there are for every verb: the padded peppers
// inside must not reach a log, and reflection would show them.
func (k Keyring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("keyring of %d keys", len(k.principals)))
}
