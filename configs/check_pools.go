package configs

import (
	"net/url"
	"slices"
	"strings"

	"github.com/helixflow/helixflow"
)

// Checks of pools: names, backend URLs, headers, credentials, proxy.

func checkPools(r *reader, pools []Pool) {
	taken := names{}
	for i := range pools {
		p := &pools[i]
		path := at("pools", i, "name")
		r.identifier(p.Name, path)
		taken.claim(r, p.Name, path)
		encrypted := checkBackends(r, at("pools", i, "backends"), p.Backends)
		encrypted = checkDiscover(r, i, p) || encrypted
		checkHeaders(r, i, p)
		r.clientTLS(at("pools", i, "tls"), &p.TLS)
		if path := at("pools", i, "tls"); p.TLS != (ClientTLS{}) && !encrypted && !r.refused(at("pools", i, "backends")) {
			r.wrong(path, "has no use: no backend of the pool is https")
		}
		if why := badProxy(p.Proxy.Reveal()); why != "" {
			r.wrong(at("pools", i, "proxy"), "is not a proxy such as http://proxy.example.com:3128: %s", why)
		}
		if path := at("pools", i, "session_header"); !isToken(p.SessionHeader) && p.SessionHeader != "" {
			r.wrong(path, "%s is not the name of a header", r.shown(path))
		}
		checkShadow(r, i, p)
		checkCredentials(r, i, p)
		checkTimes(r, i, p)
		if path, least := at("pools", i, "concurrency", "max"), at("pools", i, "concurrency", "min"); p.Concurrency.Max < p.Concurrency.Min && !r.refused(least) {
			r.wrong(path, "%s is below min, %d", r.shown(path), p.Concurrency.Min)
		}
		checkHedge(r, i, p)
		checkSignals(r, i, p)
		if path := at("pools", i, "warmup", "model"); p.Warmup.Model == "" && r.given(path) {
			r.wrong(path, "is empty")
		}
	}
}

func checkShadow(r *reader, i int, p *Pool) {
	if len(p.Shadow) > MaxShadows {
		r.wrong(at("pools", i, "shadow"), "has %d policies: at most %d", len(p.Shadow), MaxShadows)
	}
	if j := slices.Index(p.Shadow, p.Balance); j >= 0 {
		r.wrong(at("pools", i, "shadow", j), "is the pool's own policy")
	}
}

func checkCredentials(r *reader, i int, p *Pool) {
	const unfit = "holds a space, a line break or another character that cannot stand in a credential"
	if !visible(p.APIKey.Reveal(), "") {
		r.wrong(at("pools", i, "api_key"), unfit)
	}
	if !p.APIKey.Empty() && len(p.Keys) > 0 {
		r.wrong(at("pools", i, "keys"), "excludes api_key: write one or the other")
	}
	taken := make(map[string]int, len(p.Keys))
	for j, key := range p.Keys {
		path := at("pools", i, "keys", j)
		if !visible(key.Reveal(), "") {
			r.wrong(path, unfit)
		}
		if first, again := taken[key.Reveal()]; again && !key.Empty() {
			r.wrong(path, "is the same as %s", pathText(at("pools", i, "keys", first)))
		} else {
			taken[key.Reveal()] = j
		}
	}
}

// checkTimes checks health and ejection.
func checkTimes(r *reader, i int, p *Pool) {
	health, ejection := at("pools", i, "health"), at("pools", i, "ejection")
	if path := below(health, "path"); p.Health.Path != "" && badRequestPath(p.Health.Path) {
		r.wrong(path, "%s is not a path such as /health: it starts with a / and has neither spaces nor a #", r.shown(path))
	}
	if path, every := below(health, "timeout"), below(health, "every"); p.Health.Timeout > p.Health.Every && !r.refused(every) {
		r.wrong(path, "%s is longer than every, %s", r.shown(path), r.shownOr(every, formatDuration(p.Health.Every)))
	}
	if path, base := below(ejection, "max"), below(ejection, "base"); p.Ejection.Max < p.Ejection.Base && !r.refused(base) {
		r.wrong(path, "%s is shorter than base, %s", r.shown(path), r.shownOr(base, formatDuration(p.Ejection.Base)))
	}
}

// checkHedge checks that a second try makes sense, and does not cost money.
func checkHedge(r *reader, i int, p *Pool) {
	path := at("pools", i, "hedge")
	if p.Hedge.Off {
		return
	}
	if p.Engine == "openai" && !r.refused(at("pools", i, "engine")) {
		r.wrong(path, "is not for engine openai: a hosted API bills both tries; name the engine of one's own backends")
	}
	if p.Retry.Attempts < 2 {
		r.wrong(path, "has no use: retry.attempts is 1, and a second try counts")
	}
	if path := below(path, "percentile"); p.Hedge.After > 0 && r.given(path) {
		r.wrong(path, "excludes after: write one or the other")
	}
}

// checkSignals checks what is read of the engine.
func checkSignals(r *reader, i int, p *Pool) {
	path := at("pools", i, "signals", "path")
	if p.Signals.Path != "" && badRequestPath(p.Signals.Path) {
		r.wrong(path, "%s is not a path such as /metrics: it starts with a / and has neither spaces nor a #", r.shown(path))
	}
	for _, key := range []string{"path", "port"} {
		path := at("pools", i, "signals", key)
		if r.given(path) && (p.Engine == "openai" || p.Engine == "ollama") && !r.refused(at("pools", i, "engine")) {
			r.wrong(path, "has no use: with engine %s nobody knows the names of what is read there", p.Engine)
		}
	}
}

// badRequestPath tells what cannot stand in a request line after a base URL.
func badRequestPath(s string) bool {
	u, err := url.ParseRequestURI(s)
	return err != nil || s[0] != '/' || strings.HasPrefix(s, "//") || strings.Contains(s, "#") || !visible(s, "") || u.Host != ""
}

// checkBackends checks the URLs of a list and tells whether one is https.
func checkBackends(r *reader, list []step, backends []Backend) (encrypted bool) {
	taken := names{}
	for j := range backends {
		path := append(slices.Clone(list), step{index: j}, keyStep("url"))
		identity, why := backendIdentity(backends[j].URL)
		switch {
		case backends[j].URL == "":
			r.wrong(path, "is empty")
		case why != "":
			if n, there := r.find(path); there && strings.Contains(n.text, "@") {
				r.mask(n) // a password
			}
			r.wrong(path, "%s %s", r.shown(path), why)
		default:
			taken.claim(r, identity, path)
		}
		https := strings.HasPrefix(identity, "https:")
		encrypted = encrypted || https
		tls := append(slices.Clone(list), step{index: j}, keyStep("tls"))
		r.clientTLS(tls, &backends[j].TLS)
		if backends[j].TLS != (ClientTLS{}) && !https && !r.refused(path) {
			r.wrong(tls, "has no use: the backend is not https")
		}
	}
	return encrypted
}

// backendIdentity returns the URL in the form in which two that lead to the
// same place are equal, or why it is none.
func backendIdentity(s string) (identity, why string) {
	if name, ok := strings.CutPrefix(s, "sim:"); ok {
		return s, badSimName(name)
	}
	u, why := parseHTTP(s)
	if why != "" {
		return "", why
	}
	switch path := u.EscapedPath(); {
	case strings.Contains(path, "//"), strings.Contains(path+"/", "/./"), strings.Contains(path+"/", "/../"):
		return "", "has a path with an empty, . or .. part"
	case u.User != nil:
		return "", "holds a user name or password; use api_key or headers"
	case u.RawQuery != "", u.ForceQuery:
		return "", "has a query; the request's own is sent"
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port + strings.TrimSuffix(u.EscapedPath(), "/"), ""
}

func badSimName(name string) string {
	good := name != "" && len(name) <= 64
	for i := range len(name) {
		c := name[i]
		good = good && (isAlnum(c) || i > 0 && (c == '-' || c == '_' || c == '.'))
	}
	if !good {
		return "is not sim:NAME with a name of letters, digits, dots, dashes and underscores"
	}
	return ""
}

// parseHTTP reads an absolute http or https URL; why never repeats it.
func parseHTTP(s string) (u *url.URL, why string) {
	u, err := url.Parse(s)
	switch lower := strings.ToLower(s); {
	case !strings.HasPrefix(lower, "http://") && !strings.HasPrefix(lower, "https://"):
		return nil, "does not start with http:// or https://"
	case err != nil, u.Opaque != "":
		return nil, "is not a URL"
	case strings.Contains(s, "#"):
		return nil, "has a # fragment"
	case !validHost(u.Hostname()):
		return nil, "has no valid host"
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port(), 1):
		return nil, "has no valid port"
	case !visible(s, ""):
		return nil, "has a character that must be percent-encoded"
	}
	return u, ""
}

func badProxy(s string) string {
	if s == "" {
		return ""
	}
	u, why := parseHTTP(s)
	switch {
	case why != "":
		return "it " + why
	case u.Scheme != "http":
		return "only http:// proxies are supported"
	case u.Port() == "":
		return "its port is missing"
	case strings.TrimSuffix(u.Path, "/") != "", u.RawQuery != "", u.ForceQuery:
		return "it is more than a host and a port"
	}
	return ""
}

// visible reports whether s is printable ASCII without spaces, but for the
// characters in also.
func visible(s, also string) bool {
	for i := range len(s) {
		if c := s[i]; (c <= ' ' || c > '~') && !strings.Contains(also, string(rune(c))) {
			return false
		}
	}
	return true
}

// ownHeaders are those the router writes itself: the connection's (RFC 9110
// 7.6.1), the message's, and its own.
var ownHeaders = map[string]bool{
	"host": true, "content-length": true, "content-type": true, "content-encoding": true, "transfer-encoding": true,
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authorization": true, "proxy-authenticate": true,
	"te": true, "trailer": true, "upgrade": true, "expect": true,
	helixflow.HeaderRequestID: true,
}

func checkHeaders(r *reader, i int, p *Pool) {
	n, there := r.find(at("pools", i, "headers"))
	if !there {
		return
	}
	taken := names{}
	for _, e := range n.keys { // in the file's order
		name, path := e.key.text, at("pools", i, "headers", e.key.text)
		lower := strings.ToLower(name)
		switch {
		case !isToken(name): // told
		case ownHeaders[lower] || strings.HasPrefix(lower, helixflow.HeaderOwnPrefix):
			r.wrong(path, "is a header the router writes itself")
		case lower == "authorization" && len(p.Credentials()) > 0:
			r.wrong(path, "excludes api_key and keys, which are sent in this header")
		case !visible(p.Headers[name], " \t"):
			r.wrong(path, "has a line break or another character that cannot stand in a header")
		case p.Headers[name] != strings.Trim(p.Headers[name], " \t"):
			r.wrong(path, "has a space at its start or end")
		}
		if first, again := taken[lower]; again {
			r.wrong(path, "is given twice, as %s", pathText(first))
		}
		taken[lower] = path
	}
}

// isToken is RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
