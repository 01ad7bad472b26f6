//go:build integration

// A client of sockets: it reads the answer while it still sends, so that an
// early refusal is seen, and can leave in any way.

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type client struct {
	net.Conn

	tcp *net.TCPConn
	br  *bufio.Reader
}

func (w *world) dial(ts *testscript.TestScript, addr string, overTLS bool) *client {
	plain, err := net.DialTimeout("tcp", addr, patience)
	ts.Check(err)
	c := &client{Conn: plain, tcp: plain.(*net.TCPConn)}
	if overTLS {
		config := &tls.Config{RootCAs: w.roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
		if w.shown != nil {
			// Whatever authorities the router names.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return w.shown, nil }
		}
		c.Conn = tls.Client(plain, config)
	}
	c.br = bufio.NewReader(c.Conn)
	return c
}

func (c *client) close() { _ = c.Conn.Close() }

// leave hangs up: with FIN, with RST, or with a FIN of this half alone.
func (c *client) leave(how string) error {
	switch how {
	case "rst":
		_ = c.tcp.SetLinger(0)
		return c.tcp.Close()
	case "half":
		if t, ok := c.Conn.(*tls.Conn); ok {
			_ = t.CloseWrite() // close_notify; the FIN follows
		}
		return c.tcp.CloseWrite()
	default:
		return c.Conn.Close()
	}
}

// request is what to send.
type request struct {
	method, path, host string
	header             []string
	body               []byte
	chunked            bool
}

func (r request) has(name string) bool {
	return slices.ContainsFunc(r.header, func(h string) bool {
		n, _, _ := strings.Cut(h, ":")
		return strings.EqualFold(n, name)
	})
}

func (r request) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.path)
	if !r.has("Host") {
		b.WriteString("Host: " + r.host + "\r\n")
	}
	for _, h := range r.header {
		b.WriteString(h + "\r\n")
	}
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for part := range slices.Chunk(r.body, 32<<10) {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		}
		b.WriteString("0\r\n\r\n")
	case r.method == "GET" || r.method == "HEAD":
		b.WriteString("\r\n")
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(r.body))
		b.Write(r.body)
	}
	return b.Bytes()
}

// answer is what came back.
type answer struct {
	status string // "HTTP/1.1 200 OK"
	header http.Header
	body   []byte
	cut    error // why the body ended early
	took   time.Duration
}

// ask sends and reads the whole answer; begun, when not nil, is closed at the
// first byte of the body.
func (c *client) ask(r request, begun chan<- struct{}) (a answer, err error) {
	if begun != nil {
		defer func() {
			if begun != nil {
				close(begun)
			}
		}()
	}
	start := time.Now()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.Conn.Write(r.bytes()) // an early refusal cuts it; the answer says so
	}()
	resp, err := c.head(r.method)
	if err != nil {
		c.close()
		<-sent
		return answer{}, err
	}
	a.status, a.header = resp.Proto+" "+resp.Status, resp.Header
	first := make([]byte, 1)
	n, err := resp.Body.Read(first)
	if begun != nil {
		close(begun)
		begun = nil
	}
	a.body = first[:n]
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(resp.Body)
		a.body = append(a.body, rest...)
	}
	if err != io.EOF {
		a.cut = err
	}
	a.took = time.Since(start)
	if a.cut != nil || resp.Close {
		c.close()
	}
	<-sent
	return a, nil
}

// head reads an answer's head, passing over the 1xx before it.
func (c *client) head(method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

// print writes an answer as the scripts see it.
func (a answer) print(to io.Writer) {
	var lines []string
	for name, values := range a.header {
		for _, v := range values {
			lines = append(lines, strings.ToLower(name)+": "+v)
		}
	}
	slices.Sort(lines)
	fmt.Fprintf(to, "%s\n%s\n\n%s\n", a.status, strings.Join(lines, "\n"), a.body)
	if a.cut != nil {
		fmt.Fprintf(to, "[cut: %v]\n", a.cut)
	}
}
