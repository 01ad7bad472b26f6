package objects

// Registry: what callers see. The shards stand in shard.go.

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// MaxID is the length of the longest id that is remembered, in bytes. Those of
// OpenAI have about 50.
const MaxID = 256

// EntrySizeBytes is the most memory that an entry takes, all told.
const EntrySizeBytes = 128

const shards = 64

// Options bound a Registry. Zero values are the defaults.
type Options struct {
	Max  int           // entries, rounded up to a multiple of 64; default 1 Mi
	Life time.Duration // since an entry was last named; default 30 days
}

// Registry is whose the objects are. The ids of one pool are told apart from the
// same ids of another. Safe for concurrent use.
type Registry struct {
	secret [32]byte // so that nobody can look for ids whose digests are alike
	began  time.Time
	shards [shards]shard
}

// Home is where an object lives: marks of an endpoint and of the credential that
// it was made with; 0 for none.
type Home struct{ Endpoint, Credential uint32 }

// Ownership is whose an object is, to the one who asks.
type Ownership uint8

// The answers of Find.
const (
	Unknown Ownership = iota // no tenant is known to have it
	Own
	Foreign // another tenant's
)

// New returns an empty Registry.
func New(o Options) *Registry {
	if o.Max <= 0 {
		o.Max = 1 << 20
	}
	if o.Life <= 0 {
		o.Life = 30 * 24 * time.Hour
	}
	r := &Registry{began: time.Now()}
	_, _ = rand.Read(r.secret[:]) // never fails
	for i := range r.shards {
		r.shards[i].init((o.Max+shards-1)/shards, uint32(max(o.Life/time.Second, 1)))
	}
	return r
}

// Record notes that id, of a pool, belongs to tenant and lives at home. An id that
// is another tenant's stays so. One that is empty or longer than MaxID is not
// remembered.
func (r *Registry) Record(pool, tenant string, id []byte, home Home, now time.Time) {
	if len(id) == 0 || len(id) > MaxID {
		return
	}
	d := r.object(pool, id)
	r.shard(d).record(d, r.tenant(tenant), home, r.at(now))
}

// Find tells whose id, of a pool, is to tenant; where it lives only if it is its
// own. Naming it gives it a new Life.
func (r *Registry) Find(pool, tenant string, id []byte, now time.Time) (Home, Ownership) {
	if len(id) == 0 || len(id) > MaxID {
		return Home{}, Unknown
	}
	d := r.object(pool, id)
	return r.shard(d).find(d, r.tenant(tenant), r.at(now))
}

// Forget forgets id, of a pool, if it is tenant's.
func (r *Registry) Forget(pool, tenant string, id []byte) {
	if len(id) == 0 || len(id) > MaxID {
		return
	}
	d := r.object(pool, id)
	r.shard(d).forget(d, r.tenant(tenant))
}

// Len returns how many objects are remembered.
func (r *Registry) Len() int {
	n := 0
	for i := range r.shards {
		n += r.shards[i].len()
	}
	return n
}

// digest stands for a pool and an id. Two that are equal by chance are not to be
// expected: it has 128 bits.
type digest [16]byte

func (r *Registry) object(pool string, id []byte) (d digest) {
	sum := r.sum('o', pool, id)
	copy(d[:], sum[:])
	return d
}

// tenant is the mark of a tenant. At 64 bits two of a million tenants are alike
// with a chance of one in thirty million.
func (r *Registry) tenant(name string) uint64 {
	sum := r.sum('t', name, nil)
	return binary.LittleEndian.Uint64(sum[:])
}

func (r *Registry) sum(kind byte, name string, id []byte) [sha256.Size]byte {
	b := make([]byte, 0, 512) // more is well served by an allocation
	b = append(append(b, r.secret[:]...), kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = append(append(b, name...), id...)
	return sha256.Sum256(b)
}

func (r *Registry) shard(d digest) *shard { return &r.shards[d[0]%shards] }

// at is a time in seconds since the Registry began.
func (r *Registry) at(now time.Time) uint32 { return uint32(max(now.Sub(r.began)/time.Second, 0)) }
