//go:build integration && linux

// Many websockets at once, and much over one of them.

package chaos

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/websocket"
	"github.com/helixflow/helixflow/tests/fakellm"
)

const (
	maxPerSocket = 40 // KiB
	largeFrame   = 512 << 20
)

func socketConfig(backend string) func(hash string) string {
	return func(hash string) string {
		return fmt.Sprintf(`
tenants: [{name: t, keys: [{name: k, hash: %q}]}]
pools: [{name: p, backends: [{url: "http://%s"}]}]
models: [{name: m, targets: [{pool: p}]}]
passthrough: [{prefix: /v1/realtime}, {prefix: /v1/responses}]
`, hash, backend)
	}
}

// socket is a client's end.
type socket struct {
	net.Conn

	br *bufio.Reader
}

func openSocket(t *testing.T, address, path, key string) *socket {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, key)
	require.NoError(t, err)
	s := &socket{c, bufio.NewReaderSize(c, 512)}
	resp, err := http.ReadResponse(s.br, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	return s
}

// hear reads a message that is one short frame.
func (s *socket) hear(t *testing.T) string {
	t.Helper()
	head, err := s.br.Peek(4)
	require.NoError(t, err)
	h, size, err := websocket.ParseHeader(head)
	require.NoError(t, err)
	p := make([]byte, size+int(h.Length))
	_, err = io.ReadFull(s.br, p)
	require.NoError(t, err)
	return string(p[size:])
}

// An open websocket that is silent costs little, whatever passed before.
func TestManySockets(t *testing.T) {
	backend, err := fakellm.Start(fakellm.Options{})
	require.NoError(t, err)
	defer backend.Close()
	event := websocket.AppendFrame(nil, websocket.Text, []byte(`{"type":"fake.echo","pad":"`+strings.Repeat("x", 2000)+`"}`), true)
	f := func(path string) {
		t.Helper()
		r := startRouter(t, socketConfig(backend.Addr()))
		address := strings.TrimPrefix(r.url, "http://")
		open := func(n int) (list []*socket) {
			for range n {
				s := openSocket(t, address, path, r.key)
				list = append(list, s)
				want := 1
				if strings.HasSuffix(path, "/responses") {
					_, err := s.Write(websocket.AppendFrame(nil, websocket.Text, []byte(`{"type":"response.create","model":"m"}`), true))
					require.NoError(t, err)
					want = 5
				}
				for range want {
					s.hear(t)
				}
				for range 3 {
					_, err := s.Write(event)
					require.NoError(t, err)
					require.Contains(t, s.hear(t), "fake.echo")
				}
			}
			return list
		}
		shut := func(list []*socket) {
			for _, s := range list {
				_ = s.Close()
			}
		}
		shut(open(100)) // what the process has of its own, and its pools
		require.Eventually(t, func() bool { return r.openSockets() == 0 }, patience, 10*time.Millisecond)
		before := r.rss()
		list := open(manySockets)
		assert.Equal(t, manySockets, r.openSockets())
		cost := (r.rss() - before) * 1024 / float64(manySockets)
		t.Logf("%s: %d open, %.1f KiB each (%.1f MiB before)", path, manySockets, cost, before)
		assert.Less(t, cost, float64(maxPerSocket))
		shut(list)
		require.Eventually(t, func() bool { return r.openSockets() == 0 }, patience, 10*time.Millisecond)
		r.terminate(patience)
	}
	f("/v1/realtime?model=m")
	f("/v1/responses")
}

func (r *router) openSockets() int {
	_, body := r.ask(http.MethodGet, "/metrics")
	n := 0
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "helixflow_websockets_open{") {
			_, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			open, err := strconv.Atoi(value)
			require.NoError(r.t, err)
			n += open
		}
	}
	return n
}

// The bytes of a large frame do not pass through the process: it reads next to
// none of them.
func TestLargeFrames(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() { serveFrames(ln, &served) })
	r := startRouter(t, socketConfig(ln.Addr().String()))
	f := func(name, address string, drain func(*socket) error) (rate float64) {
		s := openSocket(t, address, "/v1/realtime?model=m", r.key)
		defer func() { _ = s.Close() }()
		begin := time.Now()
		require.NoError(t, drain(s))
		rate = float64(largeFrame) / time.Since(begin).Seconds() / (1 << 20)
		t.Logf("%s: %.0f MiB/s", name, rate)
		return rate
	}
	down := func(s *socket) error {
		_, err := io.CopyN(io.Discard, s.br, largeFrame+10)
		return err
	}
	up := func(s *socket) error { // while it sends, so does the other one
		h := websocket.Header{Final: true, Opcode: websocket.Binary, Masked: true, Length: largeFrame}
		if _, err := s.Write(h.AppendTo(nil)); err != nil {
			return err
		}
		var wait sync.WaitGroup
		wait.Go(func() { _ = down(s) })
		defer wait.Wait()
		return send(s, largeFrame)
	}
	address := strings.TrimPrefix(r.url, "http://")
	direct, directBoth := f("direct", ln.Addr().String(), down), f("direct, both ways", ln.Addr().String(), up)
	read, busy := r.bytesRead(), r.cpu()
	through := f("through the router", address, down)
	throughBoth := f("through the router, both ways", address, up)
	read, busy = r.bytesRead()-read, r.cpu()-busy
	const gib = float64(3*largeFrame) / (1 << 30)
	t.Logf("%.2f and %.2f of direct; of %.1f GiB the process read %d bytes; %v of CPU for each GiB",
		through/direct, throughBoth/directBoth, gib, read, time.Duration(float64(busy)/gib).Round(time.Millisecond))
	assert.Less(t, read, int64(3*largeFrame/50))
	_ = ln.Close()
	r.terminate(patience)
	served.Wait()
}

// bytesRead is what the process has read so far.
func (r *router) bytesRead() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", r.cmd.Process.Pid))
	require.NoError(r.t, err)
	var n int64
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	require.NoError(r.t, err)
	return n
}

// cpu is the time that the process has had, in itself and in the kernel.
func (r *router) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	require.NoError(r.t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, i := range []int{11, 12} { // utime, stime, in hundredths of a second
		n, err := strconv.Atoi(fields[i])
		require.NoError(r.t, err)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// serveFrames answers each websocket with one large frame, and reads what comes.
func serveFrames(ln net.Listener, served *sync.WaitGroup) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		served.Go(func() {
			defer func() { _ = c.Close() }()
			br := bufio.NewReader(c)
			req, err := http.ReadRequest(br)
			if err != nil || req.Header.Get("Upgrade") == "" { // a check of health
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				return
			}
			accept := websocket.AppendAccept(nil, []byte(req.Header.Get("Sec-WebSocket-Key")))
			head := append([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "), accept...)
			frame := websocket.Header{Final: true, Opcode: websocket.Binary, Length: largeFrame}
			_, _ = c.Write(frame.AppendTo(append(head, "\r\n\r\n"...)))
			served.Go(func() { _, _ = io.Copy(io.Discard, br) })
			_ = send(c, largeFrame)
			_, _ = io.Copy(io.Discard, br)
		})
	}
}

func send(c net.Conn, n int) error {
	piece := make([]byte, 256<<10)
	for ; n > 0; n -= len(piece) {
		if _, err := c.Write(piece[:min(n, len(piece))]); err != nil {
			return err
		}
	}
	return nil
}
