package authn

// Tokens: from a JSON Web Token of a configured issuer to a principal. RFC 8725
// is the checklist.

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/helixflow/helixflow"
)

const (
	maxName     = 64 // bytes of what names a bearer in logs
	maxRoles    = 64 // of one issuer
	maxNarrowed = 1024
)

// Issuer is one whose tokens are believed, as configuration names it.
type Issuer struct {
	Name        string   // the exact text of iss
	Audiences   []string // at least one; a token must be for one of them
	Algorithms  []string // of RS256, ES256 and EdDSA
	Type        string   // typ that a token must have; empty: none, JWT or at+jwt
	Tenant      string   // of all its tokens; or
	TenantClaim string   // the claim that names it
	Tenants     []ClaimTenant
	RolesClaim  string
	Roles       []Role
	NameClaim   string // whose value names the caller in logs; empty: a digest of sub
	Required    []string
	MaxLifetime time.Duration
	Leeway      time.Duration
	Keys        *KeySet
}

// ClaimTenant is a value of TenantClaim, and the tenant it means. An issuer with
// any of them may name no other.
type ClaimTenant struct{ Value, Tenant string }

// Role is what one value of RolesClaim gives. A token needs one of an issuer's
// roles, if it has any; several add up.
type Role struct {
	Name   string
	Models ModelGrant // within the tenant's; empty means all of them
	Debug  bool
}

// Tokens knows the issuers of one snapshot. Safe for concurrent use; it borrows
// the key sets, which outlive it.
type Tokens struct {
	issuers map[string]*issuer
	seen    seen
	grant   func(*Rights)

	mu       sync.Mutex // guards narrowed
	narrowed map[narrowing]*Rights
}

// issuer is an Issuer, compiled.
type issuer struct {
	Issuer
	checks  []jwt.ParserOption
	tenants map[string]*Rights // by the claim's value; or those of Tenant under ""
}

// narrowing is what tokens have in common that share their rights.
type narrowing struct {
	by    *issuer
	of    *Rights
	roles uint64 // a bit for each of the issuer's
}

// NewTokens compiles issuers. tenants are the rights of each tenant, its grants
// filled in, which all its tokens share; grant fills in the grants of one that
// may do less. Issuers must be checked by whoever read them.
func NewTokens(issuers []Issuer, tenants map[string]*Rights, grant func(*Rights)) (*Tokens, error) {
	t := &Tokens{issuers: make(map[string]*issuer, len(issuers)), grant: grant, narrowed: make(map[narrowing]*Rights)}
	var problems []error
	for _, i := range issuers {
		compiled, err := compileIssuer(i, tenants)
		if err == nil && t.issuers[i.Name] != nil {
			err = errors.New("it stands twice")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot use issuer %q: %w", i.Name, err))
			continue
		}
		t.issuers[i.Name] = compiled
	}
	return t, errors.Join(problems...)
}

func compileIssuer(i Issuer, tenants map[string]*Rights) (*issuer, error) {
	if len(i.Audiences) == 0 || len(i.Algorithms) == 0 || i.Name == "" || i.Keys == nil || (i.Tenant == "") == (i.TenantClaim == "") {
		return nil, errors.New("it needs audiences, algorithms, keys, and either a tenant or the claim that names it")
	}
	if len(i.Roles) > maxRoles {
		return nil, fmt.Errorf("it has more than %d roles", maxRoles)
	}
	for _, name := range i.Algorithms {
		if methods[name] == nil {
			return nil, fmt.Errorf("algorithm %q is not supported", name)
		}
	}
	c := &issuer{
		Issuer:  i,
		tenants: make(map[string]*Rights),
		checks: []jwt.ParserOption{
			jwt.WithIssuer(i.Name), jwt.WithAudience(i.Audiences...),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(i.Leeway),
		},
	}
	named := i.Tenants
	switch {
	case i.Tenant != "":
		named = []ClaimTenant{{Tenant: i.Tenant}}
	case len(named) == 0: // any tenant, by its own name
		c.tenants = tenants
	}
	for _, n := range named {
		r := tenants[n.Tenant]
		if r == nil {
			return nil, fmt.Errorf("there is no tenant %q", n.Tenant)
		}
		c.tenants[n.Value] = r
	}
	return c, nil
}

// Authenticate returns whom the token stands for, or why for nobody, which is not
// for the caller's eyes; AuthUnavailable is not the caller's fault. A token seen
// within the last minute costs a hash and allocates nothing; another may wait for
// its issuer's keys, a second at most. Safe for concurrent use; nil Tokens believe
// none.
func (t *Tokens) Authenticate(token []byte, now time.Time) (*Principal, helixflow.AuthReason) {
	if t == nil {
		return nil, helixflow.AuthIssuer
	}
	if len(token) > maxToken {
		return nil, helixflow.AuthMalformed
	}
	digest := sha256.Sum256(token)
	if p := t.seen.find(&digest, now); p != nil {
		return p, helixflow.AuthAccepted
	}
	v, reason := t.verify(token, now)
	if reason != helixflow.AuthAccepted {
		return nil, reason
	}
	v.digest = digest
	t.seen.add(v, now)
	return v.who, helixflow.AuthAccepted
}

// verify checks a token from its form to what its bearer may do. The signature
// comes before anything that only a genuine token can say.
func (t *Tokens) verify(token []byte, now time.Time) (*verified, helixflow.AuthReason) {
	p, ok := parseToken(token)
	if !ok {
		return nil, helixflow.AuthMalformed
	}
	c, ok := parseClaims(p.body)
	if !ok {
		return nil, helixflow.AuthMalformed
	}
	i := t.issuers[c.issuer]
	switch {
	case i == nil:
		return nil, helixflow.AuthIssuer
	case !slices.Contains(i.Algorithms, p.header.algorithm):
		return nil, helixflow.AuthAlgorithm
	case !typeFits(p.header.typ, i.Type):
		return nil, helixflow.AuthType
	}
	key, reason := i.Keys.find(p.header.keyID, p.header.algorithm, now)
	if reason != helixflow.AuthAccepted {
		return nil, reason
	}
	if !key.verifies(p.signed, p.signature) {
		return nil, helixflow.AuthSignature
	}
	if reason := i.validate(&c, now); reason != helixflow.AuthAccepted {
		return nil, reason
	}
	who, reason := t.principal(i, &c)
	if reason != helixflow.AuthAccepted {
		return nil, reason
	}
	return &verified{who: who, key: key, expires: c.exp.Add(i.Leeway), until: now.Add(seenFor)}, reason
}

// validate checks what the claims say of the token itself.
func (i *issuer) validate(c *claims, now time.Time) helixflow.AuthReason {
	checks := append(slices.Clone(i.checks), jwt.WithTimeFunc(func() time.Time { return now }))
	err := jwt.NewValidator(checks...).Validate(c)
	switch {
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return helixflow.AuthAudience
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return helixflow.AuthClaim
	case errors.Is(err, jwt.ErrTokenExpired):
		return helixflow.AuthExpired
	case err != nil:
		return helixflow.AuthNotYet
	case c.exp.After(now.Add(i.MaxLifetime + i.Leeway)), c.iat != nil && c.exp.Sub(c.iat.Time) > i.MaxLifetime:
		return helixflow.AuthLifetime
	}
	for _, name := range i.Required {
		if raw := c.value(name); raw == nil || string(raw) == "null" {
			return helixflow.AuthClaim
		}
	}
	return helixflow.AuthAccepted
}

// principal is whom the claims name: somebody of a tenant, perhaps with less than
// all its rights.
func (t *Tokens) principal(i *issuer, c *claims) (*Principal, helixflow.AuthReason) {
	value, ok := "", true
	if i.Tenant == "" {
		value, ok = stringOf(c.value(i.TenantClaim))
	}
	rights := i.tenants[value]
	if !ok || rights == nil {
		return nil, helixflow.AuthTenant
	}
	if len(i.Roles) > 0 {
		roles := i.rolesOf(c)
		if roles == 0 {
			return nil, helixflow.AuthRole
		}
		rights = t.narrow(narrowing{by: i, of: rights, roles: roles})
	}
	return &Principal{Rights: rights, KeyName: i.nameOf(c), until: c.exp.Add(i.Leeway).UnixMilli()}, helixflow.AuthAccepted
}

// rolesOf are the issuer's roles that the token has, a bit for each.
func (i *issuer) rolesOf(c *claims) (roles uint64) {
	words := c.words(i.RolesClaim)
	for n, r := range i.Roles {
		if slices.Contains(words, r.Name) {
			roles |= 1 << n
		}
	}
	return roles
}

// narrow returns the rights that some roles leave of a tenant's. Tokens with the
// same roles share them.
func (t *Tokens) narrow(n narrowing) *Rights {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.narrowed[n]; r != nil {
		return r
	}
	r := *n.of
	all := false
	for bit, role := range n.by.Roles {
		if n.roles&(1<<bit) != 0 {
			r.Debug = r.Debug || role.Debug
			r.KeyModels = append(r.KeyModels, role.Models...)
			all = all || len(role.Models) == 0
		}
	}
	if all {
		r.KeyModels = nil
	}
	r.Grants = nil
	t.grant(&r)
	if len(t.narrowed) < maxNarrowed {
		t.narrowed[n] = &r
	}
	return &r
}

// nameOf is what logs call the bearer: the configured claim, made harmless, or a
// digest of the subject, which is often a person's. No key is called so.
func (i *issuer) nameOf(c *claims) string {
	const prefix = "jwt:"
	if i.NameClaim == "" {
		subject, _ := c.GetSubject()
		sum := sha256.Sum256([]byte(i.Issuer.Name + "\x00" + subject))
		return prefix + base64.RawURLEncoding.EncodeToString(sum[:12])
	}
	value, _ := stringOf(c.value(i.NameClaim))
	name := []byte(value[:min(len(value), maxName)])
	for j, b := range name {
		if !allBase62(name[j:j+1]) && !slices.Contains([]byte("._-@:+"), b) {
			name[j] = '_'
		}
	}
	return prefix + string(name)
}
