package configs

// Identities that are somebody else's to prove: issuers of tokens, and client
// certificates. Types, keys and what their lists' elements are known by.

import "time"

var (
	ways       = []string{"key", "jwt", "mtls"}
	algorithms = []string{"RS256", "ES256", "EdDSA"}
	clientAuth = []string{"off", "optional", "required"}
)

const (
	maxIssuers = 64
	maxRoles   = 64 // of one issuer
)

// Issuer is one whose JSON Web Tokens are believed. Its keys come from JWKSURL,
// JWKSFile, or with neither from where its discovery document says.
type Issuer struct {
	Issuer      string   // the exact text of the claim iss
	Audience    []string // at least one: a token must be for one of them
	JWKSURL     string
	JWKSFile    string
	CA          string   // PEM file of the authorities to trust when fetching keys
	Algorithms  []string // of RS256 (default), ES256, EdDSA
	Type        string   // the header typ that a token must have; "": none, JWT or at+jwt
	Tenant      string   // of every token; or
	TenantClaim string   // the claim that names it
	Tenants     []ClaimTenant
	RolesClaim  string
	Roles       []Role
	NameClaim   string // "": a digest of sub names the caller
	Required    []string
	MaxLifetime time.Duration // default and at most 24h
	Leeway      time.Duration // default and at most 60s
}

// ClaimTenant is a value of an issuer's TenantClaim, and the tenant it means. An
// issuer with any may name no other.
type ClaimTenant struct{ Value, Tenant string }

// Role is a value of an issuer's RolesClaim, and what it gives.
type Role struct {
	Name   string
	Models []string // within the tenant's; empty means all of them
	Debug  bool
}

// Certificate says whom client certificates stand for; SPIFFE or Subject is set.
type Certificate struct {
	Name    string // for logs
	SPIFFE  string // an id, or one that ends in /*
	Subject string // RFC 2253
	Tenant  string
	Models  []string // within the tenant's; empty means all of them
}

func defaultIssuer() Issuer {
	return Issuer{Algorithms: []string{"RS256"}, MaxLifetime: 24 * time.Hour, Leeway: time.Minute}
}

func issuerKeys(i *Issuer) object {
	return object{
		{name: "issuer", value: text{&i.Issuer}, doc: "The exact text of the claim iss.", required: true},
		{name: "audience", value: oneOrMore{&i.Audience}, doc: "A name, or several, of this router: a token must be for one of them.", required: true},
		{name: "jwks_url", value: text{&i.JWKSURL}, doc: "Where its keys are; without it and jwks_file its discovery document is asked."},
		{name: "jwks_file", value: text{&i.JWKSFile}, doc: "A file with its keys instead, watched like this one."},
		{name: "ca", value: text{&i.CA}, doc: "PEM file of the authorities to trust when its keys are fetched; the system's when empty."},
		{name: "algorithms", value: choiceList{&i.Algorithms, algorithms}, doc: "How its tokens may be signed."},
		{name: "type", value: text{&i.Type}, doc: "The header typ that its tokens must have, such as at+jwt; none, JWT or at+jwt when empty."},
		{name: "tenant", value: text{&i.Tenant}, doc: "The tenant of all its tokens; or tenant_claim."},
		{name: "tenant_claim", value: text{&i.TenantClaim}, doc: "The claim that names the tenant; a dot in it goes into an object, where no claim has that name whole."},
		{name: "tenants", value: list[ClaimTenant]{&i.Tenants, "tenant", claimTenantID, zero[ClaimTenant], claimTenantKeys, 1, 0}, doc: "Which values of tenant_claim mean which tenant: no other may be named. When absent the value is a tenant's name, any of them."},
		{name: "roles_claim", value: text{&i.RolesClaim}, doc: "The claim that holds roles or scopes: a list, or words with spaces between."},
		{name: "roles", value: list[Role]{&i.Roles, "role", roleID, zero[Role], roleKeys, 1, maxRoles}, doc: "What roles give: a token needs one of them, and several add up."},
		{name: "name_claim", value: text{&i.NameClaim}, doc: "The claim that names the caller in the access log; a digest of sub when empty."},
		{name: "required", value: texts{&i.Required, 0, "none"}, doc: "Other claims that a token must have."},
		{name: "max_lifetime", value: duration{&i.MaxLifetime, time.Minute, maxDuration}, doc: "The longest a token may be good for; longer ones are refused."},
		{name: "leeway", value: duration{&i.Leeway, 0, time.Minute}, doc: "How far its clock may be off ours."},
	}
}

func claimTenantKeys(c *ClaimTenant) object {
	return object{
		{name: "value", value: text{&c.Value}, doc: "The claim's value.", required: true},
		{name: "tenant", value: text{&c.Tenant}, doc: "The tenant it means.", required: true},
	}
}

func roleKeys(o *Role) object {
	return object{
		{name: "name", value: text{&o.Name}, doc: "The role's name in the token.", required: true},
		{name: "models", value: texts{&o.Models, 1, "all"}, doc: "Which of the tenant's models it may use, each perhaps with * at its end; all of them when absent."},
		{name: "debug", value: boolean{&o.Debug}, doc: "Whoever has it may ask how a request was routed."},
	}
}

func certificateKeys(c *Certificate) object {
	return object{
		{name: "name", value: text{&c.Name}, doc: "Unique; for the access log.", required: true},
		{name: "spiffe", value: text{&c.SPIFFE}, doc: "The SPIFFE id in the certificate, or one that ends in /*: every id below it. Or subject."},
		{name: "subject", value: text{&c.Subject}, doc: "The whole subject of the certificate as RFC 2253 writes it."},
		{name: "tenant", value: text{&c.Tenant}, doc: "The tenant it stands for.", required: true},
		{name: "models", value: texts{&c.Models, 1, "all"}, doc: "Which of the tenant's models it may use, each perhaps with * at its end; all of them when absent."},
	}
}

func issuerID(i *Issuer) string           { return i.Issuer }
func claimTenantID(c *ClaimTenant) string { return c.Value }
func roleID(o *Role) string               { return o.Name }
func certificateID(c *Certificate) string { return c.Name }
