package authn

// Principal and its rights: which models and endpoints, and from where.

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/clientaddr"
)

// Principal is who asks. It is immutable from the moment it is published and
// owned by the keyring, and so by the router's snapshot, that it came from;
// then it is safe for concurrent use.
type Principal struct {
	*Rights        // never nil
	KeyName string // empty for an anonymous caller
	KeyID   string // the public id inside the key; empty for an anonymous caller

	until int64 // Unix milliseconds; see Expires
}

// Expires is the moment from which the credential is refused, to the
// millisecond; zero for never.
func (p *Principal) Expires() time.Time {
	if p.until == never {
		return time.Time{}
	}
	return time.UnixMilli(p.until)
}

// Rights is what a caller may do. All keys of a tenant that may do the same share
// one, so that a million of them do not cost a million. The zero value of a field
// but Tenant grants everything, except Grants. It is immutable once published.
type Rights struct {
	Tenant    string
	Debug     bool          // may ask for x-helixflow-decision
	Models    ModelGrant    // of the tenant
	KeyModels ModelGrant    // of the key besides: both must cover a model
	Endpoints EndpointGrant // operations it may call
	From      *AddressGrant // addresses it may call from; nil for all

	// Number counts the rights of one keyring from 0: for what a snapshot keeps
	// beside them.
	Number int

	// Grants is a bitset over the snapshot's routes: Allow fills it while the
	// snapshot is compiled, Allowed reads it for every request.
	Grants []uint64
}

// Anonymous returns the principal of callers without a credential: the tenant
// that pays for them and the models they may use, empty for all. The patterns
// are those of [ModelGrant], checked by whoever read them; the caller does not
// change them any more.
func Anonymous(tenant string, models []string) *Principal {
	return &Principal{Rights: &Rights{Tenant: tenant, Models: models}, until: never}
}

// Allow grants the route with this number. Only for the compiler of a snapshot,
// before the rights are published.
func (r *Rights) Allow(route int) {
	word := route / 64
	if word >= len(r.Grants) {
		r.Grants = append(r.Grants, make([]uint64, word+1-len(r.Grants))...)
	}
	r.Grants[word] |= 1 << (route % 64)
}

// Allowed reports whether the route with this number was granted. It allocates
// nothing; a number outside the bitset is not granted.
func (r *Rights) Allowed(route int) bool {
	if route < 0 || route/64 >= len(r.Grants) {
		return false
	}
	return r.Grants[route/64]&(1<<(route%64)) != 0
}

// MayUse reports whether the caller may name this model, for names that have no
// route of their own. It allocates nothing.
func (r *Rights) MayUse(model []byte) bool {
	return r.Models.Matches(model) && r.KeyModels.Matches(model)
}

// MayCall reports whether the caller may call this operation.
func (r *Rights) MayCall(op helixflow.Op) bool { return r.Endpoints.Has(op) }

// MayCallFrom reports whether the caller may be at this address. An address that
// is not known is none of a list.
func (r *Rights) MayCallFrom(a netip.Addr) bool { return r.From == nil || r.From.set.Contains(a) }

// AddressGrant is a list of networks.
type AddressGrant struct {
	Prefixes []netip.Prefix // to be shown; nobody changes them
	set      *clientaddr.Trusted
}

// Addresses is the grant of these networks, of which it keeps a copy.
func Addresses(prefixes []netip.Prefix) *AddressGrant {
	return &AddressGrant{Prefixes: slices.Clone(prefixes), set: clientaddr.New(prefixes)}
}

// EndpointGrant is a set of operations; the zero value is all of them.
type EndpointGrant struct{ denied uint64 }

var _ [64 - helixflow.NumOps]struct{} // or a set would need more words

// Endpoints is the set of the operations that the patterns name: names as metrics
// write them, or prefixes ending in one "*". No patterns are all operations.
func Endpoints(patterns []string) EndpointGrant {
	var g EndpointGrant
	for op := range helixflow.NumOps {
		if !ModelGrant(patterns).Matches([]byte(op.String())) {
			g.denied |= 1 << op
		}
	}
	return g
}

// Names are the operations of the set; nil for all of them.
func (g EndpointGrant) Names() (names []string) {
	for op := range helixflow.NumOps {
		if g.denied != 0 && g.Has(op) {
			names = append(names, op.String())
		}
	}
	return names
}

// Has reports whether the operation is in the set.
func (g EndpointGrant) Has(op helixflow.Op) bool { return g.denied&(1<<op) == 0 }

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
