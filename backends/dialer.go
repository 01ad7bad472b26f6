// A new connection to one backend: addresses, TCP, proxy, TLS, in this order
// and all of it inside one deadline.

package backends

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A peer that vanished without a word is noticed within 30 s: after
// userTimeout where bytes are outstanding, else by keep-alive probes.
const (
	keepAliveIdle     = 10 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3
	userTimeout       = 20 * time.Second
)

// tlsSessions is how many TLS sessions one Dialer keeps for resumption.
const tlsSessions = 64

// DialOptions say how to reach one backend.
type DialOptions struct {
	Address   Address
	TLS       *tls.Config         // for an https address; nil: verified against the system's roots
	Proxy     *Proxy              // nil: none
	ProxyTLS  *tls.Config         // for an https proxy; nil: verified against the system's roots
	Lookup    LookupFunc          // nil: the operating system's
	KeepAlive net.KeepAliveConfig // zero: a probe after 10 s of silence, then each 5 s, dead after 3
}

// Dialer opens connections to one backend. It owns the Resolver of the host it
// connects to, which is the proxy's if there is one. Safe for concurrent use.
type Dialer struct {
	options  DialOptions
	address  Address
	next     Address // who is connected to: the backend or the proxy
	port     uint16  // of next
	proxy    *Proxy
	proxyTLS *tls.Config // nil unless the proxy is an https one
	tls      *tls.Config // nil unless the backend is an https one
	resolver *Resolver
	tcp      net.Dialer
	connect  func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	turn     atomic.Uint32 // which address is tried first, so that connections spread

	mu    sync.Mutex               // guards the field below
	avoid map[netip.Addr]time.Time // addresses that lately failed or were overtaken, until when they go last
}

// NewDialer prepares connections to a backend and starts to resolve its host.
// The TLS configs are copied; verification cannot be turned off through them.
func NewDialer(o DialOptions) *Dialer {
	d := &Dialer{options: o, address: o.Address, next: o.Address, proxy: o.Proxy}
	if o.Address.Scheme == "https" {
		d.tls = verifying(o.TLS, o.Address.Host)
	}
	if o.Proxy != nil {
		d.next = o.Proxy.address
		if d.next.Scheme == "https" {
			d.proxyTLS = verifying(o.ProxyTLS, d.next.Host)
		}
	}
	if port, err := strconv.ParseUint(d.next.Port, 10, 16); err == nil {
		d.port = uint16(port)
	}
	if o.KeepAlive == (net.KeepAliveConfig{}) {
		o.KeepAlive = net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount}
	}
	d.tcp.KeepAliveConfig = o.KeepAlive
	d.tcp.Control = func(_, _ string, c syscall.RawConn) error { return setUserTimeout(c, userTimeout) }
	d.connect = d.connectTCP
	d.resolver = NewResolver(d.next.Host, o.Lookup)
	return d
}

// verifying returns a copy of c for one Dialer, with sessions of its own: a
// resumed session skips the check against the roots, so it must not outlive them.
func verifying(c *tls.Config, host string) *tls.Config {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	c = c.Clone()
	c.InsecureSkipVerify = false
	if c.ServerName == "" {
		c.ServerName = wireHost(host)
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions)
	return c
}

// Dial returns a connection that is ready for a request; the caller closes it.
// The deadline of ctx bounds everything together; the connection outlives ctx.
// As soon as there is a TCP connection, and before a proxy or TLS is spoken to
// over it, onRaw (which may be nil) is called with it: from then on it may be
// closed from any goroutine to break Dial off. The error is a *DialError.
func (d *Dialer) Dial(ctx context.Context, onRaw func(raw net.Conn)) (net.Conn, error) {
	addrs, err := d.resolver.Addrs(ctx)
	if err != nil {
		return nil, &DialError{Phase: "resolve", Addr: d.next.HostPort(), Err: err}
	}
	var raw net.Conn
	if len(addrs) == 1 {
		raw, err = d.connect(ctx, netip.AddrPortFrom(addrs[0], d.port))
	} else {
		raw, err = d.race(ctx, d.order(addrs, time.Now()))
	}
	if err != nil {
		return nil, &DialError{Phase: "connect", Addr: d.next.HostPort(), Err: err}
	}
	if onRaw != nil {
		onRaw(raw)
	}
	if d.plain() {
		return raw, nil
	}
	return d.secure(ctx, raw)
}

// plain reports whether nothing but TCP lies under the requests.
func (d *Dialer) plain() bool { return d.tls == nil && d.proxyTLS == nil }

func (d *Dialer) connectTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return d.tcp.DialContext(ctx, "tcp", to.String())
}

// secure puts what is configured over a TCP connection, which it closes on
// failure.
func (d *Dialer) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, phase, err := d.layers(raw)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close() // not conn: TLS would wait to say goodbye
		return nil, d.failed(phase, err)
	}
	return conn, nil
}

// layers speaks to the proxy and then to the backend; phase is the one it ended in.
func (d *Dialer) layers(conn net.Conn) (_ net.Conn, phase string, err error) {
	if d.proxyTLS != nil {
		if conn, err = handshake(conn, d.proxyTLS); err != nil {
			return nil, "proxy", fmt.Errorf("cannot agree on TLS with it: %w", err)
		}
	}
	if d.tls == nil {
		return conn, "proxy", nil
	}
	if d.proxy != nil {
		if conn, err = d.proxy.tunnel(conn, bracketed(wireHost(d.address.Host))+":"+d.address.Port); err != nil {
			return nil, "proxy", err
		}
	}
	conn, err = handshake(conn, d.tls)
	return conn, "tls", err
}

func handshake(conn net.Conn, c *tls.Config) (net.Conn, error) {
	secured := tls.Client(conn, c)
	if err := secured.Handshake(); err != nil {
		return nil, err
	}
	return secured, nil
}

func (d *Dialer) failed(phase string, err error) error {
	if phase == "proxy" {
		return &DialError{Phase: phase, Addr: d.next.HostPort(), Err: err}
	}
	return &DialError{Phase: phase, Addr: d.address.HostPort(), Err: err}
}

// AbsoluteForm reports whether requests go to a proxy that reads them, and so
// name the whole URL in their first line (RFC 9112 §3.2.2).
func (d *Dialer) AbsoluteForm() bool { return d.proxy != nil && d.tls == nil }

// ProxyAuthorization returns the value of the Proxy-Authorization header for
// requests in absolute form, or "". It is empty where a tunnel is used, as the
// backend would read the header there.
func (d *Dialer) ProxyAuthorization() string {
	if !d.AbsoluteForm() {
		return ""
	}
	return d.proxy.auth.Reveal()
}

// ResolveErr returns why the latest lookup of the host failed, or nil. Dials may
// succeed all the same, with the last good addresses.
func (d *Dialer) ResolveErr() error { return d.resolver.Err() }

// Close ends the resolving and waits for its end. Connections live on.
func (d *Dialer) Close() { d.resolver.Close() }

// DialError is why Dial got no connection. No byte of a request was sent.
type DialError struct {
	Phase string // "resolve", "connect", "proxy" or "tls"
	Addr  string // host:port of the peer it failed with: the proxy's where that is at fault
	Err   error
}

// Error returns the operator's text. It names phase and address, and never a
// password.
func (e *DialError) Error() string {
	return fmt.Sprintf("cannot dial %s (%s): %v", e.Addr, e.Phase, e.Err)
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether a deadline ran out.
func (e *DialError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}
