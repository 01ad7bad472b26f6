package cache

// Keys: what makes two questions the same one.

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/openai"
)

// Sharing says whose answers a question may find.
type Sharing uint8

// The ways to share, the narrowest first. The zero value is none of them.
const (
	ByKey    Sharing = iota + 1 // those to the same API key, or whatever proved who asks
	ByTenant                    // those to the same tenant
	ByModel                     // anybody's who may use the model
	ByAll                       // likewise, and of models that lead to the same place
)

// Scope is whose answers a key may find: a required part of each key, which
// nothing in a request can alter. Make it with NewScope.
type Scope struct {
	sharing     Sharing
	tenant, key string
}

// NewScope is the scope of a caller. tenant and key are the router's own names for
// them; those that the sharing does not look at are dropped.
func NewScope(s Sharing, tenant, key string) Scope {
	switch s {
	case ByKey:
		return Scope{s, tenant, key}
	case ByTenant:
		return Scope{s, tenant, ""}
	case ByModel, ByAll:
		return Scope{sharing: s}
	}
	panic("BUG: a scope that shares with nobody knows whom")
}

// Private reports whether all that it can find was made for one tenant.
func (s Scope) Private() bool { return s.sharing == ByKey || s.sharing == ByTenant }

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// Key stands for a question. Two are the same one if they are equal in all of it.
// Check is another hash of what Digest is one of: whatever were wrong with one of
// them, two questions would still be two.
type Key struct {
	Scope  Scope
	Digest Digest
	Check  uint64
}

// Question is what a Key is made of.
type Question struct {
	Op     helixflow.Op
	Model  string // the public name of the route's model
	Asked  []byte // the name that was asked for, where the route takes any
	Route  Digest // all of the route that can change an answer: where it leads, what it edits
	Query  []byte
	Header []byte // the header lines that can change an answer
	Body   []byte
	Call   *openai.Call // what was found in Body
	View   *openai.View // likewise
}

// version is part of every key: it changes when what a key covers does.
const version = 2

// Keys makes keys. The zero value is ready; safe for concurrent use.
type Keys struct {
	Hash func() hash.Hash // nil: SHA-256; tests put in another

	hashers sync.Pool
}

// Of is the key of q in a scope. It does not allocate. Of the body every member counts
// but those that Untold names; their order does not.
func (keys *Keys) Of(s Scope, q *Question) Key {
	if s.sharing == 0 {
		panic("BUG: a key without a scope")
	}
	h := keys.hasher()
	h.number(version)
	h.number(uint64(s.sharing))
	h.text(s.tenant)
	h.text(s.key)
	h.number(uint64(q.Op))
	if s.sharing != ByAll {
		h.text(q.Model)
	}
	h.bytes(q.Asked)
	h.bytes(q.Route[:])
	h.bytes(q.Query)
	h.bytes(q.Header)
	for key, value := range q.View.Members(q.Body) {
		if !Untold(key) {
			h.bytes(key)
			h.bytes(value)
		}
	}
	h.flush()
	h.digest.Sum(h.sum[:0])
	k := Key{Scope: s, Digest: h.sum, Check: h.check.Sum64()}
	keys.hashers.Put(h)
	return k
}

// Untold reports whether a member of a request's root object is no part of its
// key: it says how the answer is to be sent, or who asks and for what, and nothing
// that the model reads.
func Untold(member []byte) bool {
	switch string(member) {
	case "model": // the route's name stands for it
		return true
	case "stream", "stream_options": // how it is sent
		return true
	case "user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention":
		return true // whom or what it is for
	case "cache_salt": // the router's to say
		return true
	}
	return false
}

// hasher feeds fields to two hashes so that no two lists of them look the same: each
// comes behind its length.
type hasher struct {
	digest hash.Hash
	check  xxhash.Digest
	sum    Digest    // here, since what Sum is given escapes
	small  [256]byte // what is small is gathered: each call of a hash costs more than it
	n      int       // bytes of small
}

func (keys *Keys) hasher() *hasher {
	h, _ := keys.hashers.Get().(*hasher)
	switch {
	case h != nil:
	case keys.Hash != nil:
		h = &hasher{digest: keys.Hash()}
	default:
		h = &hasher{digest: sha256.New()}
	}
	h.digest.Reset()
	h.check.Reset()
	return h
}

// flush feeds the hashes what was gathered.
func (h *hasher) flush() {
	h.write(h.small[:h.n])
	h.n = 0
}

func (h *hasher) write(p []byte) {
	h.digest.Write(p)
	_, _ = h.check.Write(p)
}

func (h *hasher) number(n uint64) {
	if len(h.small)-h.n < binary.MaxVarintLen64 {
		h.flush()
	}
	h.n += binary.PutUvarint(h.small[h.n:], n)
}

func (h *hasher) bytes(b []byte) {
	h.number(uint64(len(b)))
	if len(b) > len(h.small)-h.n {
		h.flush()
	}
	if len(b) > len(h.small) {
		h.write(b)
		return
	}
	h.n += copy(h.small[h.n:], b)
}

func (h *hasher) text(s string) {
	h.number(uint64(len(s)))
	for len(s) > 0 {
		if h.n == len(h.small) {
			h.flush()
		}
		n := copy(h.small[h.n:], s)
		h.n += n
		s = s[n:]
	}
}
