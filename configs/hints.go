package configs

// Hints: what a configuration may say, and an operator hardly means.

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// patience is how long the official OpenAI SDKs wait for an answer.
const patience = 10 * time.Minute

// hint tells of what looks like a mistake in a configuration without problems.
func hint(r *reader, c *Config, now time.Time) {
	hintServer(r, c)
	hintKeys(r, c, now)
	hintOrder(r, c)
	hintIssuers(r, c.Auth.JWT)
	hintGrants(r, c)
	hintPools(r, c)
	hintHooks(r, c)
	for i := range c.Models {
		hintModel(r, i, &c.Models[i])
	}
	hintPassthrough(r, c)
}

// hintPassthrough tells of prefixes that give away more than files.
func hintPassthrough(r *reader, c *Config) {
	for i := range c.Passthrough {
		p, path := &c.Passthrough[i], at("passthrough", i, "prefix")
		rest, versioned := strings.CutPrefix(p.Prefix, "/v1")
		root, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		switch {
		case p.IsWebsocket():
		case root == "organization" || root == "projects":
			r.wrong(path, "lets every tenant administer the account of pool %s", p.Pool)
		case versioned && root == "":
			r.wrong(path, "%s passes on every path that the router does not know, whatever it does", r.shown(path))
		}
	}
}

func hintServer(r *reader, c *Config) {
	for i, p := range c.Server.TrustedProxies {
		if p.Bits() == 0 {
			r.wrong(at("server", "trusted_proxies", i), "believes every client about its own address")
		}
	}
	if host, _, _ := net.SplitHostPort(c.Server.Listen); c.Auth.Anonymous != "" && !isLoopback(host) {
		path := at("auth", "anonymous")
		r.wrong(path, "lets in everybody who reaches server.listen, which is not on loopback")
	}
}

func hintKeys(r *reader, c *Config, now time.Time) {
	for i := range c.Tenants {
		t := &c.Tenants[i]
		if path := at("tenants", i, "name"); len(t.Keys)+len(c.Auth.KeyFiles) == 0 && t.Name != c.Auth.Anonymous && !namedElsewhere(c, t.Name) {
			r.wrong(path, "%s has no keys: nobody can call as this tenant", r.shown(path))
		}
		for j, key := range t.Keys {
			if !key.Expires.IsZero() && !key.Expires.After(now) {
				r.wrong(at("tenants", i, "keys", j, "expires"), "is past: the key is refused")
			}
			if until := key.Previous.Until; !until.IsZero() && !until.After(now) {
				r.wrong(at("tenants", i, "keys", j, "previous", "until"), "is past: previous can be taken out")
			}
		}
	}
}

// namedElsewhere reports whether tokens or certificates may name the tenant.
func namedElsewhere(c *Config, tenant string) bool {
	return slices.ContainsFunc(c.Auth.JWT, func(i Issuer) bool {
		any := i.TenantClaim != "" && len(i.Tenants) == 0
		return any || i.Tenant == tenant || slices.ContainsFunc(i.Tenants, func(t ClaimTenant) bool { return t.Tenant == tenant })
	}) || slices.ContainsFunc(c.Auth.MTLS, func(m Certificate) bool { return m.Tenant == tenant })
}

// hintIssuers tells of issuers that may speak for each other's tenants.
func hintIssuers(r *reader, issuers []Issuer) {
	for i := range issuers {
		if path := at("auth", "jwt", i, "tenant_claim"); len(issuers) > 1 && issuers[i].TenantClaim != "" && len(issuers[i].Tenants) == 0 {
			r.wrong(path, "lets this issuer name any tenant, those of other issuers too; tenants bounds it")
		}
	}
}

// hintOrder tells of ways that are configured and off.
func hintOrder(r *reader, c *Config) {
	keys := len(c.Auth.KeyFiles) > 0 || slices.ContainsFunc(c.Tenants, func(t Tenant) bool { return len(t.Keys) > 0 })
	for way, configured := range map[string]bool{"key": keys, "jwt": len(c.Auth.JWT) > 0, "mtls": len(c.Auth.MTLS) > 0} {
		if configured && !slices.Contains(c.Auth.Order, way) {
			r.wrong(at("auth", "order"), "lacks %s: what is configured for it has no use", way)
		}
	}
}

// hintGrants tells of patterns that fit no model, and of models that fit no
// tenant's pattern.
func hintGrants(r *reader, c *Config) {
	var served []string // every public name, sorted
	rest := false       // any other name is served too
	for i := range c.Models {
		rest = rest || c.Models[i].Name == "*"
		served = append(append(served, c.Models[i].Name), c.Models[i].Aliases...)
	}
	slices.Sort(served)
	granted, all := make(map[string]bool), false
	for i := range c.Tenants {
		all = all || len(c.Tenants[i].Models) == 0
		for j, pattern := range c.Tenants[i].Models {
			granted[pattern] = true
			prefix, open := strings.CutSuffix(pattern, "*")
			k, found := slices.BinarySearch(served, prefix)
			if path := at("tenants", i, "models", j); !rest && !found && (!open || k == len(served) || !strings.HasPrefix(served[k], prefix)) {
				r.wrong(path, "%s fits no model", r.shown(path))
			}
		}
	}
	may := func(name string) bool {
		for i := range len(name) {
			if granted[name[:i]+"*"] {
				return true
			}
		}
		return granted[name]
	}
	for i := range c.Models {
		m, path := &c.Models[i], at("models", i, "name")
		if !all && m.Name != "*" && !may(m.Name) && !slices.ContainsFunc(m.Aliases, may) {
			r.wrong(path, "no tenant may use %s", r.shown(path))
		}
	}
}

func hintPools(r *reader, c *Config) {
	led := make(map[string]bool)
	for i := range c.Models {
		for _, t := range c.Models[i].Targets {
			led[t.Pool] = true
		}
	}
	for i := range c.Passthrough {
		led[c.Passthrough[i].Pool] = true
	}
	first := make(map[string][]step) // by backend
	for i := range c.Pools {
		p := &c.Pools[i]
		if path := at("pools", i, "name"); !led[p.Name] {
			r.wrong(path, "%s is no model's target, and no passthrough's", r.shown(path))
		}
		secrets := len(p.Credentials())+len(p.Headers) > 0
		for j := range p.Backends {
			path := at("pools", i, "backends", j, "url")
			u, err := url.Parse(p.Backends[j].URL)
			if err == nil && u.Scheme == "http" && secrets && !privateHost(u.Hostname()) {
				r.wrong(path, "%s is not a private address, and http sends the pool's credentials and headers unencrypted", r.shown(path))
			}
			identity, _ := backendIdentity(p.Backends[j].URL)
			if other, again := first[identity]; again && other[1].index != i {
				r.wrong(path, "%s is also %s: each pool counts its own requests only, so their bounds add up", r.shown(path), pathText(other))
				continue
			}
			first[identity] = path
		}
	}
}

func hintHooks(r *reader, c *Config) {
	asked := make(map[string]bool)
	for i := range c.Models {
		for _, name := range c.Models[i].Hooks {
			asked[name] = true
		}
	}
	for i := range c.Hooks {
		h := &c.Hooks[i]
		if path := at("hooks", i, "name"); !asked[h.Name] {
			r.wrong(path, "no model has the hook %s", r.shown(path))
		}
		if h.SeesAnswers() && !r.given(at("hooks", i, "on_unseen")) {
			r.wrong(at("hooks", i, "when"), "a streamed answer cannot be shown to a hook, so requests for one are refused: on_unseen: refuse says that this is meant, pass lets them through")
		}
		path := at("hooks", i, "url")
		if u, err := url.Parse(h.URL); err == nil && u.Scheme == "http" && !privateHost(u.Hostname()) {
			r.wrong(path, "%s is not a private address, and http sends it what callers write, unencrypted", r.shown(path))
		}
	}
}

// sharedNAT is RFC 6598: not private by name, but never the Internet either.
var sharedNAT = netip.MustParsePrefix("100.64.0.0/10")

// privateSuffixes end names that public DNS does not have.
var privateSuffixes = []string{".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc", ".intranet", ".corp", ".home"}

// privateHost reports whether a host is not reached over the Internet, as far
// as its name tells.
func privateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || sharedNAT.Contains(ip)
	}
	return !strings.Contains(host, ".") ||
		slices.ContainsFunc(privateSuffixes, func(s string) bool { return strings.HasSuffix(host, s) })
}

func hintModel(r *reader, i int, m *Model) {
	if path := at("models", i, "timeouts", "total"); m.Timeouts.Total > patience {
		r.wrong(path, "%s is longer than the official SDKs wait, %s, unless their callers raise that", r.shown(path), formatDuration(patience))
	}
	weights, first := make(map[int]int), make(map[int]int) // by priority
	for j := range m.Targets {
		if t := &m.Targets[j]; !t.IsMirror() {
			if _, seen := first[t.Priority]; !seen {
				first[t.Priority] = j
			}
			weights[t.Priority] += t.Weight
		}
	}
	for priority, j := range first {
		if weights[priority] == 0 {
			r.wrong(at("models", i, "targets", j), "no target of priority %d has a weight: this priority is passed over", priority)
		}
	}
	capped := func(name string) bool {
		return slices.ContainsFunc(m.Params.Cap, func(c ParamCap) bool { return c.Name == name })
	}
	if old := "max_tokens"; capped(old) && !capped("max_completion_tokens") {
		r.wrong(at("models", i, "params", "cap", old), "does not bound max_completion_tokens, which newer clients send instead")
	}
}
