//go:build linux || darwin || freebsd

package handover

// Both sides in one process: the rules, the socket file, and peers that lie.

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	clients, admin := listen(t), listen(t)
	h, err := Serve(path, map[string]net.Listener{"clients": clients, "admin": admin}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer h.Close()
	file, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, file.Mode())

	taken, err := Take(path, time.Second)
	require.NoError(t, err)
	defer taken.Abort()
	require.Len(t, taken.Listeners, 2)
	assert.Equal(t, clients.Addr(), taken.Listeners["clients"].Addr())
	assert.Equal(t, admin.Addr(), taken.Listeners["admin"].Addr())
	assert.True(t, Fits(taken.Listeners["admin"], admin.Addr().String()))

	_, err = Take(path, time.Second)
	require.EqualError(t, err, `cannot take over the listeners offered on `+path+`: the old process refuses: "another process is taking over"`)
	select {
	case <-h.Given():
		require.Fail(t, "given before the commit")
	default:
	}
	require.NoError(t, taken.Commit())
	<-h.Given()

	// The path is free for the successor at once, and the old one leaves its
	// socket alone.
	successor, err := Serve(path, taken.Listeners, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer successor.Close()
	h.Close()
	again, err := Take(path, time.Second)
	require.NoError(t, err)
	again.Abort()
}

func TestNothingOffered(t *testing.T) {
	var h *Handler
	require.Nil(t, h.Given())
	h.Close()
}

func TestServeRefuses(t *testing.T) {
	f := func(path string, listeners map[string]net.Listener, want string) {
		t.Helper()
		_, err := Serve(path, listeners, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, want)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "handover.sock")
	one := map[string]net.Listener{"clients": listen(t)}
	f(path, nil, "cannot offer 0 listeners: 1 to 16")
	f(path, map[string]net.Listener{"a\nb": listen(t)}, `cannot offer a listener named "a\nb"`)
	f(path, map[string]net.Listener{"a": struct{ net.Listener }{}}, `cannot hand over "a": a struct`)
	closed := listen(t)
	require.NoError(t, closed.Close())
	f(path, map[string]net.Listener{"a": closed}, `cannot hand over "a": `)
	f("", one, "it must be the path of a file")
	f("@abstract", one, "it must be the path of a file")
	f(filepath.Join(dir, "nowhere", "s"), one, "no such file or directory")
	f(filepath.Join(dir, strings.Repeat("x", 120)), one, " bytes, and a socket's at most 10")

	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("precious"), 0o600))
	f(text, one, "there is a file that is not a socket")
	kept, err := os.ReadFile(text)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))

	h, _ := offer(t, path)
	f(path, one, "another process offers its listeners there")
	h.Close()
	require.NoFileExists(t, path)
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, list, 1, "only the text is left")
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	_, err = Take(path, time.Second)
	require.ErrorIs(t, err, ErrNobody)
	offer(t, path)
	taken, err := Take(path, time.Second)
	require.NoError(t, err)
	taken.Abort()
}

// A process that ends while another takes over leaves it the listeners.
func TestCloseWhileTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	h, _ := offer(t, path)
	taken, err := Take(path, time.Second)
	require.NoError(t, err)
	defer taken.Abort()
	h.Close()
	require.NoError(t, taken.Commit())
}

func TestTrusted(t *testing.T) {
	f := func(uid, own int, want bool) {
		t.Helper()
		assert.Equal(t, want, trusted(uid, own))
	}
	f(1000, 1000, true)
	f(0, 1000, true)
	f(1001, 1000, false)
	f(1000, 0, false)
}

// talk says words to the old process and returns all it answers.
func talk(t *testing.T, path string, words string, fds ...int) string {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix([]byte(words), oob, nil)
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	answer, _ := io.ReadAll(c) // it may be reset behind the answer
	return string(answer)
}

func TestHostileTakers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	h, l := offer(t, path)
	f := func(words, want string, fds ...int) {
		t.Helper()
		unchanged(t, func() {
			answer := talk(t, path, words, fds...)
			require.Contains(t, answer, want)
			require.Equal(t, want == "", answer == "")
		})
		select {
		case <-h.Given():
			require.Fail(t, "given away")
		default:
		}
		// An honest one is still welcome.
		taken, err := Take(path, time.Second)
		require.NoError(t, err)
		taken.Abort()
		require.Eventually(t, func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.taker == nil
		}, 20*time.Second, time.Millisecond)
	}
	ask, commit := string(appendFrame(nil, kindAsk, "")), string(appendFrame(nil, kindCommit, ""))
	f("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "does not speak this protocol")
	f("hfxh", "unexpected EOF")
	f("hfxh\x02a\x00\x00", "another version of this protocol: 2, this is 1")
	f("hfxh\x01a\xff\xff", "a message of 65535 bytes")
	f("hfxh\x01a\x00\x09half", "unexpected EOF")
	f(commit, "does not speak this protocol")
	f(ask, "clients")
	f(ask+"garbage!", "too late or not understood")
	f(ask+ask, "too late or not understood")
	f(string(appendFrame(nil, kindYours, "")), "does not speak this protocol")
	f(ask, "clients", 0, 1, 2) // descriptors that nobody asked for are dropped
	f("\x00", "unexpected EOF", 0)

	// One that says nothing holds the place, but not for long.
	slow, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer func() { _ = slow.Close() }()
	require.Eventually(t, func() bool {
		_, err := Take(path, time.Second)
		return err != nil
	}, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		taken, err := Take(path, time.Second)
		if err == nil {
			taken.Abort()
		}
		return err == nil
	}, 2*askWithin, 20*time.Millisecond)
	require.NotNil(t, l.Addr())
}

// pretend is an old process that says words, with descriptors beside them, to
// whoever asks.
func pretend(t *testing.T, words []byte, fds []int, then func(*net.UnixConn)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _, _ = readFrame(c)
		var oob []byte
		if len(fds) > 0 {
			oob = syscall.UnixRights(fds...)
		}
		_, _, _ = c.WriteMsgUnix(words, oob, nil)
		if then != nil {
			then(c)
		}
	}()
	return path
}

// raw returns descriptors to send: of a listener, a connection, a packet socket
// and a file.
func raw(t *testing.T) (listening, connected, packets, file int) {
	t.Helper()
	descriptor := func(of interface{ File() (*os.File, error) }) int {
		f, err := of.File()
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return int(f.Fd())
	}
	l := listen(t)
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	p, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return descriptor(l.(*net.TCPListener)), descriptor(c.(*net.TCPConn)), descriptor(p), int(f.Fd())
}

func TestHostileOldProcesses(t *testing.T) {
	listening, connected, packets, file := raw(t)
	f := func(words []byte, fds []int, want string) {
		t.Helper()
		path := pretend(t, words, fds, nil)
		unchanged(t, func() {
			_, err := Take(path, 300*time.Millisecond)
			require.ErrorContains(t, err, want)
			require.NotErrorIs(t, err, ErrNobody)
		})
	}
	offer := func(names ...string) []byte { return appendFrame(nil, kindOffer, strings.Join(names, "\n")) }
	many := func(n int) []int { return slices.Repeat([]int{listening}, n) }
	f(nil, nil, "the old process closed the connection")
	f([]byte("SSH-2.0-OpenSSH_9.2\r\n"), nil, "does not speak this protocol")
	f([]byte("garbage!garbage!"), []int{listening}, "does not speak this protocol")
	f(offer("clients"), nil, "1 names for 0 descriptors")
	f(offer(), nil, "1 names for 0 descriptors")
	f(offer("clients"), many(2), "1 names for 2 descriptors")
	f(offer("clients"), many(17), "more than 16 descriptors")
	f(offer("clients"), many(200), "more than 16 descriptors")
	f(offer("a", "a"), many(2), `a listener named "a"`)
	f(offer("a", ""), many(2), `a listener named ""`)
	f(offer("a", "\x1b[31m"), many(2), `a listener named "\x1b[31m"`)
	f(offer("a", "b"), []int{listening, connected}, `listener "b": a socket that does not listen`)
	f(offer("a"), []int{packets}, `listener "a": not a stream socket`)
	f(offer("a", "b"), []int{file, listening}, `listener "a": not a socket`)
	f(offer("clients")[:10], []int{listening}, "unexpected EOF")
	f(appendFrame(nil, kindYours, ""), []int{listening}, "does not speak this protocol")
	f(appendFrame(nil, kindRefuse, "no\x1b[31m"), []int{listening}, `the old process refuses: "no\x1b[31m"`)
	f([]byte("hfxh\x07o\x00\x00"), nil, "another version of this protocol: 7, this is 1")
}

func TestSlowOldProcess(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	listening, _, _, _ := raw(t)
	hang := func(*net.UnixConn) { <-release }
	path := pretend(t, []byte("hfxh"), []int{listening}, hang)
	unchanged(t, func() {
		began := time.Now()
		_, err := Take(path, 200*time.Millisecond)
		require.ErrorContains(t, err, "i/o timeout")
		require.Less(t, time.Since(began), 20*time.Second)
		release <- struct{}{}
	})
}

func TestCommitRefused(t *testing.T) {
	listening, _, _, _ := raw(t)
	f := func(answer []byte, want string) {
		t.Helper()
		path := pretend(t, appendFrame(nil, kindOffer, "clients"), []int{listening}, func(c *net.UnixConn) {
			_, _, _ = readFrame(c)
			_, _ = c.Write(answer)
		})
		taken, err := Take(path, time.Second)
		require.NoError(t, err)
		err = taken.Commit()
		taken.Abort()
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.EqualError(t, err, "cannot take over the listeners: "+want)
	}
	f(appendFrame(nil, kindYours, ""), "")
	f(nil, "") // it died: the listeners are ours
	f(appendFrame(nil, kindRefuse, "too late"), `the old process refuses: "too late"`)
	f([]byte("nonsense"), "cannot understand the old process: the other side does not speak this protocol")
	f(appendFrame(nil, kindOffer, ""), "cannot understand the old process: the other side does not speak this protocol")
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, kindOffer, "clients\nadmin"))
	f.Add([]byte("hfxh\x01a\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, payload, err := readFrame(bytes.NewReader(data))
		if err == nil {
			require.True(t, bytes.HasPrefix(data, appendFrame(nil, kind, payload)))
		}
	})
}
