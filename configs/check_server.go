package configs

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Checks of server: addresses, times, CORS origins, TLS.

const (
	minAdminToken = 32  // characters; 192 random bits or more, as hex or base64
	maxSocketPath = 100 // bytes; Linux takes 107, macOS 103
)

func checkServer(r *reader, s *Server) {
	listen, admin := at("server", "listen"), at("server", "admin")
	if why := badListen(s.Listen); why != "" {
		r.wrong(listen, "%s is not an address such as :8080: %s", r.shown(listen), why)
	}
	if why := badListen(s.Admin); why != "" {
		r.wrong(admin, "%s is not an address such as 127.0.0.1:9090: %s", r.shown(admin), why)
	} else if host, port, _ := net.SplitHostPort(s.Admin); !isLoopback(host) && s.AdminToken.Empty() && !r.refused(at("server", "admin_token")) {
		r.wrong(admin, "%s is not on loopback: set admin_token, or bind it to 127.0.0.1 or [::1]", r.shown(admin))
	} else if _, listenPort, _ := net.SplitHostPort(s.Listen); port == listenPort && port != "0" {
		r.wrong(admin, "%s has the port of server.listen", r.shown(admin))
	}
	if lame, drain := at("server", "lame_duck"), at("server", "drain_timeout"); s.LameDuck > s.DrainTimeout && !r.refused(drain) {
		r.wrong(lame, "%s is longer than drain_timeout, %s, which it is part of", r.shown(lame), r.shownOr(drain, formatDuration(s.DrainTimeout)))
	}
	if path := at("server", "admin_token"); !s.AdminToken.Empty() {
		switch token := s.AdminToken.Reveal(); {
		case !visible(token, ""):
			r.wrong(path, "holds a space, a line break or another character that cannot stand in a credential")
		case len(token) < minAdminToken:
			r.wrong(path, "is shorter than %d characters; openssl rand -hex 32 makes one", minAdminToken)
		}
	}
	if path := at("server", "handover"); s.Handover != "" && (!filepath.IsAbs(s.Handover) || len(s.Handover) > maxSocketPath || s.Handover != filepath.Clean(s.Handover)) {
		r.wrong(path, "%s is not an absolute path of at most %d bytes, without . and ..", r.shown(path), maxSocketPath)
	}
	checkProxies(r, s.TrustedProxies)
	checkOrigins(r, s.CORS.Origins)
	r.pair(at("server", "tls"), s.TLS.Cert, s.TLS.Key)
}

// shownOr is the value at the path for a message, or the default that stands
// in for it.
func (r *reader) shownOr(path []step, byDefault string) string {
	if n, there := r.find(path); there {
		return n.shown()
	}
	return byDefault
}

// pair checks that cert and key below the path are both there or both not.
func (r *reader) pair(path []step, cert, key string) {
	switch {
	case cert != "" && key == "":
		r.wrong(below(path, "key"), "is missing: cert needs its key")
	case cert == "" && key != "":
		r.wrong(below(path, "cert"), "is missing: key needs its cert")
	}
}

// badListen says what is wrong with a host:port to listen on, or nothing.
func badListen(s string) string {
	host, port, err := net.SplitHostPort(s)
	switch {
	case err != nil:
		return "it must be host:port"
	case !validPort(port, 0):
		return "its port must be a number up to 65535"
	case host != "" && !validHost(host):
		return "its host must be a name or an IP address"
	}
	return ""
}

func validPort(s string, least uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= least
}

// validHost accepts IP addresses and names of letters, digits, dots, dashes and
// underscores (container networks use those).
func validHost(s string) bool {
	if strings.Contains(s, ":") {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func checkProxies(r *reader, proxies []netip.Prefix) {
	taken := names{}
	for i, p := range proxies {
		if p.IsValid() {
			taken.claim(r, p.String(), at("server", "trusted_proxies", i))
		}
	}
}

// checkLog checks where the access log goes. A path needs a /, so that a
// mistyped word does not become a file's name.
func checkLog(r *reader, l *Log) {
	path := at("log", "access")
	switch to := l.Access; {
	case to == "off", to == "stdout", to == "stderr":
	case !strings.Contains(to, "/"), strings.HasSuffix(to, "/"), strings.ContainsRune(to, 0):
		n, _ := r.find(path)
		r.wrong(path, "%s is not off, stdout, stderr, or a file's path with a / in it%s", r.shown(path), n.suggest([]string{"off", "stdout", "stderr"}))
	}
}

func checkOrigins(r *reader, origins []string) {
	taken := names{}
	for i, origin := range origins {
		path := at("server", "cors", "origins", i)
		if !validOrigin(origin) {
			r.wrong(path, "%s is not an origin such as https://app.example.com, or *", r.shown(path))
			continue
		}
		taken.claim(r, strings.ToLower(origin), path)
	}
}

// validOrigin accepts * and what a browser writes (RFC 6454 6.2): scheme, host
// and perhaps a port. Anything else would never match.
func validOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && s == u.Scheme+"://"+u.Host && validHost(u.Hostname()) &&
		!strings.HasSuffix(u.Host, ":") && (u.Port() == "" || validPort(u.Port(), 1))
}
