//go:build integration

package redisx

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
)

// A cluster is one Redis to whoever uses it: each key is found where it is, also
// while its slot moves, by whoever may do little else; and one node that is away takes its own keys along only.
func TestCluster(t *testing.T) {
	nodes := testredis.StartCluster(t, 3)
	for _, s := range nodes { // as the documentation does
		rights := "~test:* +@connection +cluster|slots +evalsha +eval +get +set +incr +multi +exec +pexpire +xadd +xrevrange"
		require.Equal(t, "+OK", s.Command(t, append([]string{"ACL", "SETUSER", "helixflow", "on", ">hunter2"}, strings.Fields(rights)...)...))
	}
	c, err := Open(Options{
		URL: secret.New("redis://helixflow:hunter2@127.0.0.1:1"), Cluster: true, Nodes: []string{nodes[1].Address}, // the first one is away
		Timeout: 10 * time.Second, ConnectTimeout: 10 * time.Second, PoolSize: 4, Prefix: "test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer c.Close()
	ctx := context.Background()
	key := func(i int) string { return c.Key(fmt.Sprintf("{tenant:%d}:requests", i)) }
	for i := range 60 {
		require.NoError(t, c.Set(ctx, key(i), []byte("1"), time.Minute))
		value, err := c.Get(ctx, key(i))
		require.NoError(t, err)
		require.Equal(t, "1", string(value))
	}
	for _, key := range []string{"a", "{}123456789", "a{{b}}", "x{y", "{tenant:acme}:requests"} {
		assert.Equal(t, fmt.Sprintf(":%d", slotOf(key)), nodes[0].Command(t, "CLUSTER", "KEYSLOT", key))
	}
	for _, s := range nodes {
		assert.NotEqual(t, ":0", s.Command(t, "DBSIZE"), "each has some")
	}
	_, err = c.Append(ctx, c.Key("list"), "x", 10, time.Minute)
	require.NoError(t, err)

	script := NewScript(`return {redis.call("INCR", KEYS[1]), redis.call("INCR", KEYS[2])}`)
	f := func(i int, want int64) {
		t.Helper()
		keys := []string{c.Key(fmt.Sprintf("{new:%d}:a", i)), c.Key(fmt.Sprintf("{new:%d}:b", i))}
		var got []int64
		require.NoError(t, c.Run(ctx, script, keys, func(n []int64) bool { got = n; return true }))
		assert.Equal(t, []int64{want, want}, got)
	}
	for i := range 20 {
		f(i, 1)
		f(i, 2)
	}
	require.Error(t, c.Run(ctx, script, []string{key(1), key(2)}, nil), "two slots")

	slot, err := strconv.Atoi(nodes[0].Command(t, "CLUSTER", "KEYSLOT", "test:{new:99}:a")[1:])
	require.NoError(t, err)
	owner := slot * 3 / testredis.Slots
	begin, end := testredis.Move(t, slot, nodes[owner], nodes[(owner+1)%3])
	begin() // several new keys would have to wait until it has moved
	require.NoError(t, c.Run(ctx, NewScript(`return {redis.call("SET", KEYS[1], 0)["ok"] == "OK" and 1}`), []string{"test:{new:99}:a"},
		func(n []int64) bool { return len(n) == 1 }))
	end()
	f(99, 1)
	f(99, 2)
	assert.Contains(t, nodes[owner].Command(t, "GET", "test:{new:99}:a"), "MOVED")

	nodes[owner].Kill()
	require.Eventually(t, func() bool { return c.Set(ctx, "test:{new:99}:a", []byte("2"), 0) == nil }, 30*time.Second, 20*time.Millisecond,
		"it hears where the slot is now")
	f(99, 3)
	failed := 0
	for range 10 { // also when breakers have opened
		for i := range 60 {
			if c.Set(ctx, key(i), nil, time.Minute) != nil {
				failed++
			}
		}
	}
	assert.Positive(t, failed)
	assert.Less(t, failed, 10*60*2/3)
	assert.Equal(t, StateOpen, c.Stats().State)
	assert.False(t, c.Down())
}
