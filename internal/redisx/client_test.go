package redisx

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
)

// lines gathers what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, url string, timeout time.Duration) (*Client, *lines) {
	t.Helper()
	log := new(lines)
	c, err := Open(Options{
		URL: secret.New(url), Timeout: timeout, ConnectTimeout: timeout, PoolSize: 4, Prefix: "test",
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, log
}

// scripted is something that listens and answers each command with the same text.
func scripted(t *testing.T, answer string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for r := bufio.NewReader(c); ; {
					var n, size int
					if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
						return
					}
					for range n {
						if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
							return
						}
						if _, err := r.Discard(size + 2); err != nil {
							return
						}
					}
					if _, err := c.Write([]byte(answer)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://:hunter2@" + l.Addr().String()
}

func TestConnection(t *testing.T) {
	f := func(url, address string, db int, user, password string, encrypted bool) {
		t.Helper()
		o, err := connection(url)
		require.NoError(t, err)
		assert.Equal(t, []any{address, db, user, password, encrypted}, []any{o.Addrs[0], o.DB, o.Username, o.Password, o.TLSConfig != nil})
	}
	f("redis://h", "h:6379", 0, "", "", false)
	f("redis://u:p@h:1/3", "h:1", 3, "u", "p", false)
	f("rediss://:p%40@[::1]:2/", "[::1]:2", 0, "", "p@", true)
	bad := func(url string) {
		t.Helper()
		_, err := connection(url)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	bad("http://hunter2@h")
	bad("redis://:hunter2@h:port")
	bad("redis://:hunter2@h/x")
	bad("redis://:hunter2@h/-1")
}

// Whatever is wrong, an operation ends in time, says what it is, and no secret.
func TestFaults(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	f := func(url string, want Kind) {
		t.Helper()
		timeout := 10 * time.Second // which a busy machine keeps
		if want == TimedOut {
			timeout = 50 * time.Millisecond
		}
		c, log := open(t, url, timeout)
		for range 20 {
			began := time.Now()
			err := c.Run(context.Background(), NewScript("return {1}"), []string{"k"}, func(n []int64) bool { return len(n) == 1 && n[0] == 1 })
			var e *Error
			require.ErrorAs(t, err, &e)
			if e.Kind == Skipped {
				break
			}
			assert.Equal(t, want.String(), e.Kind.String(), err)
			assert.Less(t, time.Since(began), 5*time.Second)
		}
		assert.True(t, c.Down(), "the breaker opens")
		s := c.Stats()
		assert.LessOrEqual(t, s.Operations, uint64(tolerated))
		assert.Equal(t, s.Operations, s.Failed[want.String()])
		assert.Equal(t, uint64(1), s.Failed["skipped"])
		assert.Equal(t, uint64(1), s.Opened)
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log)
		assert.NotContains(t, log.String(), "hunter2")
	}
	f("redis://127.0.0.1:1", Unreachable)
	f("redis://"+silent.Addr().String(), TimedOut)
	for answer, want := range map[string]Kind{
		"-WRONGPASS invalid username-password pair\r\n": Denied,
		"-NOAUTH Authentication required.\r\n":          Denied,
		"-ERR invalid password\r\n":                     Denied,
		"-LOADING Redis is loading\r\n":                 Unready,
		"-ERR unknown command\x1b[31m\r\n":              Refused,
		"HTTP/1.1 400 Bad Request\r\n\r\n":              Garbled,
		":12x\r\n":                                      Garbled,
		"*1\r\n*1\r\n$99999999999999999999\r\n":         Garbled,
	} {
		f(scripted(t, answer), want)
	}
	f(strings.Replace(scripted(t, "-OOM command not allowed\r\n"), ":hunter2@", "", 1), OutOfMemory)
	f(strings.Replace(scripted(t, "$5\r\nhello\r\n"), ":hunter2@", "", 1), Garbled)
	f(strings.Replace(scripted(t, "*2000000000\r\n"), ":hunter2@", "", 1), Garbled)
	f(strings.Replace(scripted(t, "$2000000000\r\n"), ":hunter2@", "", 1), Garbled)
	f(strings.Replace(scripted(t, strings.Repeat("*1\r\n", 1000)), ":hunter2@", "", 1), Garbled)
	f(strings.Replace(scripted(t, "*1\r\n:2\r\n"), ":hunter2@", "", 1), Garbled)
	f(strings.Replace(scripted(t, "*1\r\n$1\r\n1\r\n"), ":hunter2@", "", 1), Garbled)
}

// Somebody who leaves is no fault of Redis.
func TestCancelled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	c, _ := open(t, "redis://"+silent.Addr().String(), time.Minute)
	for range 2 * tolerated {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := c.Get(ctx, "k")
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, Cancelled, e.Kind)
	}
	assert.False(t, c.Down())
}

func TestSlotOf(t *testing.T) {
	f := func(key string, want int) {
		t.Helper()
		assert.Equal(t, want, slotOf(key))
	}
	f("123456789", 12739)
	f("", 0)
	f("helixflow:{123456789}:x", 12739)
	f("a{123456789}{b}", 12739)
}
