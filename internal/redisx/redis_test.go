//go:build integration

package redisx

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
)

func kindOfOperation(t *testing.T, c *Client) Kind {
	t.Helper()
	err := c.Run(context.Background(), NewScript(`redis.call("SET", KEYS[1], ARGV[1]) return {}`), []string{c.Key("k")}, nil, strings.Repeat("x", 1000))
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Kind
}

func TestRealRedis(t *testing.T) {
	s := testredis.Start(t)
	c, log := open(t, s.URL(), 5*time.Second)
	ctx := context.Background()
	value, err := c.Get(ctx, c.Key("a"))
	require.NoError(t, err)
	assert.Nil(t, value)
	require.NoError(t, c.Set(ctx, c.Key("a"), []byte("1"), time.Minute))
	value, err = c.Get(ctx, "test:a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(value))
	require.NoError(t, c.Del(ctx, c.Key("a"), c.Key("b")))
	script := NewScript(`return {tonumber(ARGV[1]), redis.call("EXISTS", KEYS[1])}`)
	for range 2 {
		var got []int64
		require.NoError(t, c.Run(ctx, script, []string{c.Key("a")}, func(n []int64) bool { got = n; return true }, 41))
		assert.Equal(t, []int64{41, 0}, got)
		s.Command(t, "SCRIPT", "FLUSH") // it is sent again
	}
	require.ErrorContains(t, c.Run(ctx, NewScript(`return redis.error_reply("boom")`), []string{"k"}, nil), "boom")

	s.Command(t, "CONFIG", "SET", "maxmemory", "1")
	assert.Equal(t, OutOfMemory, kindOfOperation(t, c))
	s.Command(t, "CONFIG", "SET", "maxmemory", "0")

	s.Kill()
	assert.Equal(t, Unreachable, kindOfOperation(t, c))
	s.Run(t)
	require.Eventually(t, func() bool { return c.Set(ctx, c.Key("a"), nil, 0) == nil }, 30*time.Second, 10*time.Millisecond)
	assert.NotContains(t, log.String(), "level=WARN", "too few failures in a row")
}

func TestRealRedisWantsAPassword(t *testing.T) {
	s := testredis.Start(t, "--requirepass", "hunter2")
	f := func(url string, want Kind) {
		t.Helper()
		c, log := open(t, url, 5*time.Second)
		assert.Equal(t, want, kindOfOperation(t, c))
		assert.NotContains(t, log.String(), "hunter")
	}
	f(s.URL(), Denied)
	f(strings.Replace(s.URL(), "//", "//:hunter3@", 1), Denied)
	f(strings.Replace(s.URL(), "//", "//nobody:hunter3@", 1), Denied)
	c, _ := open(t, strings.Replace(s.URL(), "//", "//:hunter2@", 1), 5*time.Second)
	require.NoError(t, c.Set(context.Background(), "k", nil, 0))
}

// A Redis that halts costs an operation its deadline, then nothing, and is asked
// again when it goes on.
func TestRealRedisHalts(t *testing.T) {
	s := testredis.Start(t)
	c, log := open(t, s.URL(), 100*time.Millisecond)
	ctx := context.Background()
	require.NoError(t, c.Set(ctx, "k", nil, 0))
	s.Stop()
	for range 100 {
		_ = c.Set(ctx, "k", nil, 0)
	}
	assert.True(t, c.Down())
	assert.LessOrEqual(t, c.Stats().Operations, uint64(1+tolerated+1))
	s.Continue()
	require.Eventually(t, func() bool { return c.Set(ctx, "k", nil, 0) == nil }, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, 1, strings.Count(log.String(), "left alone"))
	assert.Equal(t, 1, strings.Count(log.String(), "answers again"))
}

// Over TLS connections are kept as well; a certificate that is not trusted is
// refused, and nothing is sent.
func TestRealRedisOverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "redis.crt"), filepath.Join(dir, "redis.key")
	pool := testredis.WriteCertificate(t, cert, key)
	s := testredis.Start(t)
	tlsAddress := s.ListenTLS(t, cert, key, "no")
	f := func(c *tls.Config, want error) {
		t.Helper()
		client, err := Open(Options{
			URL: secret.New("rediss://" + tlsAddress), TLS: c, Timeout: 10 * time.Second, ConnectTimeout: 10 * time.Second, PoolSize: 4,
			Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		defer client.Close()
		err = client.Set(context.Background(), "k", nil, 0)
		if want != nil {
			require.ErrorContains(t, err, want.Error())
			return
		}
		require.NoError(t, err)
		for range 20 {
			require.NoError(t, client.Set(context.Background(), "k", nil, 0))
		}
		assert.Equal(t, uint32(1), client.rdb.PoolStats().TotalConns)
		assert.Equal(t, uint32(1), client.rdb.PoolStats().Misses)
	}
	f(&tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, nil)
	f(&tls.Config{RootCAs: pool, ServerName: "other.example.com", MinVersion: tls.VersionTLS12}, errors.New("certificate"))
	f(nil, errors.New("certificate"))
}
