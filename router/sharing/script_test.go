//go:build integration

package sharing

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
	"github.com/helixflow/helixflow/router/admission"
)

// connect is a client whose deadline a busy machine keeps.
func connect(t *testing.T, s *testredis.Server) *redisx.Client {
	t.Helper()
	return connectWithin(t, s, 10*time.Second)
}

func connectWithin(t *testing.T, s *testredis.Server, timeout time.Duration) *redisx.Client {
	t.Helper()
	c, err := redisx.Open(redisx.Options{
		URL: secret.New(s.URL()), Timeout: timeout, ConnectTimeout: timeout, Prefix: "test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return c
}

// timed is the script with a clock that is an argument.
func timed() *redisx.Script {
	return redisx.NewScript(strings.Replace(leaseText, "redis.call('TIME')", "{ 0, ARGV[#ARGV] }", 1))
}

func run(t *testing.T, c *redisx.Client, s *redisx.Script, key, me string, b *admission.Bid, more ...any) admission.Grant {
	t.Helper()
	var g admission.Grant
	require.NoError(t, c.Run(context.Background(), s, []string{key}, func(n []int64) bool {
		require.Len(t, n, 5)
		g = admission.Grant{Total: n[0], Level: n[1], Leased: n[2], Replicas: n[3], Born: n[4]}
		return true
	}, append(appendArguments(nil, me, b), more...)...))
	return g
}

// Whatever replicas bid, the script grants what the model grants.
func TestScriptIsTheModel(t *testing.T) {
	c := connect(t, testredis.Start(t))
	defer c.Close()
	script := timed()
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		mode := admission.Mode(seed % 3)
		m, key := newModel(1.7e15+rnd.Int64N(1e12)), fmt.Sprint("limit", seed)
		limit := 1 + rnd.Int64N(1<<(1+seed%40))
		unit := 1.0
		if mode == admission.Flow {
			unit = 6e7 / float64(limit)
		}
		type state struct{ charge, acked, held, born int64 }
		states := make([]state, 4)
		for step := range 60 {
			i := rnd.IntN(len(states))
			s := &states[i]
			m.now += rnd.Int64N(1 << (1 + rnd.IntN(23)))
			if mode != admission.Slots {
				s.charge += rnd.Int64N(limit) - limit/8
			}
			b := admission.Bid{
				Mode: mode, Size: limit, Unit: unit, Keep: rnd.Int64N(s.held + 1),
				Charge: s.charge, Apart: max(rnd.Int64N(limit)-limit/2, 0), Acked: s.acked, Held: s.held, Born: s.born, Seed: rnd.Int64N(1e7), Last: time.Hour,
			}
			b.Need = b.Keep + rnd.Int64N(limit/8+2)
			b.Want = b.Need + rnd.Int64N(limit)
			if rnd.IntN(5) == 0 {
				b.Need, b.Want = b.Keep, -1
			}
			want := m.exchange(key, fmt.Sprint("r", i), &b)
			got := run(t, c, script, key, fmt.Sprint("r", i), &b, m.now)
			require.Equal(t, want, got, "seed %d step %d mode %s: %+v, model %s", seed, step, mode, b, m.limits[key])
			if rnd.IntN(5) > 0 {
				*s = state{s.charge, s.charge, got.Total, got.Born}
			}
		}
	}
}

// What somebody else has written does not stop a limit from working.
func TestScriptMeetsGarbage(t *testing.T) {
	s := testredis.Start(t)
	c := connect(t, s)
	defer c.Close()
	script := timed()
	bid := &admission.Bid{Mode: admission.Flow, Size: 100, Unit: 600_000, Need: 10, Want: 10, Last: 0}
	f := func(commands ...string) {
		t.Helper()
		s.Command(t, "DEL", "k")
		for _, command := range commands {
			s.Command(t, strings.Fields(command)...)
		}
		g := run(t, c, script, "k", "me", bid, int64(1.7e15))
		assert.GreaterOrEqual(t, g.Total, int64(10), commands)
		assert.LessOrEqual(t, g.Total, int64(100), commands)
		g = run(t, c, script, "k", "me", bid, int64(1.7e15))
		assert.GreaterOrEqual(t, g.Total, int64(0), commands)
	}
	f()
	f("SET k x")
	f("LPUSH k x")
	f("HSET k level nan born 1")
	f("HSET k level inf born 1")
	f("HSET k level 1e400 born x")
	f("HSET k level 5.0 born 99999999999999999999")
	f("HSET k r x level x born x")
	f("HSET k r 999999999999999999999999")
	f("HSET k me 1")
	// What nobody can owe is not believed for longer than a hundred bursts.
	s.Command(t, "HSET", "k", "level", "9000000000000000.000", "born", "1")
	g := run(t, c, script, "k", "me", bid, int64(1.7e15))
	assert.LessOrEqual(t, g.Level, int64(100*100*600_000))
}

// A limit that nobody uses leaves Redis.
func TestKeysExpire(t *testing.T) {
	s := testredis.Start(t)
	c := connect(t, s)
	defer c.Close()
	script, _ := newScripts()
	f := func(b admission.Bid, least, most int) {
		t.Helper()
		b.Size, b.Unit, b.Need, b.Want = 100, 1000, 1, 1
		if b.Mode != admission.Flow {
			b.Unit = 1
		}
		run(t, c, script, "k", "me", &b)
		var left int
		_, err := fmt.Sscanf(s.Command(t, "TTL", "k"), ":%d", &left)
		require.NoError(t, err)
		assert.LessOrEqual(t, least, left)
		assert.LessOrEqual(t, left, most)
		s.Command(t, "DEL", "k")
	}
	f(admission.Bid{Mode: admission.Flow}, 1, 12)
	f(admission.Bid{Mode: admission.Slots}, 30, 60)
	f(admission.Bid{Mode: admission.Sum, Last: time.Hour}, 3000, 3600)
	f(admission.Bid{Mode: admission.Sum}, -1, -1)
}
