// A backend's URL, read strictly: what is not plainly a scheme, a host, a port
// and a path is refused here, so that nothing later has to guess which host a
// certificate is checked against.

package backends

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Address is a parsed backend URL: http(s)://host[:port][/path]. A plain value
// that may be compared; two spellings of one place give one Address.
type Address struct {
	Scheme string // "http" or "https"
	Host   string // lower case, an IPv6 literal without brackets; a trailing dot is kept, it means "no search domains"
	Port   string // decimal, the scheme's default where the URL had none
	Path   string // begins with a slash and has none at its end, or is empty; escaped as in the URL
}

// ParseAddress reads a backend URL. It refuses other schemes, credentials,
// queries, fragments, hosts that are neither a name nor an IP address, ports
// outside 1–65535, and paths that need cleaning. Its errors name the URL, but
// never what stands before an "@" or after a "?".
func ParseAddress(rawURL string) (Address, error) {
	a, err := parseAddress(rawURL)
	if err != nil {
		return Address{}, fmt.Errorf("cannot parse URL %q: %w", printableURL(rawURL), err)
	}
	return a, nil
}

func parseAddress(rawURL string) (a Address, err error) {
	// First, as every later error may quote what it found.
	if strings.Contains(rawURL, "@") {
		return a, errors.New(`credentials do not belong in it, and an "@" in a path is written %40`)
	}
	if strings.ContainsAny(rawURL, "?#") {
		return a, errors.New("a query or a fragment has no meaning here")
	}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	a.Scheme = strings.ToLower(scheme)
	if !ok || a.Scheme != "http" && a.Scheme != "https" {
		return a, errors.New("it must begin with http:// or https://")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if a.Host, a.Port, err = splitHostPort(authority); err != nil {
		return a, err
	}
	if a.Port == "" {
		a.Port = defaultPort(a.Scheme)
	}
	a.Path = strings.TrimSuffix(path, "/")
	return a, checkPath(a.Path)
}

// printableURL is rawURL without what could be a secret.
func printableURL(rawURL string) string {
	if i := strings.LastIndexByte(rawURL, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(rawURL[:i], "://")
		if ok && isName(scheme) {
			scheme += "://"
		} else {
			scheme = ""
		}
		rawURL = scheme + "[redacted]" + rawURL[i:]
	}
	if i := strings.IndexAny(rawURL, "?#"); i >= 0 {
		rawURL = rawURL[:i+1] + "…"
	}
	if len(rawURL) > 256 {
		rawURL = rawURL[:256] + "…"
	}
	return rawURL
}

// splitHostPort reads host, host:port, [v6] or [v6]:port; port is "" when left out.
func splitHostPort(authority string) (host, port string, err error) {
	rest := ""
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", errors.New(`a "]" is missing after the IPv6 address`)
		}
		if host, err = parseIPv6(authority[1:end]); err != nil {
			return "", "", err
		}
		rest = authority[end+1:]
		if rest != "" && rest[0] != ':' {
			return "", "", fmt.Errorf(`after the "]" comes %q, not a port`, rest)
		}
	} else {
		if strings.Count(authority, ":") > 1 {
			return "", "", fmt.Errorf("host %q has more than one colon; an IPv6 address stands in brackets", authority)
		}
		name := authority
		if i := strings.IndexByte(authority, ':'); i >= 0 {
			name, rest = authority[:i], authority[i:]
		}
		if host, err = parseHost(name); err != nil {
			return "", "", err
		}
	}
	if rest == "" {
		return host, "", nil
	}
	port, err = parsePort(rest[1:])
	return host, port, err
}

// parseIPv6 returns the one spelling of what stood in brackets; its zone, if it
// has one, is written %25eth0 in a URL (RFC 6874).
func parseIPv6(literal string) (string, error) {
	bare, zone, zoned := strings.Cut(literal, "%25")
	addr, err := netip.ParseAddr(bare)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", fmt.Errorf("%q is not an IPv6 address", literal)
	}
	if !zoned {
		return addr.Unmap().String(), nil
	}
	if !isName(zone) || addr.Is4In6() {
		return "", fmt.Errorf("%q has no zone of an IPv6 address", literal)
	}
	return addr.WithZone(zone).String(), nil
}

// parseHost returns a DNS name or an IPv4 address in its one spelling. Names
// that end in a number are refused unless they are an IPv4 address, because a
// resolver may read 127.1 or 0x7f000001 as one.
func parseHost(name string) (string, error) {
	host := strings.ToLower(name)
	bare := strings.TrimSuffix(host, ".")
	switch {
	case bare == "":
		return "", errors.New("the host is missing")
	case len(bare) > 253:
		return "", errors.New("the host is longer than 253 characters")
	}
	last := ""
	for label := range strings.SplitSeq(bare, ".") {
		if !isName(label) || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%q is not a host name (international ones are written in their xn-- form)", name)
		}
		last = label
	}
	if !isNumber(last) {
		return host, nil
	}
	if addr, err := netip.ParseAddr(host); err != nil || !addr.Is4() {
		return "", fmt.Errorf("%q is neither a host name nor an IPv4 address of four decimal numbers", name)
	}
	return host, nil
}

// isNumber reports whether a label reads as a decimal or 0x… number.
func isNumber(label string) bool {
	if strings.HasPrefix(label, "0x") && strings.Trim(label[2:], "0123456789abcdef") == "" {
		return true
	}
	return strings.Trim(label, "0123456789") == ""
}

// isName reports whether s is one or more letters, digits, hyphens or
// underscores; engines in containers do have names with underscores.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

func parsePort(text string) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || len(text) > 5 {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", text)
	}
	return strconv.FormatUint(n, 10), nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// checkPath refuses what a server between us and the engine could read as
// another path.
func checkPath(path string) error {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case isAlphanumeric(c), strings.IndexByte("/-._~!$&'()*+,;=:", c) >= 0:
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
		default:
			return fmt.Errorf("character %q at offset %d of the path must be percent-encoded", c, i)
		}
	}
	if path == "" {
		return nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case "":
			return errors.New(`the path has an empty segment ("//")`)
		case ".", "..":
			return fmt.Errorf("the path has a dot segment (%q)", segment)
		}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// String returns the URL in its one spelling.
func (a Address) String() string { return a.Scheme + "://" + a.HostHeader() + a.Path }

// HostPort returns host:port for a dialer, an IPv6 address in brackets.
func (a Address) HostPort() string { return bracketed(a.Host) + ":" + a.Port }

// HostHeader returns the value of the Host header: without the scheme's default
// port, a trailing dot or an IPv6 zone (RFC 6874 §4 keeps zones off the wire).
func (a Address) HostHeader() string {
	host := bracketed(wireHost(a.Host))
	if a.Port == defaultPort(a.Scheme) {
		return host
	}
	return host + ":" + a.Port
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// wireHost is host as others know it: what is left out means something on this
// machine only.
func wireHost(host string) string {
	host, _, _ = strings.Cut(host, "%")
	return strings.TrimSuffix(host, ".")
}

// JoinPath appends the path of a request (which begins with a slash, and may
// carry a query) to the backend's own; where that one ends in /v1 too, it is
// not doubled. It allocates only if the backend has a path.
func (a Address) JoinPath(path string) string {
	const version = "/v1"
	if a.Path == "" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, version); ok && strings.HasSuffix(a.Path, version) &&
		(rest == "" || rest[0] == '/' || rest[0] == '?') {
		path = rest
	}
	return a.Path + path
}
