//go:build integration

// The runner: one test per client, one subtest per case.

package compat

import (
	"crypto/rand"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var record = flag.Bool("record", false, "write results.json instead of comparing with it")

func TestClients(t *testing.T) {
	bin := binary(t)
	var mu sync.Mutex // guards ran
	ran := make(map[string]Result)
	t.Cleanup(func() {
		if *record && !t.Failed() {
			assert.NoError(t, writeResults(".", ran))
		}
	})
	for i := range Clients {
		client := &Clients[i]
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			r := run(t, newWorld(t, bin), runtimes[client.Runtime](t), client)
			mu.Lock()
			defer mu.Unlock()
			ran[client.Name] = r
		})
	}
}

// run does all cases with a client, and holds what comes of them against the last
// run's result.
func run(t *testing.T, w *world, r runtime, client *Client) Result {
	d := startDriver(t, r, client)
	said, _, _ := d.do(t, Order{Do: "about"})
	pinned, err := client.Pinned(".")
	require.NoError(t, err)
	require.Equal(t, pinned, said.Versions, "what is installed is not what is pinned")
	results, err := ReadResults(".")
	require.NoError(t, err)
	last := results[client.Name]
	same := func(t *testing.T, what string, was, is any) {
		assert.True(t, *record || assert.ObjectsAreEqual(was, is),
			"%s was %v in the last run and is now %v; if it should be, make compat-record", what, was, is)
	}

	now := Result{Versions: said.Versions, Outcomes: make(map[string]string)}
	if len(said.Blind) > 0 {
		now.Blind = said.Blind
	}
	same(t, "what the client does not tell", last.Blind, now.Blind)
	used := make(map[string]bool)
	for _, feature := range Features {
		for _, c := range feature.Cases {
			t.Run(c.Name, func(t *testing.T) {
				outcome := ""
				if need, reason := said.lack(&c); need != "" {
					used[need] = true
					outcome = notApplicable + reason
				} else {
					outcome = strings.TrimSpace("ok " + prove(t, w, d, &said.About, c))
				}
				now.Outcomes[c.Name] = outcome
				same(t, c.Name, last.Outcomes[c.Name], outcome)
			})
		}
	}
	if len(now.Outcomes) == len(last.Outcomes) { // else -run names some cases
		for need := range said.Lacks {
			assert.True(t, used[need], "the driver says that its client lacks %s, which no case needs", need)
		}
	}
	return now
}

// lack returns what of a case's needs the client has no way to meet, and why.
func (a *About) lack(c *Case) (need, reason string) {
	for _, need := range []string{c.Order.Do, c.Needs} {
		if reason, lacks := a.Lacks[need]; lacks {
			return need, reason
		}
	}
	return "", ""
}

// prove does one case and returns the class of its error.
func prove(t *testing.T, w *world, d *driver, about *About, c Case) string {
	o := w.fill(c.Order)
	before := w.count(t)
	w.queue(o.script)
	a, raw, took := d.do(t, o)
	w.judge(t, before, o, c.Want)
	(&verdict{T: t, w: w, about: about, order: o, want: c.Want, a: a, took: took}).judge()
	assert.NotContains(t, raw, o.Key, "the client repeats the key")
	t.Logf("%v: %.300s", took.Round(time.Millisecond), raw)
	if a.Error == nil {
		return ""
	}
	return a.Error.Class
}

// fill puts in what only a run knows.
func (w *world) fill(o Order) Order {
	switch o.BaseURL {
	case "":
		o.BaseURL = "http://" + w.router + "/v1"
	case bareURL:
		o.BaseURL = "http://" + w.router
	}
	switch o.Key {
	case "":
		o.Key = w.key
	case keySmall:
		o.Key = w.small
	}
	o.Prompt = strings.ReplaceAll(o.Prompt, uniqueID, rand.Text())
	return o
}
