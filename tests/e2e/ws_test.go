//go:build integration

// The ws command: a websocket's client, one step after the other.

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// socket is one open websocket of a script.
type socket struct {
	*websocket.Conn

	tcp *net.TCPConn
}

type wsFlags struct {
	key               string
	header, protocols list
	tls               bool
}

func (w *world) ws(ts *testscript.TestScript, _ bool, args []string) {
	verb, args := sub(ts, args)
	switch verb {
	case "open":
		w.wsOpen(ts, args)
		return
	case "hangup":
		w.wsHangup(ts, args)
		return
	}
	args = flags(ts, args, 1, true, nil)
	s, rest := get(ts, w.sockets, args[0]), args[1:]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch verb {
	case "send":
		for _, text := range rest {
			if name, ok := strings.CutPrefix(text, "@"); ok {
				text = strings.TrimSpace(ts.ReadFile(name))
			}
			ts.Check(s.Write(ctx, websocket.MessageText, []byte(text)))
		}
	case "recv":
		n := 1
		if len(rest) > 0 {
			var err error
			n, err = strconv.Atoi(rest[0])
			ts.Check(err)
		}
		for range n {
			s.print(ctx, ts.Stdout())
		}
	case "until":
		for {
			said, ended := s.print(ctx, ts.Stdout())
			if strings.Contains(said, rest[0]) {
				return
			}
			if ended {
				ts.Fatalf("it ended before %q came", rest[0])
			}
		}
	case "ping":
		s.CloseRead(context.WithoutCancel(ctx)) // reads the pong, and whatever else comes: its context's end would cut the connection
		ts.Check(s.Ping(ctx))
	case "close":
		code, err := strconv.Atoi(rest[0])
		ts.Check(err)
		ts.Check(s.Close(websocket.StatusCode(code), strings.Join(rest[1:], " ")))
	case "leave":
		if len(rest) > 0 && rest[0] == "rst" {
			_ = s.tcp.SetLinger(0)
		}
		_ = s.tcp.Close()
	default:
		ts.Fatalf("ws: no verb %q", verb)
	}
}

// print writes the next message, or how the websocket ended.
func (s *socket) print(ctx context.Context, to io.Writer) (said string, ended bool) {
	kind, p, err := s.Read(ctx)
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		said = fmt.Sprintf("[close %d %s]", int(closed.Code), closed.Reason)
	case err != nil:
		said = fmt.Sprintf("[cut: %v]", err)
	case kind == websocket.MessageBinary:
		said = fmt.Sprintf("[%d bytes]", len(p))
	default:
		said = string(p)
	}
	fmt.Fprintln(to, said)
	return said, err != nil
}

func (w *world) wsOpen(ts *testscript.TestScript, args []string) {
	o := wsFlags{key: ts.Getenv("KEY")}
	args = flags(ts, args, 2, false, func(f *flag.FlagSet) {
		f.StringVar(&o.key, "key", o.key, "")
		f.Var(&o.header, "H", "")
		f.Var(&o.protocols, "p", "")
		f.BoolVar(&o.tls, "tls", false, "")
	})
	s, resp, err := w.wsDial(o, args[1])
	if resp == nil {
		ts.Fatalf("no answer: %v", err)
	}
	body := []byte{}
	if err != nil {
		body, _ = io.ReadAll(resp.Body)
	} else {
		w.sockets[args[0]] = s
	}
	answer{status: "HTTP/1.1 " + resp.Status, header: resp.Header, body: body}.print(ts.Stdout())
}

// wsDial opens a websocket at ADDR/PATH.
func (w *world) wsDial(o wsFlags, at string) (*socket, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := new(socket)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			s.tcp = c.(*net.TCPConn)
		}
		return c, err
	}
	header := http.Header{}
	for _, h := range o.header {
		name, value, _ := strings.Cut(h, ":")
		header.Add(name, strings.TrimSpace(value))
	}
	if o.key != "" {
		header.Set("Authorization", "Bearer "+o.key)
	}
	scheme := "ws://"
	transport := &http.Transport{DialContext: dial}
	if o.tls {
		scheme = "wss://"
		transport.TLSClientConfig = &tls.Config{RootCAs: w.roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	}
	var resp *http.Response
	var err error
	s.Conn, resp, err = websocket.Dial(ctx, scheme+at, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: o.protocols,
	})
	if err == nil {
		s.SetReadLimit(-1)
	}
	return s, resp, err
}

// wsHangup has clients leave open websockets, and wants the backend told in time.
func (w *world) wsHangup(ts *testscript.TestScript, args []string) {
	n, within, how := 20, 50*time.Millisecond, "fin"
	o := wsFlags{key: ts.Getenv("KEY")}
	args = flags(ts, args, 2, false, func(f *flag.FlagSet) {
		f.IntVar(&n, "n", n, "")
		f.DurationVar(&within, "within", within, "")
		f.StringVar(&how, "how", how, "")
		f.BoolVar(&o.tls, "tls", false, "")
	})
	fake := get(ts, w.fakes, args[1])
	var took []time.Duration
	for range n {
		s, _, err := w.wsDial(o, args[0])
		ts.Check(err)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, _, err = s.Read(ctx) // the backend's first word
		ts.Check(err)
		open := len(fake.Requests())
		if how == "rst" {
			_ = s.tcp.SetLinger(0)
		}
		began := time.Now()
		_ = s.tcp.Close()
		left := began.Add(patience)
		if r, found := fake.Wait(ctx, func(r fakellm.Request) bool { return r.ID == open && !r.Open() }); found {
			if left = r.Left; left.IsZero() {
				left = r.Finished
			}
		}
		took = append(took, left.Sub(began))
		cancel()
	}
	told(ts, how, within, took)
}
