// An egress proxy: its URL, and the CONNECT exchange that makes a tunnel
// through it (RFC 9110 §9.3.6).

package backends

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/helixflow/helixflow/internal/secret"
)

// maxProxyHead bounds what a proxy may answer to CONNECT.
const maxProxyHead = 16 << 10

var errProxyHead = fmt.Errorf("the head of its answer is above %d bytes", maxProxyHead)

// Proxy is where connections to hosted APIs leave the network. Immutable; it
// prints without its password.
type Proxy struct {
	address Address
	auth    secret.Text // the value of Proxy-Authorization; empty without credentials
}

// ParseProxy reads http(s)://[user[:password]@]host[:port]. User and password
// are percent-decoded. Its errors never name them.
func ParseProxy(raw string) (*Proxy, error) {
	userinfo, bare := cutUserinfo(raw)
	if scheme, _, _ := strings.Cut(strings.ToLower(raw), "://"); strings.HasPrefix(scheme, "socks") {
		return nil, fmt.Errorf("cannot use proxy %q: SOCKS is not supported, only http:// and https:// proxies", printableURL(bare))
	}
	address, err := ParseAddress(bare)
	if err != nil {
		return nil, fmt.Errorf("cannot use proxy: %w", err)
	}
	if address.Path != "" {
		return nil, fmt.Errorf("cannot use proxy %q: its URL has a path", bare)
	}
	p := &Proxy{address: address}
	if userinfo == "" {
		return p, nil
	}
	user, password, _ := strings.Cut(userinfo, ":")
	user, errUser := url.PathUnescape(user)
	password, errPassword := url.PathUnescape(password)
	if errUser != nil || errPassword != nil {
		return nil, fmt.Errorf("cannot use proxy %q: its user or password has a broken %%-escape", bare)
	}
	if strings.Contains(user, ":") { // RFC 7617 §2
		return nil, fmt.Errorf("cannot use proxy %q: its user has a colon", bare)
	}
	p.auth = secret.New("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	return p, nil
}

// cutUserinfo splits what stands before the last "@" of the authority off.
func cutUserinfo(raw string) (userinfo, bare string) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", raw
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return "", raw
	}
	return authority[:at], scheme + "://" + rest[at+1:]
}

// String returns the proxy's URL without credentials.
func (p *Proxy) String() string { return p.address.String() }

// GoString is String, for %#v, which would walk into the fields.
func (p *Proxy) GoString() string { return p.String() }

// tunnel asks the proxy at the other end of conn for a connection to target
// (host:port). The deadline is conn's. What follows the answer's head belongs
// to the tunnel and is read from the returned connection first.
func (p *Proxy) tunnel(conn net.Conn, target string) (net.Conn, error) {
	request := make([]byte, 0, 256)
	request = append(request, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n"...)
	if !p.auth.Empty() {
		request = append(request, "Proxy-Authorization: "+p.auth.Reveal()+"\r\n"...)
	}
	request = append(request, "\r\n"...)
	if _, err := conn.Write(request); err != nil {
		return nil, fmt.Errorf("cannot write CONNECT: %w", err)
	}
	head, ahead, err := readProxyHead(conn)
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer to CONNECT: %w", err)
	}
	status, ok := proxyStatus(head)
	switch {
	case !ok:
		return nil, errors.New("the answer to CONNECT is not HTTP/1")
	case status == "407":
		return nil, errors.New("it answered CONNECT with status 407: it wants other credentials")
	case status[0] != '2':
		return nil, fmt.Errorf("it answered CONNECT with status %s", status)
	case len(ahead) > 0:
		return &aheadConn{Conn: conn, ahead: ahead}, nil
	}
	return conn, nil
}

// readProxyHead reads until the empty line. The slices belong to the caller.
func readProxyHead(r io.Reader) (head, ahead []byte, err error) {
	buf := make([]byte, maxProxyHead)
	for n := 0; ; {
		m, err := r.Read(buf[n:])
		from := max(n-3, 0) // the empty line may straddle two reads
		n += m
		if i := bytes.Index(buf[from:n], []byte("\r\n\r\n")); i >= 0 {
			end := from + i + 4
			return buf[:end], buf[end:n], nil
		}
		switch {
		case n == len(buf):
			return nil, nil, errProxyHead
		case errors.Is(err, io.EOF):
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		}
	}
}

// proxyStatus returns the three digits of a status line. The reason phrase is
// the proxy's own text and goes nowhere.
func proxyStatus(head []byte) (status string, ok bool) {
	const prefix = "HTTP/1.1 "
	if len(head) < len(prefix)+4 || !bytes.HasPrefix(head, []byte("HTTP/1.")) || head[8] != ' ' {
		return "", false
	}
	status = string(head[len(prefix) : len(prefix)+3])
	if after := head[len(prefix)+3]; after != ' ' && after != '\r' {
		return "", false
	}
	return status, strings.Trim(status, "0123456789") == ""
}

// aheadConn is a connection of which some bytes were read already.
type aheadConn struct {
	net.Conn
	ahead []byte
}

func (c *aheadConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil // lets go of the buffer behind it
	}
	return n, nil
}
