package admin

// Where the server may listen without a token, and by which names it is called
// there.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// errOffLoopback says why an address is refused, and what to do.
var errOffLoopback = errors.New("it is not a loopback address, and without a token anybody who reaches it could stop the router;" +
	" set a token, or 127.0.0.1, [::1] or localhost and reach it through a tunnel or a sidecar")

// hostOf returns the host of "host:port", or an error when it is an address off
// loopback and there is no token. A name other than localhost passes: where it
// leads is known once it is bound, and Serve looks again then.
func hostOf(listen string, token bool) (string, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("cannot use the admin address %q: %w", listen, err)
	}
	ip, err := netip.ParseAddr(host)
	if !token && (host == "" || err == nil && !ip.Unmap().IsLoopback()) {
		return "", fmt.Errorf("cannot listen on the admin address %q: %w", listen, errOffLoopback)
	}
	return host, nil
}

// onLoopback reports whether an address that is bound is reached from this
// machine alone.
func onLoopback(bound net.Addr) bool {
	tcp, ok := bound.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// allowsHost reports whether a request's Host header is one that only somebody
// who means this server would send: not a name an attacker points at loopback.
// None at all is HTTP/1.0 (load balancers' health checks); browsers always send
// one.
func (s *Server) allowsHost(header string) bool {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	if host == "" {
		return header == ""
	}
	if strings.EqualFold(host, "localhost") || strings.EqualFold(host, s.host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
