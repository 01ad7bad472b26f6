package authn

// The making of a keyring, one key after the other.

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"
)

// Entry is a key as configuration names it.
type Entry struct {
	Tenant string
	Name   string
	Hash   string // what Hash made of the key

	Former      string    // hash of the secret that the key had before; empty for none
	FormerUntil time.Time // from then on that secret is refused; zero: never

	NotBefore time.Time // zero: no matter
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: not

	Scope
}

// Scope is what a key may do. The zero Scope is everything.
type Scope struct {
	Debug     bool
	Models    []string // of the tenant, the same for all its keys: names, or prefixes ending in "*"; empty means all
	KeyModels []string // of the key besides
	Endpoints []string // names of operations, or prefixes ending in "*"; empty means all
	From      []netip.Prefix

	// Own says that the key has limits of its own: it shares its Rights with none.
	Own bool
}

// Builder makes a keyring; see NewBuilder. It is not safe for concurrent use.
type Builder struct {
	ring    *Keyring
	schemes map[int]uint8 // by the version of the pepper; 0 is plain SHA-256
	shared  map[sharing]*Rights
	text    strings.Builder // where ids and names lie together; see keep
}

// sharing is what keys have in common that share their rights.
type sharing struct {
	tenant string
	debug  bool
	scope  string // what a key has of its own, in some form; empty for nothing
}

// NewBuilder begins a keyring, of about this many keys, under the peppers that
// their hashes name. The error names all peppers that are of no use, never what
// they are.
func NewBuilder(peppers []Pepper, keys int) (*Builder, error) {
	keys = min(max(keys, 0), maxKeys)
	b := &Builder{
		ring: &Keyring{
			serial:     keyrings.Add(1),
			seed:       maphash.MakeSeed(),
			slots:      make([]uint32, tableSize(keys)),
			locks:      make([]lock, 0, keys),
			principals: make([]Principal, 0, keys),
			schemes:    []*mac{nil},
		},
		schemes: map[int]uint8{0: 0},
		shared:  make(map[sharing]*Rights),
	}
	var problems []error
	for _, p := range peppers {
		if err := b.addPepper(p); err != nil {
			problems = append(problems, fmt.Errorf("cannot use pepper: %w", err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Builder) addPepper(p Pepper) error {
	m, err := newMAC(p)
	if err != nil {
		return err
	}
	if _, twice := b.schemes[p.Version]; twice {
		return fmt.Errorf("pepper version %d stands twice", p.Version)
	}
	if len(b.ring.schemes) == maxSchemes {
		return errors.New("there are too many of them")
	}
	b.schemes[p.Version] = uint8(len(b.ring.schemes))
	b.ring.schemes = append(b.ring.schemes, m)
	return nil
}

// tableSize is how many slots a table for so many keys has.
func tableSize(keys int) int {
	size := 16
	for size < 2*keys {
		size *= 2
	}
	return size
}

// Add adds a key and returns its rights. The error says what is wrong with it, never
// its hash, and then nothing was added. Of e it keeps the tenant's Models.
func (b *Builder) Add(e *Entry) (*Rights, error) {
	k := b.ring
	l, f, err := b.lock(e)
	if err != nil {
		return nil, err
	}
	if other := k.owner(&l.id); other != nil {
		return nil, fmt.Errorf("it has the same id as key %q of tenant %q", other.KeyName, other.Tenant)
	}
	if len(k.locks) == maxKeys {
		return nil, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	r, err := b.rights(e)
	if err != nil {
		return nil, err
	}
	k.locks = append(k.locks, l)
	k.principals = append(k.principals, Principal{Rights: r, KeyName: b.keep(e.Name), KeyID: b.keep(string(l.id[:])), until: l.until})
	if f != nil {
		b.addFormer(f)
	} else if k.formerOf != nil {
		k.formerOf = append(k.formerOf, 0)
	}
	if 2*len(k.locks) > len(k.slots) {
		k.slots = make([]uint32, 2*len(k.slots))
		for n := range k.locks {
			k.index(n)
		}
	} else {
		k.index(len(k.locks) - 1)
	}
	return r, nil
}

// lock is what the entry's secrets must fit.
func (b *Builder) lock(e *Entry) (lock, *former, error) {
	h, err := parseHash(e.Hash)
	if err != nil {
		return lock{}, nil, err
	}
	scheme, err := b.scheme(h)
	if err != nil {
		return lock{}, nil, err
	}
	l := lock{id: h.id, scheme: scheme, digest: h.digest, from: always, until: end(e.Expires)}
	if !e.NotBefore.IsZero() {
		l.from = e.NotBefore.UnixMilli()
	}
	if revoked := end(e.Revoked); revoked <= l.until && !e.Revoked.IsZero() {
		l.until, l.revoked = revoked, 1
	}
	if e.Former == "" {
		return l, nil, nil
	}
	before, err := parseHash(e.Former)
	if err != nil {
		return lock{}, nil, fmt.Errorf("of its former secret, %w", err)
	}
	if before.id != h.id {
		return lock{}, nil, errors.New("its former secret is that of another id")
	}
	if scheme, err = b.scheme(before); err != nil {
		return lock{}, nil, fmt.Errorf("of its former secret, %w", err)
	}
	return l, &former{scheme: scheme, digest: before.digest, until: end(e.FormerUntil)}, nil
}

func (b *Builder) scheme(h stored) (uint8, error) {
	scheme, known := b.schemes[h.version]
	if !known {
		return 0, fmt.Errorf("its hash names pepper %d, which is not configured", h.version)
	}
	return scheme, nil
}

func end(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.UnixMilli()
}

// rights are those of the entry, which others may have too.
func (b *Builder) rights(e *Entry) (*Rights, error) {
	s := &e.Scope
	id := sharing{tenant: e.Tenant, debug: s.Debug}
	if len(s.KeyModels)+len(s.Endpoints)+len(s.From) > 0 {
		id.scope = fmt.Sprintf("%q %q %v", s.KeyModels, s.Endpoints, s.From)
	}
	if r := b.shared[id]; r != nil && !s.Own {
		return r, nil
	}
	r := &Rights{
		Tenant: strings.Clone(e.Tenant), Debug: s.Debug, Models: s.Models, Endpoints: Endpoints(s.Endpoints),
		Number: len(b.ring.rights),
	}
	for _, pattern := range s.KeyModels {
		r.KeyModels = append(r.KeyModels, strings.Clone(pattern))
	}
	if err := errors.Join(r.Models.validate(), r.KeyModels.validate()); err != nil {
		return nil, err
	}
	if len(s.From) > 0 {
		r.From = Addresses(s.From)
	}
	b.ring.rights = append(b.ring.rights, r)
	if !s.Own {
		id.tenant = r.Tenant
		b.shared[id] = r
	}
	return r, nil
}

// textBlock is how much text lies together. Whoever remembers a name, as the
// access log does for a while, keeps so much of an old keyring in memory, not all.
const textBlock = 16 << 10

// keep copies a short text next to others.
func (b *Builder) keep(s string) string {
	if b.text.Cap()-b.text.Len() < len(s) {
		b.text = strings.Builder{}
		b.text.Grow(max(textBlock, len(s)))
	}
	begin := b.text.Len()
	b.text.WriteString(s)
	return b.text.String()[begin:]
}

// addFormer adds the former secret of the last lock.
func (b *Builder) addFormer(f *former) {
	k := b.ring
	if len(k.formers) == 0 {
		k.formers = append(k.formers, former{scheme: f.scheme}) // fits nothing, and costs as much
		k.formerOf = make([]uint32, len(k.locks)-1, cap(k.locks))
	}
	k.formerOf = append(k.formerOf, uint32(len(k.formers)))
	k.formers = append(k.formers, *f)
}

// owner is the principal of the key with this id, nil if there is none: ByID for
// a ring in the making, which has nothing to hide.
func (k *Keyring) owner(id *[idLength]byte) *Principal {
	h := maphash.Bytes(k.seed, id[:])
	mask := uint64(len(k.slots) - 1)
	for at := h >> 16 & mask; k.slots[at] != 0; at = (at + 1) & mask {
		if n := k.slots[at]&maxKeys - 1; k.slots[at]&^maxKeys == tagOf(h) && k.locks[n].id == *id {
			return &k.principals[n]
		}
	}
	return nil
}

// index enters a lock into the table.
func (k *Keyring) index(n int) {
	h := maphash.Bytes(k.seed, k.locks[n].id[:])
	mask := uint64(len(k.slots) - 1)
	at := h >> 16 & mask
	for k.slots[at] != 0 {
		at = (at + 1) & mask
	}
	k.slots[at] = tagOf(h) | uint32(n+1)
}

// Keyring is what was made. The builder is of no use after it.
func (b *Builder) Keyring() *Keyring {
	k := b.ring
	b.ring = nil
	return k
}
