package configs

import "strings"

// Checks of hooks, and of the names that models call them by.

func checkHooks(r *reader, hooks []Hook) {
	taken := names{}
	for i := range hooks {
		h := &hooks[i]
		name := at("hooks", i, "name")
		r.identifier(h.Name, name)
		taken.claim(r, h.Name, name)
		encrypted := checkHookURL(r, h.URL, at("hooks", i, "url"))
		if path := at("hooks", i, "token"); !visible(h.Token.Reveal(), "") {
			r.wrong(path, "holds a space, a line break or another character that cannot stand in a credential")
		}
		r.clientTLS(at("hooks", i, "tls"), &h.TLS)
		if path := at("hooks", i, "tls"); h.TLS != (ClientTLS{}) && !encrypted && !r.refused(at("hooks", i, "url")) {
			r.wrong(path, "has no use: the hook's url is not https")
		}
	}
}

// checkHookURL checks a hook's url and tells whether it is https.
func checkHookURL(r *reader, s string, path []step) (encrypted bool) {
	identity, why := backendIdentity(s)
	switch {
	case s == "":
		r.wrong(path, "is empty")
		return false
	case strings.HasPrefix(s, "sim:"):
		why = "is a simulated engine, and no hook"
	case strings.Contains(s, "?"): // perhaps with a key in it
		if n, there := r.find(path); there {
			r.mask(n)
		}
		why = "has a query; what is secret belongs in token"
	case why == "" && strings.HasSuffix(s, "/") && strings.Count(s, "/") > 3:
		why = "ends in a slash, which would not be sent"
	case strings.Contains(s, "@") && why != "":
		if n, there := r.find(path); there {
			r.mask(n)
		}
		why = "holds a user name or password; use token"
	}
	if why != "" {
		r.wrong(path, "%s %s", r.shown(path), why)
	}
	return strings.HasPrefix(identity, "https:")
}

// clientTLS checks what stands below the path of a tls key.
func (r *reader) clientTLS(path []step, t *ClientTLS) {
	r.pair(path, t.Cert, t.Key)
	if name := below(path, "server_name"); t.ServerName != "" && !validHost(t.ServerName) {
		r.wrong(name, "%s is not a host name", r.shown(name))
	}
}

// checkModelHooks checks the hooks that model i names.
func checkModelHooks(r *reader, i int, list []string, hooks names) {
	taken := names{}
	for j, name := range list {
		path := at("models", i, "hooks", j)
		if _, ok := hooks[name]; !ok || name == "" {
			n, there := r.find(path)
			if there {
				r.wrong(path, "there is no hook %s%s", n.shown(), n.suggest(hooks.written(r)))
			}
			continue
		}
		taken.claim(r, name, path)
	}
}
