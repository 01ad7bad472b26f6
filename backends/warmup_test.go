package backends

// What a backend is asked before it is asked anything else, and that nothing
// depends on the answer.

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
)

// warmOne runs f with one endpoint that is to be warmed up. It is not in force yet.
func warmOne(t *testing.T, f func(w *ward, ep *Endpoint, e *teller)) {
	t.Helper()
	admit(t, 0, func(w *ward) {
		e := &teller{serving: &w.engines, script: map[string]func(net.Conn) bool{}}
		address, err := ParseAddress("http://10.0.0.1/v1")
		require.NoError(t, err)
		ep := w.fleet.Adopt(Spec{Pool: "p", URL: "http://10.0.0.1/v1", Address: address, Warm: true})
		ep.dialer.connect = e.dial
		w.list = append(w.list, ep)
		w.rules.Watching.Header = secret.New("Authorization: Bearer key\r\n")
		w.rules.Warmup = Warmup{Body: `{"model":"m"}`, Timeout: 10 * time.Second}
		f(w, ep, e)
	})
}

func (e *teller) posts() (n int) {
	for _, r := range e.requests() {
		if strings.HasPrefix(r, "POST ") {
			n++
		}
	}
	return n
}

func TestWarmup(t *testing.T) {
	warmOne(t, func(w *ward, ep *Endpoint, e *teller) {
		busy := make(chan struct{})
		e.says("/v1/chat/completions", func(c net.Conn) bool {
			<-busy
			return page("application/json", `{"choices":[]}`)(c)
		})
		w.retain()
		synctest.Wait()
		assert.Empty(t, w.eligible(), "not before it is warm")
		assert.Equal(t, "is to be warmed up", ep.Status(time.Now()).Reason)
		w.wait(5 * time.Second)
		assert.Empty(t, w.eligible())
		assert.Equal(t, []string{"POST /v1/chat/completions Bearer key"}, e.requests())
		close(busy)
		w.wait(2 * time.Second)
		assert.Equal(t, "1", w.eligible())
		assert.Empty(t, ep.Status(time.Now()).Warning)
		assert.Contains(t, w.scrape(), `helixflow_backend_warmups_total{backend="http://10.0.0.1/v1",result="done"} 1`)
		w.wait(10 * time.Minute)
		assert.Equal(t, 1, e.posts(), "once in a life")

		// Who was unreachable is warmed up again, who only failed requests is not.
		e.isDown(true)
		w.wait(20 * time.Second)
		assert.Equal(t, Unhealthy, ep.State())
		e.isDown(false)
		w.wait(5 * time.Second)
		assert.Equal(t, "1", w.eligible())
		assert.Equal(t, 2, e.posts())
	})
}

// TestWarmupFails: it is a favour, not a check.
func TestWarmupFails(t *testing.T) {
	f := func(answer func(net.Conn) bool, why string) {
		t.Helper()
		warmOne(t, func(w *ward, ep *Endpoint, e *teller) {
			e.says("/v1/chat/completions", answer)
			w.retain()
			w.wait(15 * time.Second)
			assert.Equal(t, "1", w.eligible())
			assert.Equal(t, "it was not warmed up: "+why, ep.Status(time.Now()).Warning)
			assert.Equal(t, 1, e.posts())
			assert.Contains(t, w.scrape(), `helixflow_backend_warmups_total{backend="http://10.0.0.1/v1",result="failed"} 1`)
			assert.Zero(t, ep.Load.InFlight())
		})
	}
	f(nil, "it is answered with HTTP 404 Not Found")
	f(func(c net.Conn) bool { _, _ = io.Copy(io.Discard, c); return false }, "no whole answer within 10s")
	f(func(net.Conn) bool { return false }, "connection closed without an answer")
	f(page("application/json", strings.Repeat(" ", warmupBytes+1)), "its answer is longer than 1 MiB")
}

// TestNoWarmupOfWhoServes: a reload that begins with it leaves running ones alone.
func TestNoWarmupOfWhoServes(t *testing.T) {
	admit(t, 1, func(w *ward) {
		w.rules.Warmup = Warmup{Body: `{"model":"m"}`, Timeout: time.Second}
		w.retain()
		w.wait(time.Minute)
		assert.Equal(t, "1", w.eligible())
		assert.NotContains(t, w.scrape(), "helixflow_backend_warmups_total{")
	})
}
