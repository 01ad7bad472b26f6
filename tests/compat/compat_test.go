//go:build integration

// The runner: one test per client, one subtest per case.

package compat

import (
	"crypto/rand"
	"flag"
	"maps"
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
	runtimes := newRuntimes()
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

// run does all cases with a client.
func run(t *testing.T, w *world, r runtime, client *Client) Result {
	d := startDriver(t, r, client)
	said, _, _ := d.do(t, Order{Do: "about"})
	pinned, err := client.Pinned(".")
	require.NoError(t, err)
	require.Equal(t, pinned, said.Versions, "what is installed is not what is pinned")

	result := Result{Versions: said.Versions, Outcomes: make(map[string]string), Blind: said.Blind}
	used := make(map[string]bool)
	for _, feature := range Features {
		for _, c := range feature.Cases {
			need := c.Order.Do
			reason, lacks := said.Lacks[need]
			if !lacks && c.Needs != "" {
				need = c.Needs
				reason, lacks = said.Lacks[need]
			}
			if lacks {
				used[need] = true
				result.Outcomes[c.Name] = notApplicable + reason
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				result.Outcomes[c.Name] = strings.TrimSpace("ok " + prove(t, w, d, &said.About, c))
			})
		}
	}
	for need := range maps.Keys(said.Lacks) {
		assert.True(t, used[need], "the driver says that its client lacks %s, which no case needs", need)
	}
	if !*record {
		results, err := ReadResults(".")
		require.NoError(t, err)
		assert.Equal(t, results[client.Name], result, "the results are others than those of the last run; if they should be, make compat-record")
	}
	return result
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
