package configs

import (
	"net/url"
	"strings"
)

// Checks of what proves an identity besides API keys: tokens and certificates.

func checkIdentity(r *reader, c *Config) {
	tenants := tenantNames(c)
	issuers := names{}
	for i := range c.Auth.JWT {
		path := at("auth", "jwt", i)
		issuers.claim(r, c.Auth.JWT[i].Issuer, below(path, "issuer"))
		checkIssuer(r, &c.Auth.JWT[i], path, tenants)
	}
	checkClientAuth(r, c)
	taken := names{}
	for i := range c.Auth.MTLS {
		m, path := &c.Auth.MTLS[i], at("auth", "mtls", i)
		r.identifier(m.Name, below(path, "name"))
		taken.claim(r, m.Name, below(path, "name"))
		checkCertificate(r, m, path, tenants)
	}
}

// tenantNames are the names of all tenants; nil when they are not known.
func tenantNames(c *Config) names {
	known := names{}
	for i, t := range c.Tenants {
		known[t.Name] = at("tenants", i, "name")
	}
	return known
}

// tenant checks that there is a tenant of this name.
func (r *reader) tenant(name string, path []step, known names) {
	if _, ok := known[name]; ok || r.failedBelow(at("tenants")) {
		return
	}
	if n, there := r.find(path); there {
		r.wrong(path, "there is no tenant %s%s", n.shown(), n.suggest(known.written(r)))
	}
}

func checkIssuer(r *reader, i *Issuer, path []step, tenants names) {
	if at := below(path, "issuer"); i.Issuer == "" || len(i.Issuer) > 512 || !visible(i.Issuer, "") {
		r.wrong(at, "%s is not an issuer: 1 to 512 printable characters without spaces", r.shown(at))
	}
	for j, audience := range i.Audience {
		if audience == "" {
			r.wrong(append(below(path, "audience"), step{index: j}), "is empty")
		}
	}
	checkKeySource(r, i, path)
	switch tenant, claim := below(path, "tenant"), below(path, "tenant_claim"); {
	case i.Tenant == "" && i.TenantClaim == "":
		r.wrong(path, "names no tenant: write tenant, or tenant_claim")
	case i.Tenant != "" && i.TenantClaim != "":
		r.wrong(claim, "excludes tenant: write one or the other")
	case i.Tenant != "" && len(i.Tenants) > 0:
		r.wrong(below(path, "tenants"), "needs tenant_claim, whose values it explains")
	case i.Tenant != "":
		r.tenant(i.Tenant, tenant, tenants)
	}
	values := names{}
	for j := range i.Tenants {
		at := at("auth", "jwt", path[2].index, "tenants", j)
		values.claim(r, i.Tenants[j].Value, below(at, "value"))
		r.tenant(i.Tenants[j].Tenant, below(at, "tenant"), tenants)
	}
	checkRoles(r, i, path)
}

// checkKeySource checks where an issuer's keys come from.
func checkKeySource(r *reader, i *Issuer, path []step) {
	from, of := below(path, "jwks_url"), i.JWKSURL
	switch {
	case i.JWKSFile != "" && (i.JWKSURL != "" || i.CA != ""):
		r.wrong(below(path, "jwks_file"), "excludes jwks_url and ca: the keys are in the file")
		return
	case i.JWKSFile != "":
		return
	case i.JWKSURL == "":
		from, of = below(path, "issuer"), i.Issuer
	}
	u, why := parseHTTP(of)
	switch {
	case why != "":
	case u.User != nil:
		why = "holds a user name or password"
	case i.JWKSURL == "" && u.RawQuery != "":
		why = "has a query"
	case u.Scheme == "http" && !privateHost(u.Hostname()):
		why = "must be https: keys that come unencrypted over the Internet are anybody's"
	case u.Scheme == "http" && i.CA != "":
		r.wrong(below(path, "ca"), "has no use: the keys are not fetched over https")
	}
	if why == "" {
		return
	}
	if n, there := r.find(from); there && strings.Contains(n.text, "@") {
		r.mask(n) // a password
	}
	if i.JWKSURL == "" {
		why += "; its keys cannot be discovered, so write jwks_url or jwks_file"
	}
	r.wrong(from, "%s %s", r.shown(from), why)
}

func checkRoles(r *reader, i *Issuer, path []step) {
	switch {
	case i.RolesClaim != "" && len(i.Roles) == 0:
		r.wrong(below(path, "roles_claim"), "has no use without roles")
	case i.RolesClaim == "" && len(i.Roles) > 0:
		r.wrong(below(path, "roles"), "needs roles_claim, where they are found")
	}
	taken := names{}
	for j := range i.Roles {
		at := at("auth", "jwt", path[2].index, "roles", j)
		o := &i.Roles[j]
		if o.Name == "" || strings.ContainsAny(o.Name, " \t\n") {
			r.wrong(below(at, "name"), "%s is not a role: it is empty, or has a space in it", r.shown(below(at, "name")))
		}
		taken.claim(r, o.Name, below(at, "name"))
		checkPatterns(r, o.Models, below(at, "models"))
	}
}

// checkClientAuth checks what server.tls says of clients' certificates.
func checkClientAuth(r *reader, c *Config) {
	t, path := &c.Server.TLS, at("server", "tls", "client_auth")
	switch asked := t.ClientAuth != "off"; {
	case asked && t.Cert == "":
		r.wrong(path, "%s needs cert and key: only over TLS has a client a certificate", r.shown(path))
	case asked && t.ClientCA == "":
		r.wrong(path, "%s needs client_ca, whose certificates are believed", r.shown(path))
	case !asked && t.ClientCA != "":
		r.wrong(at("server", "tls", "client_ca"), "has no use: write client_auth: optional, or required")
	case !asked && len(c.Auth.MTLS) > 0 && !r.refused(path):
		r.wrong(at("auth", "mtls"), "has no use: server.tls.client_auth is off")
	}
}

func checkCertificate(r *reader, m *Certificate, path []step, tenants names) {
	spiffe := below(path, "spiffe")
	switch {
	case (m.SPIFFE == "") == (m.Subject == ""):
		r.wrong(path, "needs either spiffe or subject")
	case m.SPIFFE != "" && badSPIFFE(m.SPIFFE):
		r.wrong(spiffe, "%s is not a SPIFFE id such as spiffe://example.org/ns/prod/sa/app, nor one that ends in /*", r.shown(spiffe))
	}
	r.tenant(m.Tenant, below(path, "tenant"), tenants)
	checkPatterns(r, m.Models, below(path, "models"))
}

// badSPIFFE tells what is no SPIFFE id (SPIFFE-ID, section 2) and no prefix of some.
func badSPIFFE(s string) bool {
	id := strings.TrimSuffix(s, "/*")
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "spiffe" || u.Host == "" || len(s) > 2048 || strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" || id != "spiffe://"+u.Host+u.Path {
		return true
	}
	path, more := strings.CutPrefix(u.Path, "/")
	for more {
		var part string
		part, path, more = strings.Cut(path, "/")
		if part == "" || part == "." || part == ".." || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
			return true
		}
	}
	return false
}
