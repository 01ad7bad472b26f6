package objects

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var home = Home{Endpoint: 7, Credential: 9}

func id(n int) []byte { return fmt.Appendf(nil, "file-%024d", n) }

func TestOwnership(t *testing.T) {
	r := New(Options{})
	now := r.began
	f := func(pool, tenant, id string, want Ownership) {
		t.Helper()
		h, got := r.Find(pool, tenant, []byte(id), now)
		assert.Equal(t, want, got)
		if want == Own {
			assert.Equal(t, home, h)
		} else {
			assert.Zero(t, h, "where it lives is for its owner")
		}
	}
	f("p", "acme", "file-1", Unknown)
	r.Record("p", "acme", []byte("file-1"), home, now)
	f("p", "acme", "file-1", Own)
	f("p", "beta", "file-1", Foreign)
	f("q", "acme", "file-1", Unknown)
	f("p", "acme", "file-", Unknown)
	f("p", "acme", "file-1\x00", Unknown)

	// Names run into each other nowhere.
	r.Record("pool", "acme", []byte("1file"), home, now)
	f("pool1", "acme", "file", Unknown)
	f("poo", "acme", "l1file", Unknown)

	// Whoever comes later does not get it, nor can it be made to be forgotten by others.
	r.Record("p", "beta", []byte("file-1"), Home{}, now)
	f("p", "acme", "file-1", Own)
	r.Forget("p", "beta", []byte("file-1"))
	f("p", "acme", "file-1", Own)

	// The same id elsewhere is another object.
	r.Record("q", "beta", []byte("file-1"), home, now)
	f("q", "beta", "file-1", Own)
	f("q", "acme", "file-1", Foreign)
	f("p", "acme", "file-1", Own)
	assert.Equal(t, 3, r.Len())

	r.Forget("p", "acme", []byte("file-1"))
	f("p", "acme", "file-1", Unknown)
	r.Record("p", "beta", []byte("file-1"), home, now)
	f("p", "beta", "file-1", Own)
	f("p", "acme", "file-1", Foreign)

	// It may have moved.
	moved := Home{Endpoint: 8}
	r.Record("p", "beta", []byte("file-1"), moved, now)
	h, _ := r.Find("p", "beta", []byte("file-1"), now)
	assert.Equal(t, moved, h)
}

func TestLongIDs(t *testing.T) {
	r := New(Options{})
	now := r.began
	for _, n := range []int{0, 1, MaxID, MaxID + 1, 10_000} {
		long := []byte(strings.Repeat("x", n))
		r.Record(strings.Repeat("p", n), "acme", long, home, now)
		_, got := r.Find(strings.Repeat("p", n), "acme", long, now)
		want := Own
		if n == 0 || n > MaxID {
			want = Unknown
		}
		assert.Equal(t, want, got, n)
		r.Forget(strings.Repeat("p", n), "acme", long)
	}
	assert.Zero(t, r.Len())
}

// TestLife: an entry lives on from when it was last named.
func TestLife(t *testing.T) {
	r := New(Options{Life: time.Hour})
	at := func(d time.Duration) time.Time { return r.began.Add(d) }
	f := func(d time.Duration, tenant string, want Ownership) {
		t.Helper()
		_, got := r.Find("p", tenant, []byte("batch_1"), at(d))
		assert.Equal(t, want, got)
	}
	r.Record("p", "acme", []byte("batch_1"), home, at(0))
	f(59*time.Minute, "beta", Foreign) // which is no reason to keep it
	f(59*time.Minute, "acme", Own)
	f(118*time.Minute, "acme", Own)
	f(178*time.Minute, "acme", Unknown)
	r.Record("p", "acme", []byte("batch_1"), home, at(200*time.Minute))
	r.Record("p", "beta", []byte("batch_1"), home, at(300*time.Minute))
	f(301*time.Minute, "beta", Own)
	f(-time.Hour, "beta", Own) // a clock that was set back
	assert.Equal(t, 1, r.Len())
}

// TestFlood: a tenant that makes objects without end loses its own, the oldest
// first, and nobody else loses one.
func TestFlood(t *testing.T) {
	const most = 64 * 256
	r := New(Options{Max: most})
	now := r.began
	const few = 2000
	for i := range few {
		r.Record("p", "polite", id(i), home, now)
	}
	for i := range 5 * most {
		r.Record("p", "flood", fmt.Appendf(nil, "batch_%d", i), home, now)
	}
	for i := range few {
		_, got := r.Find("p", "polite", id(i), now)
		require.Equal(t, Own, got, i)
	}
	assert.LessOrEqual(t, r.Len(), most)
	assert.Greater(t, r.Len(), most*8/10, "most of it is in use")
	_, got := r.Find("p", "flood", fmt.Appendf(nil, "batch_%d", 5*most-1), now)
	assert.Equal(t, Own, got)
	_, got = r.Find("p", "flood", []byte("batch_0"), now)
	assert.Equal(t, Unknown, got)

	// Somebody new finds room beside it, for more than a handful.
	for i := range few {
		r.Record("p", "new", fmt.Appendf(nil, "vs_%d", i), home, now)
	}
	kept := 0
	for i := range few {
		if _, got := r.Find("p", "new", fmt.Appendf(nil, "vs_%d", i), now); got == Own {
			kept++
		}
	}
	assert.Greater(t, kept, most/16)
	for i := range few {
		_, got := r.Find("p", "polite", id(i), now)
		require.Equal(t, Own, got, i)
	}
}

// TestManyTenants: more tenants than a shard has room for still get one each in
// turn, at the cost of whoever has the most.
func TestManyTenants(t *testing.T) {
	r := New(Options{Max: 64 * 8})
	now := r.began
	for i := range 64 * 64 {
		tenant := fmt.Sprint("tenant", i)
		r.Record("p", tenant, id(i), home, now)
		_, got := r.Find("p", tenant, id(i), now)
		require.Equal(t, Own, got)
		require.LessOrEqual(t, r.Len(), 64*8)
	}
}

// TestOldMakeRoom: what nobody names any more goes before what is named.
func TestOldMakeRoom(t *testing.T) {
	r := New(Options{Max: 64 * 16, Life: time.Hour})
	for i := range 64 * 64 {
		r.Record("p", "gone", id(i), home, r.began)
	}
	later := r.began.Add(2 * time.Hour)
	for i := range 64 * 64 {
		r.Record("p", "here", fmt.Appendf(nil, "vs_%d", i), home, later)
	}
	for i := range r.shards {
		for _, h := range r.shards[i].holdings {
			if h.tenant == r.tenant("gone") {
				assert.Zero(t, h.count)
			}
		}
	}
	assert.Greater(t, r.Len(), 64*16*8/10)
}

// reference is what a Registry without bounds in number would say.
type reference struct {
	life time.Duration
	m    map[string]*referenceEntry
}

type referenceEntry struct {
	tenant string
	home   Home
	seen   time.Time
}

func (r *reference) get(pool, id string, now time.Time) *referenceEntry {
	e := r.m[pool+"/"+id]
	if e != nil && now.Sub(e.seen) >= r.life {
		delete(r.m, pool+"/"+id)
		return nil
	}
	return e
}

// FuzzRegistry holds the Registry to a plain map.
func FuzzRegistry(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x02\x10\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		r := New(Options{Life: 100 * time.Second})
		ref := &reference{life: 100 * time.Second, m: map[string]*referenceEntry{}}
		now := r.began
		for ; len(script) >= 4; script = script[4:] {
			now = now.Add(time.Duration(script[3]) * time.Second)
			pool, tenant, id := string('p'+rune(script[1]&1)), string('a'+rune(script[1]>>1&3)), fmt.Sprint(script[2]%16)
			h := Home{Endpoint: uint32(script[1])}
			e := ref.get(pool, id, now)
			switch script[0] % 3 {
			case 0:
				r.Record(pool, tenant, []byte(id), h, now)
				if e == nil || e.tenant == tenant {
					ref.m[pool+"/"+id] = &referenceEntry{tenant, h, now}
				}
			case 1:
				got, own := r.Find(pool, tenant, []byte(id), now)
				switch {
				case e == nil:
					require.Equal(t, Unknown, own)
				case e.tenant != tenant:
					require.Equal(t, Foreign, own)
				default:
					require.Equal(t, Own, own)
					require.Equal(t, e.home, got)
					e.seen = now
				}
			case 2:
				r.Forget(pool, tenant, []byte(id))
				if e != nil && e.tenant == tenant {
					delete(ref.m, pool+"/"+id)
				}
			}
			r.sound(t)
		}
	})
}

// sound checks that lists, counts and index agree.
func (r *Registry) sound(t testing.TB) {
	for i := range r.shards {
		s := &r.shards[i]
		total := 0
		for h := range s.holdings {
			n, before := 0, none
			for i := s.holdings[h].oldest; i != none; i = s.entries[i].newer {
				e := &s.entries[i]
				require.Equal(t, before, e.older)
				require.EqualValues(t, h, e.holder)
				require.Equal(t, i, s.index[e.key])
				if before != none {
					require.LessOrEqual(t, s.entries[before].seen, e.seen)
				}
				before = i
				n++
			}
			require.Equal(t, before, s.holdings[h].newest)
			require.Equal(t, n, s.holdings[h].count)
			total += n
		}
		require.Len(t, s.index, total)
		require.LessOrEqual(t, total, s.max)
	}
}

// TestTogether is for the race detector, and for what is left when all is done.
func TestTogether(t *testing.T) {
	r := New(Options{Max: 4096})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			tenant := fmt.Sprint("tenant", w)
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 5000 {
				mine := fmt.Appendf(nil, "%s-%d", tenant, i)
				r.Record("p", tenant, mine, Home{Endpoint: uint32(w)}, time.Now())
				if h, own := r.Find("p", tenant, mine, time.Now()); own == Own {
					assert.EqualValues(t, w, h.Endpoint)
				} else {
					assert.Fail(t, "lost at once")
				}
				other := fmt.Sprint("tenant", (w+1)%8)
				if _, own := r.Find("p", tenant, fmt.Appendf(nil, "%s-%d", other, rnd.IntN(5000)), time.Now()); own == Own {
					assert.Fail(t, "another tenant's")
				}
				if rnd.IntN(3) == 0 {
					r.Forget("p", tenant, mine)
				}
			}
		})
	}
	wait.Wait()
	r.sound(t)
}

func TestEntrySize(t *testing.T) {
	const n = 1 << 18
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	r := New(Options{Max: n + n/4})
	for i := range n {
		r.Record("p", "acme", id(i), home, r.began)
	}
	per := float64(live()-before) / float64(r.Len())
	assert.EqualValues(t, 40, reflect.TypeFor[entry]().Size(), "an entry grew")
	t.Logf("%d entries of %.0f bytes", r.Len(), per)
	assert.LessOrEqual(t, per, float64(EntrySizeBytes))
	runtime.KeepAlive(r)
}

func TestFindDoesNotAllocate(t *testing.T) {
	r := New(Options{})
	mine := id(1)
	r.Record("p", "acme", mine, home, r.began)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		r.Find("p", "acme", mine, r.began)
		r.Record("p", "acme", mine, home, r.began)
	}))
}

func BenchmarkFind(b *testing.B) {
	r := New(Options{})
	for i := range 100_000 {
		r.Record("p", "acme", id(i), home, r.began)
	}
	mine := id(500)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Find("p", "acme", mine, r.began)
		}
	})
}
