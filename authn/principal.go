package authn

// Principal and the models it may use.

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Principal is who asks. It is immutable from the moment it is published and
// owned by the keyring, and so by the router's snapshot, that it came from;
// then it is safe for concurrent use.
type Principal struct {
	Tenant  string
	KeyName string // empty for an anonymous caller
	KeyID   string // the public id inside the key; empty for an anonymous caller
	Debug   bool   // may ask for x-helixflow-decision
	Expires time.Time
	Models  ModelGrant

	// Grants is a bitset over the snapshot's routes: Allow fills it while the
	// snapshot is compiled, Allowed reads it for every request.
	Grants []uint64
}

// Anonymous returns the principal of callers without a credential: the tenant
// that pays for them and the models they may use, empty for all. The patterns
// are those of [ModelGrant], checked by whoever read them.
func Anonymous(tenant string, models []string) *Principal {
	return &Principal{Tenant: tenant, Models: slices.Clone(models)}
}

// Allow grants the route with this number. Only for the compiler of a snapshot,
// before the principal is published.
func (p *Principal) Allow(route int) {
	word := route / 64
	if word >= len(p.Grants) {
		p.Grants = append(p.Grants, make([]uint64, word+1-len(p.Grants))...)
	}
	p.Grants[word] |= 1 << (route % 64)
}

// Allowed reports whether the route with this number was granted. It allocates
// nothing; a number outside the bitset is not granted.
func (p *Principal) Allowed(route int) bool {
	if route < 0 || route/64 >= len(p.Grants) {
		return false
	}
	return p.Grants[route/64]&(1<<(route%64)) != 0
}

// MayUse reports whether the caller may name this model, for names that have no
// route of their own. It allocates nothing.
func (p *Principal) MayUse(model []byte) bool { return p.Models.Matches(model) }

// ModelGrant is the models a principal may use: exact names, or prefixes ending
// in one "*". Empty means every model. Names are compared byte for byte.
type ModelGrant []string

// Matches reports whether the grant covers model. It allocates nothing.
func (g ModelGrant) Matches(model []byte) bool {
	if len(g) == 0 {
		return true
	}
	for _, pattern := range g {
		prefix, open := strings.CutSuffix(pattern, "*")
		if open && len(model) >= len(prefix) && string(model[:len(prefix)]) == prefix {
			return true
		}
		if !open && string(model) == pattern {
			return true
		}
	}
	return false
}

var (
	errEmptyPattern = errors.New("a model pattern is empty")
	errInnerStar    = errors.New(`a model pattern may hold "*" only once, at its end`)
)

func (g ModelGrant) validate() error {
	for _, pattern := range g {
		if pattern == "" {
			return errEmptyPattern
		}
		if strings.Contains(pattern[:len(pattern)-1], "*") {
			return errInnerStar
		}
	}
	return nil
}
