//go:build integration

// The http, join, refused and raw commands.

package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// httpFlags are the flags of the http command.
type httpFlags struct {
	key, fill, bg, out string
	sent               bool
	cert               string
	has, header, form  list
	tls, hex, chunked  bool
	within, patience   time.Duration
	n                  int
}

// pending is a request in the background.
type pending struct {
	client *client
	answer answer
	err    error
	done   chan struct{} // closed after answer and err are set
}

func (w *world) http(ts *testscript.TestScript, neg bool, args []string) {
	o := httpFlags{key: ts.Getenv("KEY"), within: 30 * time.Second, patience: patience, n: 1}
	args = flags(ts, args, 2, true, func(f *flag.FlagSet) {
		f.StringVar(&o.key, "key", o.key, "")
		f.StringVar(&o.fill, "fill", "", "")
		f.StringVar(&o.bg, "bg", "", "")
		f.BoolVar(&o.sent, "sent", false, "")
		f.StringVar(&o.out, "o", "", "")
		f.Var(&o.has, "has", "")
		f.DurationVar(&o.patience, "for", o.patience, "")
		f.Var(&o.header, "H", "")
		f.Var(&o.form, "form", "")
		f.BoolVar(&o.tls, "tls", false, "")
		f.StringVar(&o.cert, "cert", "", "")
		f.BoolVar(&o.hex, "hex", false, "")
		f.BoolVar(&o.chunked, "chunked", false, "")
		f.DurationVar(&o.within, "within", o.within, "")
		f.IntVar(&o.n, "n", 1, "")
	})
	addr, r := w.request(ts, o, args)
	w.shown = nil
	if o.cert != "" {
		w.shown, o.tls = get(ts, w.clients, o.cert), true
	}
	c := w.dial(ts, addr, o.tls)
	if o.bg != "" {
		w.background(ts, c, o, r)
		return
	}
	defer func() { c.close() }()
	if o.n > 1 {
		c = w.many(ts, c, addr, o, r)
		return
	}
	ts.Check(c.SetDeadline(time.Now().Add(max(o.within, o.patience) + patience)))
	a, err := c.ask(r, nil)
	found := eventually(o.patience, func() bool {
		if err != nil || !slices.ContainsFunc(o.has, func(s string) bool { return !strings.Contains(string(a.body), s) }) {
			return true
		}
		a, err = c.ask(r, nil)
		return false
	})
	switch {
	case !found:
		ts.Fatalf("no answer with %q for %v; the last one:\n%s\n%s", o.has, o.patience, a.status, a.body)
	case err != nil && !neg:
		ts.Fatalf("no answer: %v", err)
	case err == nil && neg:
		ts.Fatalf("an answer came: %s", a.status)
	case err != nil:
		return
	}
	if o.out != "" {
		ts.Check(os.WriteFile(ts.MkAbs(o.out), a.body, 0o600))
		a.body = nil
	}
	a.print(ts.Stdout())
	if a.took > o.within {
		ts.Fatalf("the answer took %v, want at most %v", a.took, o.within)
	}
}

func (w *world) request(ts *testscript.TestScript, o httpFlags, args []string) (addr string, r request) {
	addr, path, _ := strings.Cut(args[1], "/")
	r = request{method: args[0], path: "/" + path, host: addr, header: o.header, chunked: o.chunked}
	if len(args) > 2 {
		r.body = []byte(args[2])
		if file, ok := strings.CutPrefix(args[2], "@"); ok {
			r.body = []byte(strings.TrimSuffix(ts.ReadFile(file), "\n"))
		}
	}
	if o.hex {
		b, err := hex.DecodeString(string(r.body))
		ts.Check(err)
		r.body = b
	}
	if o.fill != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(o.fill, "MiB"))
		ts.Check(err)
		head, tail := `{"model":"m","messages":[{"role":"user","content":"`, `"}]}`
		r.body = []byte(head + strings.Repeat("x", n<<20-len(head)-len(tail)) + tail)
	}
	if len(o.form) > 0 {
		r.body = formOf(ts, o.form)
		r.header = append(r.header, "Content-Type: multipart/form-data; boundary="+boundary)
	}
	if o.key != "" {
		r.header = append(r.header, "Authorization: Bearer "+o.key)
	}
	if r.body != nil && !r.has("Content-Type") {
		r.header = append(r.header, "Content-Type: application/json")
	}
	return addr, r
}

const boundary = "e2e-boundary"

// formOf is a form of fields NAME=VALUE and files NAME=@FILE, in their order; a
// VALUE of NxSIZE is that many bytes in a file of no name.
func formOf(ts *testscript.TestScript, fields []string) []byte {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	ts.Check(w.SetBoundary(boundary))
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		file, isFile := strings.CutPrefix(value, "@")
		if !isFile {
			ts.Check(w.WriteField(name, value))
			continue
		}
		content := ""
		if n, err := strconv.Atoi(strings.TrimSuffix(file, "KiB")); err == nil {
			content = strings.Repeat("\r\n-", n<<10/3)
		} else {
			content = ts.ReadFile(file)
		}
		part, err := w.CreateFormFile(name, file)
		ts.Check(err)
		_, err = io.WriteString(part, content)
		ts.Check(err)
	}
	ts.Check(w.Close())
	return b.Bytes()
}

// many asks again and again on one connection, dialling anew when it closed.
func (w *world) many(ts *testscript.TestScript, c *client, addr string, o httpFlags, r request) *client {
	outcomes := map[string]int{}
	var late []time.Duration
	for range o.n {
		ts.Check(c.SetDeadline(time.Now().Add(patience)))
		a, err := c.ask(r, nil)
		if a.took > o.within {
			late = append(late, a.took)
		}
		switch {
		case err != nil:
			outcomes["no answer: "+err.Error()]++
		case a.cut != nil:
			outcomes[a.status+", cut"]++
		default:
			outcomes[a.status]++
		}
		if err != nil || a.cut != nil || a.header.Get("Connection") == "close" {
			c.close()
			c = w.dial(ts, addr, o.tls)
		}
	}
	if len(late) > o.n/4 { // a machine with other work may stop any process for a while
		ts.Fatalf("%d of %d answers took longer than %v: %v", len(late), o.n, o.within, late)
	}
	for outcome, n := range outcomes {
		fmt.Fprintf(ts.Stdout(), "%d x %s\n", n, outcome)
	}
	return c
}

func (w *world) background(ts *testscript.TestScript, c *client, o httpFlags, r request) {
	p := &pending{client: c, done: make(chan struct{})}
	begun := make(chan struct{})
	ts.Check(c.SetDeadline(time.Now().Add(o.within)))
	go func() {
		defer close(p.done)
		p.answer, p.err = c.ask(r, begun)
	}()
	w.pending[o.bg] = p
	if !o.sent {
		<-begun // the deadline bounds it
	}
}

func (w *world) join(ts *testscript.TestScript, neg bool, args []string) {
	name := flags(ts, args, 1, false, nil)[0]
	p := get(ts, w.pending, name)
	delete(w.pending, name)
	<-p.done
	p.client.close()
	if neg != (p.err != nil) {
		ts.Fatalf("request %s: %v", name, p.err)
	}
	if p.err == nil {
		p.answer.print(ts.Stdout())
	}
}

// refused checks the last answer against an OpenAI error object.
func (w *world) refused(ts *testscript.TestScript, _ bool, args []string) {
	args = flags(ts, args, 3, true, nil)
	said := ts.ReadFile("stdout")
	head, body, _ := strings.Cut(strings.ReplaceAll(said, "\r\n", "\n"), "\n\n")
	status, _, _ := strings.Cut(head, "\n")
	if !strings.HasPrefix(status, "HTTP/1.1 "+args[0]+" ") {
		ts.Fatalf("the answer is %q, want status %s:\n%s", status, args[0], said)
	}
	lower := "\n" + strings.ToLower(head) + "\n"
	for _, h := range []string{"\ncontent-type: application/json", "\nx-request-id: "} {
		if !strings.Contains(lower, h) {
			ts.Fatalf("the answer lacks the header %q:\n%s", strings.TrimSpace(h), said)
		}
	}
	body, _, _ = strings.Cut(strings.TrimSpace(body), "\n[") // raw adds how the connection ended
	ts.Check(checkError([]byte(body), args[1:]))
}

// checkError wants exactly {"error":{message,type,param,code}}; want is type,
// code and perhaps param.
func checkError(body []byte, want []string) error {
	var outer map[string]map[string]any
	if err := json.Unmarshal(body, &outer); err != nil {
		return fmt.Errorf("cannot read the error object: %w\n%s", err, body)
	}
	e := outer["error"]
	if len(outer) != 1 || len(e) != 4 {
		return fmt.Errorf("the error object wants message, type, param and code, and nothing else: %s", body)
	}
	for i, name := range []string{"type", "code", "param"}[:len(want)] {
		have, ok := e[name]
		if have == nil {
			have = "null"
		}
		if !ok || have != want[i] {
			return fmt.Errorf("the error's %s is %v, want %s: %s", name, have, want[i], body)
		}
	}
	if text, ok := e["message"].(string); !ok || len(text) < 10 {
		return fmt.Errorf("the error's message says too little: %s", body)
	}
	return nil
}

func (w *world) raw(ts *testscript.TestScript, _ bool, args []string) {
	wait, until := patience, ""
	overTLS, half := false, false
	args = flags(ts, args, 2, true, func(f *flag.FlagSet) {
		f.DurationVar(&wait, "wait", wait, "")
		f.StringVar(&until, "until", "", "")
		f.BoolVar(&overTLS, "tls", false, "")
		f.BoolVar(&half, "half", false, "")
	})
	c := w.dial(ts, args[0], overTLS)
	defer c.close()
	ts.Check(c.SetDeadline(time.Now().Add(wait)))
	for _, file := range args[1:] {
		_, err := c.Write(w.fillIn(ts.ReadFile(file)))
		ts.Check(err)
	}
	if half {
		ts.Check(c.leave("half"))
	}
	fmt.Fprintln(ts.Stdout(), readUntil(c, until))
}

// fillIn makes the bytes of a request from a file.
func (w *world) fillIn(file string) []byte {
	head, body, hasBody := strings.Cut(file, "\n\n")
	body = strings.TrimRight(body, "\n")
	head = strings.ReplaceAll(head, "@LEN", strconv.Itoa(len(body)))
	head = os.Expand(head, func(name string) string { return w.vars[name] })
	if !hasBody { // a head that is not finished
		return []byte(strings.ReplaceAll(head, "\n", "\r\n"))
	}
	return []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)
}

// readUntil reads to the end, or to the first sight of a text, and says how the
// connection stands.
func readUntil(c *client, until string) string {
	var said []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.br.Read(buf)
		said = append(said, buf[:n]...)
		var timeout net.Error
		switch {
		case until != "" && strings.Contains(string(said), until):
			return string(said) + "\n[open]"
		case err == nil:
			continue
		case errors.As(err, &timeout) && timeout.Timeout():
			return string(said) + "\n[open]"
		case errors.Is(err, syscall.ECONNRESET):
			return string(said) + "\n[reset]"
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return string(said) + "\n[closed]"
		default:
			return string(slices.Concat(said, []byte("\n["+err.Error()+"]")))
		}
	}
}
