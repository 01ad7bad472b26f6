package idempotency

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/internal/testtiming"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	one, two = Digest{1}, Digest{2}
	noon     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// answer does the work of a first request.
func answer(t testing.TB, s *Store, tenant, key, body string, expires time.Time) {
	t.Helper()
	f := s.Ask(tenant, []byte(key), one, noon)
	require.Equal(t, First, f.Verdict, "%s %s", tenant, key)
	f.Claim.Begin(Answer{Status: 200, ContentType: "text/plain"})
	f.Claim.Append([]byte(body))
	f.Claim.Keep(expires)
}

// consistent checks every count of s against what is there.
func consistent(t testing.TB, s *Store) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	used, kept, heavy := int64(0), 0, 0
	for name, tn := range s.tenants {
		require.Equal(t, name, tn.name)
		require.NotEmpty(t, tn.entries)
		sum, listed := int64(0), 0
		for e := tn.oldest; e != nil; e = e.next {
			require.NotNil(t, e.answer)
			require.Same(t, e, tn.entries[e.key])
			listed++
		}
		for _, e := range tn.entries {
			sum += e.size
			if e.answer != nil {
				kept++
				listed--
				require.GreaterOrEqual(t, e.size, int64(len(e.answer.Body))+overhead)
			}
		}
		require.Zero(t, listed)
		require.Equal(t, tn.bytes, sum)
		used += sum
		require.Equal(t, tn.oldest != nil, tn.at >= 0)
		if tn.at >= 0 {
			heavy++
			require.Same(t, tn, s.heavy[tn.at])
			require.GreaterOrEqual(t, s.heavy[0].bytes, tn.bytes)
		}
	}
	require.Equal(t, used, s.used)
	require.Equal(t, kept, s.stats.Answers)
	require.Len(t, s.heavy, heavy)
}

func TestAsk(t *testing.T) {
	s := New(1 << 20)
	defer s.Close()
	key := []byte("k")
	first := s.Ask("a", key, one, noon)
	require.Equal(t, First, first.Verdict)
	key[0] = 'x' // it was copied
	assert.Equal(t, Found{Verdict: Running, Since: 3 * time.Second}, s.Ask("a", []byte("k"), one, noon.Add(3*time.Second)))
	assert.Equal(t, Found{Verdict: Other}, s.Ask("a", []byte("k"), two, noon))
	other := s.Ask("b", []byte("k"), two, noon)
	assert.Equal(t, First, other.Verdict, "keys are a tenant's own")
	consistent(t, s)

	piece := []byte("hello ")
	first.Claim.Begin(Answer{Status: 200, ContentType: "text/plain", Events: true})
	first.Claim.Append(piece)
	copy(piece, "HELLO ")
	first.Claim.Append([]byte("world"))
	first.Claim.Keep(noon.Add(time.Hour))
	first.Claim.Append([]byte("!"))
	first.Claim.Drop() // what has ended stays as it is
	first.Claim.Keep(noon)
	want := &Answer{Status: 200, ContentType: "text/plain", Events: true, Body: []byte("hello world")}
	for _, after := range []time.Duration{0, time.Hour - 1} {
		assert.Equal(t, Found{Verdict: Kept, Answer: want}, s.Ask("a", []byte("k"), one, noon.Add(after)))
		assert.Equal(t, Found{Verdict: Other}, s.Ask("a", []byte("k"), two, noon.Add(after)))
	}
	again := s.Ask("a", []byte("k"), two, noon.Add(time.Hour))
	assert.Equal(t, First, again.Verdict, "it has expired")
	again.Claim.Drop()
	assert.Equal(t, First, s.Ask("a", []byte("k"), one, noon).Verdict, "it was dropped")
	consistent(t, s)
}

func TestAnswersThatAreTooLong(t *testing.T) {
	s := New(16 << 20)
	defer s.Close()
	f := func(size int, kept bool) {
		t.Helper()
		claim := s.Ask("a", []byte("k"), one, noon).Claim
		for left := size; left > 0; left -= 100_000 {
			claim.Append(bytes.Repeat([]byte("x"), min(left, 100_000)))
		}
		consistent(t, s)
		assert.Equal(t, Running, s.Ask("a", []byte("k"), one, noon).Verdict)
		claim.Keep(noon.Add(time.Hour))
		consistent(t, s)
		found := s.Ask("a", []byte("k"), one, noon)
		if kept {
			assert.Len(t, found.Answer.Body, size)
			s.SetLimit(0)
			s.SetLimit(16 << 20)
			return
		}
		require.Equal(t, First, found.Verdict)
		found.Claim.Drop()
		assert.Zero(t, s.Stats().Bytes)
	}
	f(0, true)
	f(MaxAnswer, true)
	f(MaxAnswer+1, false)
	f(10*MaxAnswer, false)
	assert.EqualValues(t, 2, s.Stats().Refused)
	assert.EqualValues(t, 2, s.Stats().Evicted)
}

// One that fills the memory loses its own, and not what others hold below an even
// share.
func TestShares(t *testing.T) {
	const limit = 1 << 20
	s := New(limit)
	defer s.Close()
	later := noon.Add(time.Hour)
	body := strings.Repeat("x", 10_000)
	for i := range 20 {
		answer(t, s, "small", fmt.Sprint(i), body, later)
	}
	for i := range 500 {
		answer(t, s, "large", fmt.Sprint(i), body, later)
		consistent(t, s)
		require.LessOrEqual(t, s.Stats().Bytes, int64(limit))
	}
	for i := range 20 {
		assert.Equal(t, Kept, s.Ask("small", []byte(fmt.Sprint(i)), one, noon).Verdict, i)
	}
	assert.Equal(t, Kept, s.Ask("large", []byte("499"), one, noon).Verdict, "the latest is there")
	old := s.Ask("large", []byte("0"), one, noon)
	assert.Equal(t, First, old.Verdict, "the oldest went")
	old.Claim.Drop()

	// A third grows up to an even share, at the expense of the largest.
	for i := range 30 {
		answer(t, s, "third", fmt.Sprint(i), body, later)
	}
	for i := range 30 {
		assert.Equal(t, Kept, s.Ask("third", []byte(fmt.Sprint(i)), one, noon).Verdict, i)
	}
	for i := range 20 {
		assert.Equal(t, Kept, s.Ask("small", []byte(fmt.Sprint(i)), one, noon).Verdict, i)
	}

	// Answers under way count too, and drive out nobody that holds less.
	var claims []*Claim
	for i := range 100 {
		c := s.Ask("streams", []byte(fmt.Sprint(i)), one, noon).Claim
		c.Append([]byte(strings.Repeat("y", 20_000)))
		claims = append(claims, c)
		consistent(t, s)
		require.LessOrEqual(t, s.Stats().Bytes, int64(limit+100*(overhead+8)))
	}
	assert.Positive(t, s.Stats().Refused)
	for i := range 20 {
		assert.Equal(t, Kept, s.Ask("small", []byte(fmt.Sprint(i)), one, noon).Verdict, i)
	}
	for _, c := range claims {
		c.Drop()
	}
	consistent(t, s)
}

// What has expired goes by itself, also of tenants that never ask again.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(1 << 20)
		answer(t, s, "a", "1", "x", time.Now().Add(90*time.Second))
		answer(t, s, "b", "1", "x", time.Now().Add(time.Hour))
		running := s.Ask("c", []byte("1"), one, time.Now())
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, s.Stats().Answers)
		consistent(t, s)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Zero(t, s.Stats().Answers)
		running.Claim.Drop()
		assert.Zero(t, s.Stats().Bytes)
		answer(t, s, "a", "1", "x", time.Now().Add(time.Minute))
		s.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}

// Of many that ask at once one does the work, and all read its answer.
func TestOneDoesTheWork(t *testing.T) {
	s := New(64 << 20)
	defer s.Close()
	const keys, askers = 50, 8
	var worked [keys]atomic.Int32
	var wait sync.WaitGroup
	for range askers {
		wait.Go(func() {
			for k := range keys {
				want := fmt.Sprintf("answer %d", k)
				for {
					f := s.Ask("a", fmt.Append(nil, k), one, time.Now())
					if f.Verdict == Kept {
						assert.Equal(t, want, string(f.Answer.Body))
						break
					}
					if f.Verdict == First && worked[k].Add(1) == 1 && k%2 == 0 {
						f.Claim.Drop() // it failed: somebody does it again
					} else if f.Verdict == First {
						f.Claim.Append([]byte(want))
						f.Claim.Keep(time.Now().Add(time.Hour))
					}
				}
			}
		})
	}
	wait.Wait()
	for k := range keys {
		assert.EqualValues(t, 2-k%2, worked[k].Load())
	}
	consistent(t, s)
}

// Whatever happens in whatever order, every count is right and the bound holds.
func TestAnyOrder(t *testing.T) {
	const limit = 200_000
	r := rand.New(rand.NewPCG(1, 2))
	s := New(limit)
	defer s.Close()
	var claims []*Claim
	now := noon
	for range testtiming.Rounds(20_000) {
		now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		f := s.Ask(fmt.Sprint(r.IntN(5)), fmt.Append(nil, r.IntN(60)), Digest{byte(r.IntN(2))}, now)
		if f.Verdict == First {
			claims = append(claims, f.Claim)
		}
		if len(claims) == 0 {
			continue
		}
		i := r.IntN(len(claims))
		switch c := claims[i]; r.IntN(4) {
		case 0:
			c.Drop()
			claims = append(claims[:i], claims[i+1:]...)
		case 1:
			c.Keep(now.Add(time.Duration(r.IntN(600)) * time.Second))
			claims = append(claims[:i], claims[i+1:]...)
		default:
			c.Append(make([]byte, r.IntN(20_000)))
		}
		if r.IntN(1000) == 0 {
			s.SetLimit(limit / 2)
			s.SetLimit(limit)
		}
		consistent(t, s)
		require.LessOrEqual(t, s.Stats().Bytes, int64(limit+len(claims)*(overhead+2)))
	}
	for _, c := range claims {
		c.Drop()
	}
	s.SetLimit(0)
	assert.Zero(t, s.Stats().Bytes)
	assert.Empty(t, s.tenants)
}
