package cache

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/redisx"
)

func encodable(body []byte) *Answer {
	now := time.UnixMilli(time.Now().UnixMilli())
	return &Answer{
		Key: Key{Scope: NewScope(ByKey, "acme", "k1"), Digest: Digest{1, 2, 3}, Check: 4}, Op: helixflow.OpCompletions, Model: "m", Tenant: "acme",
		Stream: true, ContentType: "text/event-stream", Body: body, UsageChunk: openai.Span{Start: 2, End: 4},
		Pace:  []Beat{{Size: 2, After: time.Millisecond}, {Size: int64(len(body)), After: time.Second}},
		Usage: helixflow.Usage{InputTokens: 1, CachedTokens: 2, OutputTokens: 3, ReasoningTokens: 4, Reported: true},
		Asked: now, Stored: now.Add(time.Second), Expires: now.Add(time.Minute),
		heard: mark{Place: redisx.Place{MS: 5, N: 6}},
	}
}

func TestCodec(t *testing.T) {
	for _, size := range []int{4, 1000, 1024, 1025, 100_000} {
		a := encodable(bytes.Repeat([]byte("ab"), size/2))
		value := Encode([]byte("before"), a)
		got, err := Decode(value[6:], &a.Key, 1<<20)
		require.NoError(t, err)
		assert.Equal(t, a, got)
		if size > 10*compressAbove {
			assert.Less(t, len(value), size/2)
		}
	}
}

// Whatever byte of a value is another, or missing, it is not believed; and neither
// is one for another key, of another version, or longer than it may be.
func TestCodecBelievesNothing(t *testing.T) {
	a := encodable(bytes.Repeat([]byte("ab"), 1000))
	value := Encode(nil, a)
	refuse := func(value []byte, why string) {
		t.Helper()
		got, err := Decode(value, &a.Key, 1<<20)
		require.Error(t, err, why)
		require.Nil(t, got)
	}
	for i := range value {
		broken := bytes.Clone(value)
		broken[i] ^= 1 << rand.IntN(8)
		refuse(broken, "a bit flipped")
		refuse(value[:i], "cut")
	}
	refuse(append(bytes.Clone(value), 0), "longer")
	refuse([]byte(strings.Repeat("x", 5000)), "foreign")
	old := append([]byte("hfc1"), value[4:]...)
	refuse(old, "of an older version")
	for _, k := range []Key{
		{Scope: NewScope(ByKey, "other", "k1"), Digest: a.Key.Digest, Check: 4},
		{Scope: NewScope(ByKey, "acme", "k2"), Digest: a.Key.Digest, Check: 4},
		{Scope: NewScope(ByTenant, "acme", ""), Digest: a.Key.Digest, Check: 4},
		{Scope: a.Key.Scope, Digest: Digest{1, 2, 4}, Check: 4},
		{Scope: a.Key.Scope, Digest: a.Key.Digest, Check: 5},
	} {
		_, err := Decode(value, &k, 1<<20)
		assert.Error(t, err)
	}
	_, err := Decode(value, &a.Key, int64(len(a.Body))-1)
	assert.Error(t, err)
}

// resealed gives a value that was changed by hand the sum that fits.
func resealed(value []byte) []byte {
	sum := sumOf(value[len(magic)+len(Digest{}):])
	copy(value[len(magic):], sum[:])
	return value
}

// A few kilobytes that say they are a gigabyte cost neither memory nor time.
func TestCodecBombs(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := e.EncodeAll(make([]byte, 256<<20), nil)
	require.NoError(t, e.Close())
	a := encodable(bytes.Repeat([]byte("ab"), 1000))
	value := Encode(nil, a)
	packed := encoder().EncodeAll(a.Body, nil)
	value = resealed(append(bytes.Clone(value[:len(value)-len(packed)]), bomb...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Decode(value, &a.Key, 1<<20)
	runtime.ReadMemStats(&after)
	require.Error(t, err)
	allocated := int64(after.TotalAlloc - before.TotalAlloc)
	assert.Less(t, allocated, int64(8<<20))

	// Places outside of the body, though the sum fits.
	for _, spoil := range []func(a *Answer){
		func(a *Answer) { a.UsageChunk = openai.Span{Start: 5, End: 3} },
		func(a *Answer) { a.UsageChunk = openai.Span{Start: 0, End: 1 << 30} },
		func(a *Answer) { a.UsageChunk = openai.Span{Start: -1, End: 1} },
		func(a *Answer) { a.Pace[0].Size = 1 << 30 },
		func(a *Answer) { a.Pace[1].Size = 1 },
		func(a *Answer) { a.Pace[0].Size = 3 }, // within the usage chunk
		func(a *Answer) { a.Pace = make([]Beat, maxBeats+1) },
		func(a *Answer) { a.Op = helixflow.NumOps },
	} {
		b := encodable(a.Body)
		spoil(b)
		_, err := Decode(Encode(nil, b), &b.Key, 1<<20)
		assert.Error(t, err)
	}
}

func TestSettle(t *testing.T) {
	now := time.Now()
	f := func(stored, lifetime time.Duration, fresh bool, age time.Duration) {
		t.Helper()
		a := &Answer{Stored: now.Add(stored).Round(0), Expires: now.Add(stored + lifetime).Round(0)}
		require.Equal(t, fresh, a.settle(now))
		if fresh {
			assert.InDelta(t, age, a.Age(now), float64(time.Millisecond))
			assert.InDelta(t, lifetime-age, a.Expires.Sub(now), float64(time.Millisecond))
		}
	}
	f(0, time.Minute, true, 0)
	f(-30*time.Second, time.Minute, true, 30*time.Second)
	f(-time.Minute, time.Minute, false, 0)
	f(3*time.Second, time.Minute, true, 0) // a clock a little ahead
	f(time.Hour, time.Minute, false, 0)    // of a clock that is wrong
	f(0, -time.Second, false, 0)
	f(0, 48*time.Hour, false, 0)
}

func FuzzDecode(f *testing.F) {
	a := encodable([]byte("abcdef"))
	f.Add(Encode(nil, a), true)
	f.Add(Encode(nil, encodable(bytes.Repeat([]byte("ab"), 1000))), true)
	f.Add([]byte(magic), false)
	f.Fuzz(func(t *testing.T, value []byte, seal bool) {
		if seal && len(value) > len(magic)+len(Digest{}) {
			value = resealed(bytes.Clone(value))
		}
		got, err := Decode(value, &a.Key, 1<<16)
		if err != nil {
			return
		}
		assert.Equal(t, a.Key, got.Key)
		assert.LessOrEqual(t, len(got.Body), 1<<16)
		assert.True(t, got.sound())
	})
}
