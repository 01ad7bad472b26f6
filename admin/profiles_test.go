package admin_test

// Profiles, as go tool pprof and a person with curl ask for them.

import (
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestProfiles(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	_, body := ask(t, addr, "GET", "/debug/pprof/")
	assert.Positive(t, gjson.Get(body, "profiles.goroutine").Int())

	resp, body := ask(t, addr, "GET", "/debug/pprof/heap?gc=1")
	assert.Equal(t, `attachment; filename="heap"`, resp.Header.Get("Content-Disposition"))
	assert.Equal(t, "\x1f\x8b", body[:2], "gzip, as pprof wants it")
	resp, body = ask(t, addr, "GET", "/debug/pprof/goroutine?debug=2")
	assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Contains(t, body, "goroutine ")

	for _, seconds := range []string{"0", "-1", "121", "1.5", "x", "99999999999999999999"} {
		resp, body = ask(t, addr, "GET", "/debug/pprof/profile?seconds="+seconds)
		assertRefusal(t, 400, resp, body)
	}
}

// TestRecordedProfile: one at a time, for as long as was asked.
func TestRecordedProfile(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	f := func(path string, start func(io.Writer) error, stop func(), magic string) {
		t.Helper()
		require.NoError(t, start(io.Discard))
		resp, body := ask(t, addr, "GET", path)
		stop()
		assertRefusal(t, http.StatusConflict, resp, body)
		assert.Empty(t, resp.Header.Get("Content-Disposition"))

		begun := time.Now()
		resp, body = ask(t, addr, "GET", path)
		require.Equal(t, 200, resp.StatusCode)
		assert.True(t, strings.HasPrefix(body, magic))
		assert.GreaterOrEqual(t, time.Since(begun), time.Second)
	}
	f("/debug/pprof/profile?seconds=1", pprof.StartCPUProfile, pprof.StopCPUProfile, "\x1f\x8b")
	f("/debug/pprof/trace?seconds=1", trace.Start, trace.Stop, "go 1.")
}

// TestRecordingEndsWithItsAsker: the next one need not wait.
func TestRecordingEndsWithItsAsker(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = io.WriteString(c, "GET /debug/pprof/trace?seconds=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, trace.IsEnabled, 20*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return !trace.IsEnabled() }, 20*time.Second, time.Millisecond)
}

// TestNothingOnTheDefaultMux: net/http/pprof would register itself there.
func TestNothingOnTheDefaultMux(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "/debug/pprof/", nil)
	require.NoError(t, err)
	_, pattern := http.DefaultServeMux.Handler(r)
	assert.Empty(t, pattern)
}
