package authn

// A keyring of very many keys: what it weighs, and what a look into it costs.

import (
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

const (
	mostKeys   = 1_000_000
	bytesOfKey = 250 // the most that a key may take, its principal, name and place in the table included
)

// manyKeys is a keyring of n keys of a thousand tenants, some of which are known:
// as many as asked for, spread over all of it.
func manyKeys(t testing.TB, n, known int) (k *Keyring, keys []string) {
	t.Helper()
	random := mathrand.NewChaCha8([32]byte{9})
	b, err := NewBuilder(peppers, n)
	require.NoError(t, err)
	tenants := make([]string, 1000)
	for i := range tenants {
		tenants[i] = fmt.Sprintf("tenant-%d", i)
	}
	var id [idLength]byte
	var digest [32]byte
	for i := range n {
		e := Entry{Tenant: tenants[i%len(tenants)], Name: fmt.Sprintf("key-%d", i)}
		if i%max(n/known, 1) == 0 && len(keys) < known {
			var key string
			key, e = mintFrom(t, random, e, &peppers[0])
			keys = append(keys, key)
		} else {
			require.NoError(t, drawBase62(id[:], random))
			_, _ = random.Read(digest[:])
			e.Hash = fmt.Sprintf("%s:1:%s:%s", pepperScheme, id[:], base64.RawURLEncoding.EncodeToString(digest[:]))
		}
		_, err := b.Add(&e)
		require.NoError(t, err)
	}
	return b.Keyring(), keys
}

func TestKeyringSize(t *testing.T) { keyringSize(t, 100_000) }

// keyringSize holds the memory of n keys to its bound.
func keyringSize(t *testing.T, n int) {
	t.Helper()
	before := heap()
	k, _ := manyKeys(t, n, 1)
	size := float64(heap()-before) / float64(n)
	runtime.KeepAlive(k)
	t.Logf("%d keys: %.1f bytes each", n, size)
	assert.Less(t, size, float64(bytesOfKey))
	assert.Greater(t, size, 100.0, "or this measures nothing")
	assert.Equal(t, n, k.Len())
	assert.Len(t, k.Rights(), 1000)
}

// heap is the bytes in use, after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one's sweep is over
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkAuthenticateAmong looks for keys at random among so many: beyond what
// one alone costs, it is misses of the caches. The median is that of short
// batches, which a busy machine spoils less than it does the mean.
func BenchmarkAuthenticateAmong(b *testing.B) {
	for _, n := range []int{1, 10_000, mostKeys} {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			k, keys := manyKeys(b, n, 200_000)
			mathrand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			credentials := []byte(strings.Join(keys, "")) // one behind the other, so that they cost no miss
			runtime.GC()
			const batch = 64
			took := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				begin := time.Now()
				for range batch {
					if at += keyLength; at >= len(credentials) {
						at = 0
					}
					if _, reason := k.Authenticate(credentials[at:at+keyLength], now); reason != helixflow.AuthAccepted {
						b.Fatal(reason)
					}
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/batch, "ns/key-median")
		})
	}
}

// BenchmarkBuild is how long a keyring takes to make, without reading its files.
func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		manyKeys(b, 100_000, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100_000), "ns/key")
}
