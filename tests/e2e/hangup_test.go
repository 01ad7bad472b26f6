//go:build integration

// The hangup and bystanders commands: clients that leave, and those who stay.

package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// phase is when a client leaves: what it asked for, and whether it has read
// something.
type phase struct {
	order  string
	stream bool
	reads  string // the client waits for this text
	behind string // sent behind the request
	stalls bool   // the backend says when it is there
}

const nextRequest = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"

// phases is read only.
var phases = map[string]phase{
	"prefill":   {order: "stall@head", stream: true, stalls: true},
	"unary":     {order: "stall@head", stalls: true},
	"headers":   {order: "stall@body", stream: true, stalls: true},
	"body":      {order: "stall@body+40", stalls: true},
	"stream":    {order: "stall@chunk:2", stream: true, reads: "w2 ", stalls: true},
	"busy":      {order: "events=2000,gap=2ms", stream: true, reads: "w3 "},
	"pipelined": {order: "stall@head", stream: true, behind: nextRequest, stalls: true},
	"behind":    {order: "stall@chunk:2", stream: true, reads: "w2 ", behind: nextRequest, stalls: true},
}

// trial is one client that will leave.
type trial struct {
	client *client
	marker string
	fake   *fakellm.Server
}

func (w *world) hangup(ts *testscript.TestScript, _ bool, args []string) {
	n, within, how, overTLS := 20, 50*time.Millisecond, "fin", false
	args = flags(ts, args, 3, false, func(f *flag.FlagSet) {
		f.IntVar(&n, "n", n, "")
		f.DurationVar(&within, "within", within, "")
		f.StringVar(&how, "how", how, "")
		f.BoolVar(&overTLS, "tls", false, "")
	})
	p := get(ts, phases, args[0])
	addr, fake := get(ts, w.routers, args[1]).addr, get(ts, w.fakes, args[2])
	var took []time.Duration
	for i := range n {
		t := trial{w.dial(ts, addr, overTLS), fmt.Sprintf("%s-%s-%d", args[0], how, i), fake}
		took = append(took, t.run(ts, p, how))
		t.client.close()
		w.stranger(ts, addr, overTLS)
	}
	told(ts, args[0]+" "+how, within, took)
}

// lost is how long no backend may work on for a client that has left: a router
// that missed it goes on for ever.
const lost = 5 * time.Second

// told wants three quarters of the backends told in time, and none of them never:
// a machine with other work stops any process for longer than the router takes.
func told(ts *testscript.TestScript, what string, within time.Duration, took []time.Duration) {
	slices.Sort(took)
	n := len(took)
	late := 0
	for _, d := range took {
		if d > within {
			late++
		}
	}
	fmt.Fprintf(ts.Stdout(), "%s: %d of %d within %v; median %v, longest %v\n",
		what, n-late, n, within, took[n/2].Round(time.Microsecond), took[n-1].Round(time.Microsecond))
	if late > n/4 || took[n-1] > max(lost, within) {
		ts.Fatalf("%d of %d left late: %v", late, n, took)
	}
}

// run asks, waits for the phase, leaves, and returns how long the backend was
// not told.
func (t trial) run(ts *testscript.TestScript, p phase, how string) time.Duration {
	ts.Check(t.client.SetDeadline(time.Now().Add(patience)))
	_, err := t.client.Write(append(t.request(ts, p).bytes(), p.behind...))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mine := func(r fakellm.Request) bool { return strings.Contains(r.Body, `"`+t.marker+`"`) }
	if _, found := t.fake.Wait(ctx, func(r fakellm.Request) bool { return mine(r) && (!p.stalls || !r.Stalled.IsZero()) }); !found {
		ts.Fatalf("%s: the backend never got there", t.marker)
	}
	if p.reads != "" {
		if said := readUntil(t.client, p.reads); !strings.Contains(said, p.reads) {
			ts.Fatalf("%s: the client read %q", t.marker, said)
		}
	}
	left := time.Now()
	ts.Check(t.client.leave(how))
	r, found := t.fake.Wait(ctx, func(r fakellm.Request) bool { return mine(r) && !r.Left.IsZero() })
	if !found {
		return patience
	}
	return r.Left.Sub(left)
}

func (t trial) request(ts *testscript.TestScript, p phase) request {
	body := fmt.Sprintf(`{"model":"m","user":%q,"stream":%t,"messages":[{"role":"user","content":"fake:%s;"}]}`, t.marker, p.stream, p.order)
	return request{
		method: "POST", path: "/v1/chat/completions", host: "router", body: []byte(body),
		header: []string{"Authorization: Bearer " + ts.Getenv("KEY"), "Content-Type: application/json"},
	}
}

// stranger is another client, who must be served whatever happened before.
func (w *world) stranger(ts *testscript.TestScript, addr string, overTLS bool) {
	c := w.dial(ts, addr, overTLS)
	defer c.close()
	ts.Check(c.SetDeadline(time.Now().Add(patience)))
	a, err := c.ask(trial{marker: "stranger"}.request(ts, phase{order: "split=64"}), nil)
	if err != nil || a.cut != nil || !strings.Contains(a.status, " 200 ") {
		ts.Fatalf("another client was harmed: %v, %v, %s %s", err, a.cut, a.status, a.body)
	}
}

// bystanders lets one client leave after its answer, while another's request
// runs on the backend connection the first one used.
func (w *world) bystanders(ts *testscript.TestScript, _ bool, args []string) {
	n, how, overTLS := 20, "fin", false
	args = flags(ts, args, 2, false, func(f *flag.FlagSet) {
		f.IntVar(&n, "n", n, "")
		f.StringVar(&how, "how", how, "")
		f.BoolVar(&overTLS, "tls", false, "")
	})
	addr, fake := get(ts, w.routers, args[0]).addr, get(ts, w.fakes, args[1])
	shared := 0
	for i := range n {
		if w.bystander(ts, addr, overTLS, fake, fmt.Sprintf("%s-%d", how, i), how) {
			shared++
		}
	}
	fmt.Fprintf(ts.Stdout(), "%d of %d unharmed, %d on the leaver's backend connection\n", n, n, shared)
	if shared == 0 {
		ts.Fatalf("no backend connection was ever reused: nothing was tested")
	}
}

func (w *world) bystander(ts *testscript.TestScript, addr string, overTLS bool, fake *fakellm.Server, marker, how string) (shared bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seen := func(marker string) fakellm.Request {
		r, found := fake.Wait(ctx, func(r fakellm.Request) bool { return strings.Contains(r.Body, `"`+marker+`"`) })
		if !found {
			ts.Fatalf("%s never reached the backend", marker)
		}
		return r
	}
	leaver := trial{w.dial(ts, addr, overTLS), "leaver-" + marker, fake}
	defer leaver.client.close()
	ts.Check(leaver.client.SetDeadline(time.Now().Add(patience)))
	if _, err := leaver.client.ask(leaver.request(ts, phase{order: "split=64", stream: true}), nil); err != nil {
		ts.Fatalf("the leaver got no answer: %v", err)
	}
	stayer := trial{w.dial(ts, addr, overTLS), "stayer-" + marker, fake}
	defer stayer.client.close()
	ts.Check(stayer.client.SetDeadline(time.Now().Add(patience)))
	var a answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, err = stayer.client.ask(stayer.request(ts, phase{order: "ttft=20ms,gap=5ms", stream: true}), nil)
	}()
	shared = seen(stayer.marker).Conn == seen(leaver.marker).Conn
	ts.Check(leaver.client.leave(how))
	<-done
	if err != nil || a.cut != nil || !strings.Contains(string(a.body), "[DONE]") {
		ts.Fatalf("the one who stayed was harmed: %v, %v, %s", err, a.cut, a.body)
	}
	return shared
}
