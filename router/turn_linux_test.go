package router

// Requests that are served where they are read.

import (
	"bufio"
	"io"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readings is how often this process has asked for bytes so far.
func readings(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^syscr: (\d+)$`).FindSubmatch(text)
	require.NotNil(t, found)
	n, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return n
}

// Between two requests the kernel is not asked in vain.
func TestOneReadingPerRequest(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true }))+"    cache: {exact: 1h}\n")
	c := w.dial(t)
	f, err := c.File() // what the client reads, it asks for once
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	fd := int(f.Fd())
	require.NoError(t, syscall.SetNonblock(fd, false))
	question := []byte(chat(`{"model":"m","messages":[],"temperature":0}`))
	answer := make([]byte, 16<<10)
	ask := func() string {
		_, err := syscall.Write(fd, question)
		require.NoError(t, err)
		n, err := syscall.Read(fd, answer)
		require.NoError(t, err)
		return string(answer[:n])
	}
	require.Contains(t, ask(), "x-helixflow-cache: miss")
	require.Contains(t, ask(), "x-helixflow-cache: hit")
	const rounds = 500
	before := readings(t)
	for range rounds {
		ask()
	}
	got := readings(t) - before
	t.Logf("%d readings for %d answers, the client's own among them", got, rounds)
	assert.InDelta(t, 2*rounds, got, 0.3*rounds)
}

// A connection whose client closes its side ends at once, also where that came with
// the last request.
func TestEndBehindARequest(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	for _, mode := range []string{"ignore", "cancel"} {
		w := newWorld(t, open("", url), func(o *Options) { o.HalfClose = mode })
		f := func(name string, end func(*bufio.Reader, io.Writer), answers int) {
			t.Helper()
			for range 40 {
				c := w.dial(t)
				br := bufio.NewReader(c)
				end(br, c)
				require.NoError(t, c.CloseWrite())
				require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
				if mode == "ignore" {
					for range answers {
						require.Equal(t, 200, readAnswer(t, br).status, "%s, %s", mode, name)
					}
				}
				_, err := io.Copy(io.Discard, br)
				require.NoError(t, err, "%s, %s: it did not end", mode, name)
				require.NoError(t, c.Close())
			}
		}
		write := func(text string) func(*bufio.Reader, io.Writer) {
			return func(_ *bufio.Reader, c io.Writer) {
				_, err := io.WriteString(c, text)
				require.NoError(t, err)
			}
		}
		f("nothing", write(""), 0)
		f("one", write(chat(simple)), 1)
		f("two", write(chat(simple)+chat(simple)), 2)
		f("one that is read by the loop", write("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"), 1)
		f("half", write(chat(simple)[:40]), 0)
		f("after an answer", func(br *bufio.Reader, c io.Writer) {
			write(chat(simple))(br, c)
			require.Equal(t, 200, readAnswer(t, br).status)
		}, 0)
		f("after one and with the next", func(br *bufio.Reader, c io.Writer) {
			write(chat(simple))(br, c)
			require.Equal(t, 200, readAnswer(t, br).status)
			write(chat(simple))(br, c)
		}, 1)
	}
}

// A server that is closed lets go of who is idle at once, and of who is not when that one is.
func TestCloseInTheMiddle(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		if a.nth == 1 {
			<-release
		}
		a.write(jsonAnswer(`{}`))
		return true
	})))
	busy, idle := w.dial(t), w.dial(t)
	_, err := io.WriteString(busy, chat(simple))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.srv.inflight.Load() == 1 }, 5*time.Second, time.Millisecond)
	_, err = io.WriteString(idle, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, 404, readAnswer(t, bufio.NewReader(idle)).status)
	closed := make(chan struct{})
	go func() { w.srv.Close(); close(closed) }()
	_, err = io.Copy(io.Discard, idle)
	require.NoError(t, err)
	looked := make(chan struct{})
	go func() { // what holds the server's lock, which a request may want, holds this up too
		defer close(looked)
		for range 50 {
			w.srv.open()
			<-time.After(time.Millisecond)
		}
	}()
	select {
	case <-looked:
	case <-time.After(10 * time.Second):
		t.Error("whoever closes a busy connection holds a lock meanwhile")
	}
	close(release)
	_, _ = io.Copy(io.Discard, busy) // its answer came too late
	<-closed
}
