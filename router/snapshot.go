package router

import (
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/clientaddr"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/router/admission"
)

// Snapshot is the immutable plan: who may ask, which names exist and where
// they lead. It is published whole by one pointer store, loaded once per
// request and pinned in its Exchange, so that no reload can tear a request.
type Snapshot struct {
	generation uint64
	keyring    *authn.Keyring
	anonymous  *authn.Principal // nil: nobody without a credential
	names      map[string]*publicName
	listed     []*publicName // in the configuration's order
	catchAll   *publicName   // the model "*"; nil without one
	prefixes   []*prefix     // the longest first
	maxBody    int64
	maxUpload  int64
	maxSpool   int64
	pools      []*Pool
	hooks      []*Hook
	limits     limits
	classes    map[string]admission.Class // by tenant
	book       *admission.Book
	indexes    *Indexes
	lots       *Lots
	standings  map[string]*standing // by tenant
	websockets websockets
	trusted    *clientaddr.Trusted
	origins    origins
	created    int64 // Unix seconds; the models' creation as clients see it

	lifetimes    map[string]time.Duration // of answers to idempotency keys, by tenant; none for those without
	answersLimit int64                    // bytes, for all of them

	shedsUnqueued bool                   // some batch may stand back in a pool without a queue
	salts         map[string]*tenantSalt // by tenant, for the prefix caches of engines
	saltSecret    []byte

	cacheMemory  int64    // bytes, for answers that are kept; 0: no model has any kept
	cacheShare   float64  // of it, for one tenant
	cacheAlone   bool     // replicas do not share answers
	cacheHeaders [][]byte // names of the headers that can change an answer

	tokens  *authn.Tokens            // nil: none are believed
	keySets []*authn.KeySet          // that are fetched for them
	tenants map[string]*authn.Rights // that tokens and certificates may name

	certificates        *authn.Certificates // nil: clients are asked for none
	certificateRequired bool
	certificateNames    bool // one may say who asks,
	certificateFirst    bool // and counts more than what headers say

	authFailures int // that an address may make in a minute; 0: no bound
}

// publicName is a name callers may ask for: a model's own or an alias.
type publicName struct {
	name    string
	index   int    // bit in a Principal's grants
	content []byte // the model's own name, JSON-escaped, where an alias is asked for; else nil
	plain   []byte // likewise, as it is
	route   *Route
}

// Route is where a model leads, and by which rules.
type Route struct {
	model      string
	targets    []target // by priority; those of one priority stand together
	groups     []group
	keeps      bool // some target's pool does
	listed     bool // some target's pool goes by lists of models
	able       bool // some target says what it can do
	mirrors    []mirror
	fallback   *fallback
	hold       time.Duration // how long to stay with a later priority
	hooks      []*Hook       // in the configuration's order
	before     []*Hook       // those of them that are asked about requests
	after      []*Hook       // those that are asked about answers
	held       int           // bytes of an answer that are held until it is whole
	params     *openai.Params
	connect    time.Duration
	firstToken time.Duration
	idle       time.Duration
	total      time.Duration
	keepalive  time.Duration
	series     *metric.ModelSeries
	limit      *admission.Scope // nil: none
	estimator  *admission.Estimator
	price      price
	cache      *caching // nil: no answer is kept
}

// target is a pool, and the model's name there.
type target struct {
	pool    *Pool
	content []byte // the model's name there, JSON-escaped; nil: the route's own
	plain   []byte // likewise, as it is
	weight  int
	abilities

	served   *backends.Serving // who lists the model; nil: nobody is asked,
	anyModel bool              // or it is the caller who names it
}

// group is the targets of one priority: route.targets[first:end].
type group struct{ first, end int }

// mirror is a target that gets copies.
type mirror struct {
	target
	share float64
}

// Pool is a set of interchangeable endpoints and the policy that picks one.
type Pool struct {
	name          string
	owner         string // the tenant whose account it is, or ""
	keeps         bool   // tenants' objects lie there, since a passthrough leads there
	policy        balancer.Policy
	series        *metric.PickSeries
	wants         balancer.Wants       // what the policy goes by
	candidates    []balancer.Candidate // as in endpoints
	index         *poolIndex           // what the endpoints have cached; nil: nobody wants to know
	coster        *balancer.Coster     // what requests cost there, whatever the policy
	shadows       []shadow
	seed          uint64 // of hashes of prompts and sessions
	ordered       bool   // their places there are in the same order
	sessionHeader string // that names a session; "": none does
	salted        bool   // no tenant profits from another's prompts
	saltsCache    bool   // the engine is told so, too
	endpoints     []*backends.Endpoint
	members       *backends.Members
	credentials   *backends.Credentials
	budget        *backends.Budget
	hedging       *hedging // nil: who is late is waited for
	lot           *lot     // where requests wait for room; nil: nowhere
	queue         queueRules
	attempts      int      // tries of one request, the first included
	static        []byte   // extra header lines of every request
	replaced      [][]byte // names of the extra headers: the client's own do not travel
	injectUsage   bool
	adapters      bool // its engine tells which it has in memory
	listed        bool // an endpoint gets requests for models it lists
	quota         bool // answers may say what is left of a quota
}

// websockets are what is served of them, and within which bounds.
type websockets struct {
	ops         []helixflow.Op
	max         int64 // open at once
	idle, total time.Duration
}

// origins are the browser origins that may call; "*" is any.
type origins struct {
	any  bool
	list []string
}

func (o *origins) allow(origin []byte) bool {
	if o.any {
		return true
	}
	for _, s := range o.list {
		if s == string(origin) {
			return true
		}
	}
	return false
}

func (o *origins) configured() bool { return o.any || len(o.list) > 0 }

// classOf is how urgent a tenant's requests are.
func (s *Snapshot) classOf(tenant string) admission.Class {
	if c, ok := s.classes[tenant]; ok {
		return c
	}
	return admission.Default
}

// Generation tells plans apart, in the order they came into force.
func (s *Snapshot) Generation() uint64 { return s.generation }

// Keys is how many API keys the plan knows.
func (s *Snapshot) Keys() int { return s.keyring.Len() }

// RetainKeys tells the key sets which of them this plan uses; the others are no
// longer fetched.
func (s *Snapshot) RetainKeys(k *authn.KeySets) { k.Retain(s.keySets...) }

// Retain puts the plan's limits into force and tells the fleet which endpoints it
// uses; the others are drained.
func (s *Snapshot) Retain(f *backends.Fleet) {
	s.book.Enforce(s.limits.rules)
	if s.indexes != nil {
		s.indexes.retain(s.pools)
	}
	members := make([]*backends.Members, 0, len(s.pools)+len(s.hooks))
	for _, p := range s.pools {
		members = append(members, p.members)
	}
	for _, h := range s.hooks {
		members = append(members, h.members)
	}
	f.Retain(members...)
}

// lookup finds the name that a caller asks for, and whether p may use it.
func (s *Snapshot) lookup(model []byte, p *authn.Principal) (*publicName, error) {
	if n := s.names[string(model)]; n != nil {
		if !p.Allowed(n.index) {
			return nil, errForbidden
		}
		return n, nil
	}
	if s.catchAll == nil {
		return nil, modelNotFound(model)
	}
	if !p.MayUse(model) {
		return nil, errForbidden
	}
	return s.catchAll, nil
}

func modelNotFound(model []byte) error {
	return &helixflow.Error{
		Kind:   helixflow.KindModelNotFound,
		Param:  "model",
		Public: "The model `" + strings.ToValidUTF8(string(model), "\uFFFD") + "` does not exist or you do not have access to it.",
	}
}
