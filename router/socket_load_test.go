package router

// Websockets in number: what passes costs nothing but its bytes, and nobody gets
// what is another's.

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	frames "github.com/helixflow/helixflow/internal/websocket"

	"github.com/helixflow/helixflow/internal/testtiming"
)

func TestSocketDoesNotAllocate(t *testing.T) {
	if raceBuild {
		t.Log("the race detector allocates for itself: only walked, not counted")
	}
	w := newWorld(t, sockets("", newEchoer(t)))
	c := w.dial(t)
	_, err := io.WriteString(c, upgrade(realtime))
	require.NoError(t, err)
	br := bufio.NewReader(c)
	_, err = http.ReadResponse(br, nil)
	require.NoError(t, err)
	message := frames.AppendFrame(nil, frames.Binary, make([]byte, 1000), true)
	b := make([]byte, 1004)
	once := func() {
		if _, err := c.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(br, b); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		once()
	}
	if got := testing.AllocsPerRun(testtiming.Rounds(1000), once); !raceBuild {
		assert.Zero(t, got)
	}
}

// newEchoer serves one websocket at a time without allocating: for each frame of
// 1000 masked bytes it sends one.
func newEchoer(t testing.TB) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		accept := frames.AppendAccept(nil, []byte(r.Header.Get("Sec-Websocket-Key")))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+string(accept)+"\r\n\r\n")
		got := make([]byte, 1008)
		answer := frames.AppendFrame(nil, frames.Binary, make([]byte, 1000), false)
		for {
			if _, err := io.ReadFull(rw, got); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Over TLS on both sides the bytes are copied, and arrive.
func TestSocketTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		echo(context.Background(), c, r)
		_ = c.CloseNow()
	}))
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	config := strings.Replace(sockets("", s.URL), "balance: round_robin", "balance: round_robin\n    tls: {ca: "+ca+"}", 1)
	w := newWorld(t, config, func(o *Options) { o.TLS = selfSigned(t) })
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	for _, path := range []string{realtime, responses} {
		c, _ := w.socket(t, path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		ctx := within(t)
		for _, size := range []int{10, 5000, 100_000, 900_000} {
			message := `{"type":"response.create","model":"m","input":"` + strings.Repeat("x", size) + `"}`
			go func() { _ = c.Write(ctx, websocket.MessageText, []byte(message)) }()
			_, got, err := c.Read(ctx)
			require.NoError(t, err)
			require.Equal(t, len(message), len(got))
		}
		require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	}
	w.requireEnded(t, `endpoint="realtime",end="client"} 1`, `endpoint="responses_socket",end="client"} 1`)
}

// Many come and go in every way, at random moments; each hears itself alone.
func TestSocketStorm(t *testing.T) {
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		for {
			kind, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			switch mrand.IntN(60) {
			case 0:
				_ = c.CloseNow()
				return
			case 1:
				_ = c.Close(4002, "enough")
				return
			}
			if c.Write(ctx, kind, p) != nil {
				return
			}
		}
	})
	w := newWorld(t, sockets("", url))
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	var heard atomic.Int64
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for n := range rounds {
				w.storm(t, fmt.Sprintf("canary-%d-%d.", i, n), &heard)
			}
		})
	}
	wait.Wait()
	w.requireEnded(t)
	assert.Greater(t, heard.Load(), int64(rounds*16))
	assert.NotContains(t, w.log.String(), "canary")
	for _, op := range []string{"realtime", "responses_socket"} {
		w.requireMetric(t, `helixflow_websockets_open{endpoint="`+op+`"} 0`)
	}
	assert.Zero(t, w.srv.snapshot.Load().pools[0].endpoints[0].Load.InFlight())
}

func (w *world) storm(t *testing.T, canary string, heard *atomic.Int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	path := realtime
	if mrand.IntN(2) == 0 {
		path = responses
	}
	c, _, err := websocket.Dial(ctx, "ws://"+w.addr+path, nil)
	if err != nil {
		return // the backend may be resting
	}
	c.SetReadLimit(-1)
	defer func() { _ = c.CloseNow() }()
	for range mrand.IntN(20) {
		message := `{"type":"response.create","model":"m","input":"` + canary + strings.Repeat("x", mrand.IntN(1<<mrand.IntN(18))) + `"}`
		wrote := make(chan error, 1)
		go func() { wrote <- c.Write(ctx, websocket.MessageText, []byte(message)) }()
		_, p, err := c.Read(ctx)
		if err != nil {
			<-wrote
			return
		}
		if string(p) != message && !strings.HasPrefix(string(p), `{"type":"error"`) {
			t.Errorf("%s hears %.100s", canary, p)
		}
		<-wrote
		heard.Add(1)
	}
	if mrand.IntN(2) == 0 {
		_ = c.Close(websocket.StatusNormalClosure, "")
	}
}

// A client that leaves while its bytes are stuck, in either direction and in the
// middle of a large frame too, frees its backend at once.
func TestSocketHangUpStuck(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var served sync.WaitGroup
	done := make(chan struct{})
	defer func() {
		_ = ln.Close()
		close(done)
		served.Wait()
	}()
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() { // reads nothing but the handshake
				defer func() { _ = c.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				accept := frames.AppendAccept(nil, []byte(req.Header.Get("Sec-Websocket-Key")))
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+string(accept)+"\r\n\r\n")
				if req.URL.Query().Has("talk") {
					_, _ = io.WriteString(c, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")
					for b := make([]byte, 64<<10); err == nil; {
						_, err = c.Write(b)
					}
					return
				}
				<-done
			})
		}
	})
	w := newWorld(t, sockets("", "http://"+ln.Addr().String()))
	f := func(path string, push func(c *net.TCPConn)) {
		t.Helper()
		var took []time.Duration
		for range 5 {
			c := w.dial(t)
			_, err := io.WriteString(c, upgrade(path))
			require.NoError(t, err)
			_, err = http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
			require.NoError(t, err)
			push(c)
			_ = c.SetLinger(0)
			began := time.Now()
			_ = c.Close()
			require.Eventually(t, func() bool { return w.srv.sockets.Load() == 0 }, 20*time.Second, time.Millisecond)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		assert.Less(t, took[len(took)/2], leavesWithin, "%v", took)
	}
	until := func(c *net.TCPConn, frame string) { // nobody takes any more
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = io.WriteString(c, frame)
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	f(realtime, func(c *net.TCPConn) { until(c, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd") })
	f(realtime+"&talk=1", func(*net.TCPConn) { <-time.After(100 * time.Millisecond) })
	w.requireEnded(t, `endpoint="realtime",end="left"} 10`)
}
