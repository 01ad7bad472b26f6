package admin

// Who may reach the server while it has no authentication.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// errOffLoopback says why an address is refused, and what to do.
var errOffLoopback = errors.New("it is not a loopback address, and without authentication anybody who reaches it" +
	" could read what it shows; set server.admin to 127.0.0.1, [::1] or localhost, and reach it through a tunnel or a sidecar")

// loopbackHost returns the host of "host:port", or an error when it is an
// address off loopback. A name other than localhost passes: where it leads is
// known once it is bound, and mustBeLoopback looks again then.
func loopbackHost(listen string) (string, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("cannot use the admin address %q: %w", listen, err)
	}
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && !ip.Unmap().IsLoopback() {
		return "", fmt.Errorf("cannot listen on the admin address %q: %w", listen, errOffLoopback)
	}
	return host, nil
}

// mustBeLoopback checks an address that is bound.
func mustBeLoopback(bound net.Addr) error {
	if tcp, ok := bound.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("cannot listen on the admin address %s: %w", bound, errOffLoopback)
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
