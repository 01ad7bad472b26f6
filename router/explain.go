package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router/admission"
)

// This file answers where a request would go, and why, by walking it as serve
// does, up to the point where it would take a place: nothing live is changed.
// It is for operators and may allocate.

// maxSuggested is how many names are looked at for one that was meant.
const maxSuggested = 1000

// Question is the request to explain. Who asks is one of Credential, Tenant with
// or without Key, and nobody in particular; of Model and Body one may be missing.
type Question struct {
	Model      string       // overrides the one that Body names
	Op         helixflow.Op // OpUnknown: what Body looks like
	Credential secret.Text  // as a client sends it
	Tenant     string
	Key        string // the name of one of the tenant's keys
	Body       []byte // as a client sends it; nil: one that names the model alone
	Method     string // of Path; GET when empty
	Path       string // instead of Model and Body: what no model decides
	Live       bool   // the plan serves, so that the state of its backends means something
	Now        time.Time
}

// Explain says what the plan in force would do with the request. See
// Snapshot.Explain.
func (s *Server) Explain(q Question) (Explanation, error) {
	snap := s.snapshot.Load()
	if snap == nil {
		return Explanation{}, errors.New("cannot explain before there is a plan")
	}
	q.Live = true
	return snap.Explain(q)
}

// Explain says what the plan would do with the request at q.Now. A request that
// would be refused is explained too; the error is for a question that makes no
// sense, and names neither a credential nor what could be one. Nothing in the
// answer is secret, and the caller owns it. Explain takes no place on a backend,
// asks no backend and turns no policy; safe for concurrent use.
func (s *Snapshot) Explain(q Question) (Explanation, error) {
	if err := q.complete(); err != nil {
		return Explanation{}, err
	}
	x := Explanation{Generation: s.generation, Live: q.Live, AssumedBody: q.Body == nil && q.Path == "", Method: q.Method, Path: q.Path}
	e := &Exchange{}
	e.snap, e.began, e.op, e.header = s, q.Now, q.Op, new(buf.Buffer)
	if q.Body == nil {
		q.Body = []byte("{}")
	}
	if e.op == helixflow.OpUnknown {
		e.op = operationOf(q.Body)
	}
	x.Operation = e.op.String()
	hint, err := e.identify(&q)
	if _, refused := err.(*helixflow.Error); err != nil && !refused {
		return Explanation{}, err
	}
	x.Principal = s.explainPrincipal(e.principal)
	switch {
	case err != nil:
	case q.Path != "":
		hint, err = e.explainPath(&q, &x)
	default:
		hint, err = e.walk(&q, &x)
	}
	if err == nil && x.Route.Chosen == 0 {
		err = e.nothingLeft(q.Now)
	}
	x.Refusal = refusal(err, hint)
	return x, nil
}

// complete fills in what a question leaves out, and refuses one without sense.
func (q *Question) complete() error {
	switch {
	case q.Path == "" && q.Model == "" && q.Body == nil:
		return errors.New("cannot explain a request without a model: name one, or give a body that does")
	case q.Path == "" && q.Method != "":
		return errors.New("cannot explain a method without a path")
	case q.Path == "":
		return nil
	case q.Model != "" || q.Body != nil:
		return errors.New("cannot explain a path and a model at once: a path is of what no model decides")
	}
	if q.Method == "" {
		q.Method = "GET"
	}
	if !slices.Contains(passthroughMethods[:], q.Method) {
		return errors.New("cannot explain this method: it is none of " + strings.Join(passthroughMethods[:], ", "))
	}
	if servedByModel(q.Method, q.Path) {
		return errors.New("cannot explain this by its path: a model decides, or the router answers itself; name a model instead")
	}
	return nil
}

// identify finds the principal, and for a refused one what the operator may
// know and a caller may not.
func (e *Exchange) identify(q *Question) (hint string, err error) {
	switch {
	case !q.Credential.Empty() && q.Tenant+q.Key != "":
		return "", errors.New("cannot explain for a credential and for a name at once")
	case !q.Credential.Empty():
		e.client.credential, e.client.credentialSent = []byte(q.Credential.Reveal()), true
		p, reason := e.recognize()
		if reason != helixflow.AuthAccepted {
			switch {
			case reason == helixflow.AuthUnavailable:
				return authn.Explain(reason), errIdentity
			case authn.IsToken(e.client.credential):
				return authn.Explain(reason), errToken
			}
			return e.snap.whyRefused(q.Credential, q.Now), authn.ErrUnauthenticated
		}
		e.principal = p
		return "", nil
	case q.Tenant != "":
		if e.principal, err = e.snap.named(q.Tenant, q.Key); err != nil {
			return "", err
		}
		if reason := e.snap.keyring.Standing(e.principal.KeyID, q.Now); q.Key != "" && reason != helixflow.AuthAccepted {
			return whyNotNow(reason, e.principal), authn.ErrUnauthenticated
		}
		return "", nil
	case q.Key != "":
		return "", errors.New("cannot explain for a key without its tenant")
	case e.snap.anonymous != nil:
		e.principal = e.snap.anonymous
	}
	return "", nil
}

// named is a principal by its names: of a tenant alone, what its keys have in
// common. The error does not repeat them, for somebody may paste a key.
func (s *Snapshot) named(tenant, key string) (*authn.Principal, error) {
	var tenants, keys []string
	for _, r := range s.keyring.Rights() {
		switch {
		case r.Tenant != tenant:
			tenants = append(tenants, r.Tenant)
		case key == "":
			common := authn.Anonymous(r.Tenant, r.Models)
			s.grant(common.Rights)
			return common, nil
		}
	}
	for p := range s.keyring.Principals() {
		if p.Tenant != tenant {
			continue
		}
		if p.KeyName == key {
			return p, nil
		}
		if len(keys) < maxSuggested {
			keys = append(keys, p.KeyName)
		}
	}
	switch {
	case s.anonymous != nil && s.anonymous.Tenant == tenant && key == "":
		return s.anonymous, nil
	case s.tenants[tenant] != nil && key == "":
		common := authn.Anonymous(tenant, s.tenants[tenant].Models)
		s.grant(common.Rights)
		return common, nil
	case len(keys) > 0:
		return nil, fmt.Errorf("cannot explain for this key: the tenant has none of that name%s", didYouMean(key, keys))
	}
	return nil, fmt.Errorf("cannot explain for this tenant: none of that name has keys%s", didYouMean(tenant, tenants))
}

// whyRefused says what is wrong with a credential, and nothing of its secret.
func (s *Snapshot) whyRefused(credential secret.Text, now time.Time) string {
	info, err := authn.Inspect(credential.Reveal())
	if err != nil {
		return strings.TrimPrefix(err.Error(), "cannot inspect key: ")
	}
	_, reason := s.keyring.Authenticate([]byte(credential.Reveal()), now)
	return whyNotNow(reason, s.keyring.ByID(info.ID))
}

// whyNotNow is a reason in words; p is who has the id of the key that was
// presented, if anybody.
func whyNotNow(reason helixflow.AuthReason, p *authn.Principal) string {
	who := ""
	if p != nil {
		who = fmt.Sprintf("key %s of tenant %s", p.KeyName, p.Tenant)
	}
	switch reason {
	case helixflow.AuthChecksum:
		return "its checksum is wrong: a character was mistyped or lost"
	case helixflow.AuthUnknown:
		return "the configuration has no key of its id"
	case helixflow.AuthWrongSecret:
		return "its id is that of " + who + ", whose hash it does not fit"
	case helixflow.AuthNotYet:
		return who + " is not valid yet"
	case helixflow.AuthRevoked:
		if p.Expires().Unix() == 0 { // revoked: true
			return who + " was revoked"
		}
		return who + " was revoked " + p.Expires().UTC().Format(time.RFC3339)
	case helixflow.AuthExpired:
		return who + " expired " + p.Expires().UTC().Format(time.RFC3339)
	default:
		return ""
	}
}

// walk does what serve does from scan to forward, where that changes nothing.
func (e *Exchange) walk(q *Question, x *Explanation) (hint string, err error) {
	if e.principal == nil { // nobody in particular: as one who may use everything
		e.principal = authn.Anonymous("", nil)
		e.snap.grant(e.principal.Rights)
	}
	if !e.principal.MayCall(e.op) {
		return "the key may call " + strings.Join(e.principal.Endpoints.Names(), ", "), errEndpoint
	}
	if int64(len(q.Body)) > e.snap.maxBody {
		return "", tooLarge(e.snap.maxBody)
	}
	e.body = &buf.Buffer{B: q.Body}
	if err := openai.Scan(e.body.B, e.op, &e.call); err != nil {
		return "", err
	}
	if q.Model != "" && q.Model != string(e.call.ModelName(e.body.B)) {
		e.body.B = withModel(e.body.B, q.Model, &e.call)
		if err := openai.Scan(e.body.B, e.op, &e.call); err != nil {
			return "", err
		}
	}
	model := e.call.ModelName(e.body.B)
	x.Model = string(model)
	if len(model) == 0 {
		return "", errMissingModel
	}
	if e.name, err = e.snap.lookup(model, e.principal); err != nil {
		return e.snap.whyNot(x.Model, e.principal, err), err
	}
	e.explainLimits(x, q)
	err = e.explainRoute(x, q.Now)
	if refused := e.showable(); refused != nil { // before anything is sent
		err = refused
	}
	return "", err
}

// explainLimits lists the scopes that the request falls under. Those of a plan
// that does not serve are as at a start.
func (e *Exchange) explainLimits(x *Explanation, q *Question) {
	l := &e.snap.limits
	scopes := []*admission.Scope{l.router, e.name.route.limit}
	key, tenant := l.of(e.principal)
	if tenant != nil {
		scopes = append(scopes, tenant.models[e.name.route], tenant.all)
	}
	for _, s := range append(scopes, key) {
		if s != nil {
			x.Limits = append(x.Limits, usageOf(s, q.Now))
		}
	}
}

// whyNot is what an operator may want to know about a model that is refused.
func (s *Snapshot) whyNot(model string, p *authn.Principal, err error) string {
	if err == errForbidden {
		if !p.Models.Matches([]byte(model)) {
			return fmt.Sprintf("tenant %s may use %s", p.Tenant, strings.Join(p.Models, ", "))
		}
		return fmt.Sprintf("key %s of tenant %s may use %s", p.KeyName, p.Tenant, strings.Join(p.KeyModels, ", "))
	}
	names := make([]string, len(s.listed))
	for i, n := range s.listed {
		names[i] = n.name
	}
	return strings.TrimPrefix(didYouMean(model, names), "; ")
}

// operationOf guesses which operation a body is for; what looks like none of
// them is a chat.
func operationOf(body []byte) helixflow.Op {
	var c openai.Call
	if openai.Scan(body, helixflow.OpChatCompletions, &c) == nil {
		switch {
		case c.Messages.Present():
		case c.Prompt.Present():
			return helixflow.OpCompletions
		case c.Input.Present():
			return helixflow.OpResponses
		}
	}
	return helixflow.OpChatCompletions
}

// withModel is body, in which c was found, with another model.
func withModel(body []byte, model string, c *openai.Call) []byte {
	var edits openai.Edits
	switch name := openai.AppendJSONString(nil, model); {
	case c.Model.Present():
		edits.Replace(c.Model, name[1:len(name)-1])
	case c.Members == 0:
		edits.Insert(c.Close, append([]byte(`"model":`), name...))
	default:
		edits.Insert(c.Close, append([]byte(`,"model":`), name...))
	}
	return edits.AppendTo(nil, body)
}
