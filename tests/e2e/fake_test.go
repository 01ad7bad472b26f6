//go:build integration

// The fake command: scripted backends, and what they saw.

package e2e

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/fakellm"
)

func (w *world) fake(ts *testscript.TestScript, _ bool, args []string) {
	verb, args := sub(ts, args)
	if verb == "start" {
		w.fakeStart(ts, args)
		return
	}
	reset, back := false, 0
	args = flags(ts, args, 1, true, func(f *flag.FlagSet) {
		f.BoolVar(&reset, "reset", false, "")
		f.IntVar(&back, "back", 0, "")
	})
	f, rest := get(ts, w.fakes, args[0]), args[1:]
	switch verb {
	case "queue":
		for i, word := range rest {
			if name, ok := strings.CutPrefix(word, "body=@"); ok {
				rest[i] = "body=" + url.PathEscape(ts.ReadFile(name))
			}
		}
		script, err := fakellm.Parse(strings.Join(rest, " "))
		ts.Check(err)
		f.Queue(script)
	case "down":
		f.Down(reset)
	case "up":
		ts.Check(f.Up())
	case "resume":
		f.Resume()
	case "forget":
		f.Forget()
	case "expect":
		for _, claim := range rest {
			fakeExpect(ts, f, claim)
		}
	case "last":
		requests := asked(f)
		if len(requests) <= back {
			ts.Fatalf("fake %s saw %d requests", args[0], len(requests))
		}
		last := requests[len(requests)-1-back]
		fmt.Fprint(ts.Stdout(), strings.ReplaceAll(last.Head, "\r\n", "\n"), last.Body, "\n")
	default:
		ts.Fatalf("fake: no verb %q", verb)
	}
}

func (w *world) fakeStart(ts *testscript.TestScript, args []string) {
	var o fakellm.Options
	overTLS := false
	args = flags(ts, args, 1, false, func(f *flag.FlagSet) {
		f.IntVar(&o.MaxRequests, "max", 0, "")
		f.DurationVar(&o.MaxIdle, "idle", 0, "")
		f.BoolVar(&overTLS, "tls", false, "")
	})
	if overTLS {
		o.TLS = w.tls
	}
	f, err := fakellm.Start(o)
	ts.Check(err)
	w.fakes[args[0]] = f
	w.set(ts, args[0], f.Addr())
	_, port, _ := net.SplitHostPort(f.Addr())
	w.set(ts, args[0]+"_PORT", port)
}

var claimForm = regexp.MustCompile(`^(\w+)(<=|>=|=|<|>)(\d+)$`)

// fakeExpect waits until a claim such as requests=1 holds.
func fakeExpect(ts *testscript.TestScript, f *fakellm.Server, claim string) {
	m := claimForm.FindStringSubmatch(claim)
	if m == nil {
		ts.Fatalf("cannot read the claim %q", claim)
	}
	want, err := strconv.Atoi(m[3])
	ts.Check(err)
	have := 0
	holds := func() bool {
		have = count(ts, f, m[1])
		switch m[2] {
		case "<":
			return have < want
		case ">":
			return have > want
		case "<=":
			return have <= want
		case ">=":
			return have >= want
		default:
			return have == want
		}
	}
	if !eventually(patience, holds) {
		ts.Fatalf("the backend has %s=%d, want %s", m[1], have, claim)
	}
}

// asked are the requests of clients: a router reads an engine's state besides,
// whenever it likes.
func asked(f *fakellm.Server) []fakellm.Request {
	return slices.DeleteFunc(f.Requests(), func(r fakellm.Request) bool {
		return r.Method == "GET" && (r.Path == "/metrics" || r.Path == "/health" || r.Path == "/v1/models")
	})
}

func count(ts *testscript.TestScript, f *fakellm.Server, what string) int {
	n := 0
	switch what {
	case "requests":
		return len(asked(f))
	case "queued":
		return f.Queued()
	case "conns":
		return len(f.Conns())
	case "used": // connections that a client's request came on
		used := map[int]bool{}
		for _, r := range asked(f) {
			used[r.Conn] = true
		}
		return len(used)
	case "open":
		for _, c := range f.Conns() {
			if c.Closed.IsZero() {
				n++
			}
		}
	case "left":
		for _, r := range f.Requests() {
			if !r.Left.IsZero() {
				n++
			}
		}
	default:
		ts.Fatalf("nothing called %q is counted", what)
	}
	return n
}
