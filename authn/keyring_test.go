package authn

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	now      = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	peppers  = []Pepper{pepper(1, pepperText), pepper(2, strings.Repeat("long pepper ", 9))}
	goldPlan = Entry{Tenant: "acme", Name: "gold", Models: []string{"llama-*"}, Debug: true}
)

// mint returns a new key, and the entry that admits it under the pepper.
func mint(t testing.TB, e Entry, p *Pepper) (string, Entry) {
	t.Helper()
	return mintFrom(t, rand.Reader, e, p)
}

func mintFrom(t testing.TB, random io.Reader, e Entry, p *Pepper) (string, Entry) {
	t.Helper()
	key, err := Generate("live", random)
	require.NoError(t, err)
	e.Hash, err = Hash(key.Text.Reveal(), p)
	require.NoError(t, err)
	return key.Text.Reveal(), e
}

func ring(t testing.TB, entries ...Entry) *Keyring {
	t.Helper()
	k, err := NewKeyring(entries, peppers)
	require.NoError(t, err)
	return k
}

func TestAuthenticate(t *testing.T) {
	plain, e1 := mint(t, Entry{Tenant: "acme", Name: "plain"}, nil)
	first, e2 := mint(t, Entry{Tenant: "acme", Name: "first", Expires: now.Add(1)}, &peppers[0])
	second, e3 := mint(t, Entry{Tenant: "globex", Name: "second", Debug: true, Models: []string{"a*"}}, &peppers[1])
	k := ring(t, e1, e2, e3)
	f := func(credential, want string) {
		t.Helper()
		for _, spelling := range []string{credential, strings.TrimPrefix(credential, "sk-")} {
			p, err := k.Authenticate([]byte(spelling), now)
			require.NoError(t, err)
			assert.Equal(t, want, fmt.Sprint(p.Tenant, "/", p.KeyName, " ", p.Debug, " ", p.Models, " ", p.Expires.Sub(now) == 1))
			assert.Contains(t, credential, "_"+p.KeyID+"_")
			assert.Contains(t, k.Principals(), p)
		}
	}
	f(plain, "acme/plain false [] false")
	f(first, "acme/first false [] true")
	f(second, "globex/second true [a*] false")
}

func TestAuthenticateTeachesNothing(t *testing.T) {
	good, e1 := mint(t, goldPlan, &peppers[0])
	expired, e2 := mint(t, Entry{Tenant: "acme", Name: "old", Expires: now}, &peppers[0])
	stranger, _ := mint(t, goldPlan, &peppers[0])
	k := ring(t, e1, e2)
	_, err := k.Authenticate([]byte(good), now)
	require.NoError(t, err)
	f := func(credential string) {
		t.Helper()
		p, err := k.Authenticate([]byte(credential), now)
		assert.Nil(t, p)
		assert.True(t, err == error(ErrUnauthenticated), "one value for every refusal, got %v", err)
	}
	f("")
	f("sk-hfx_")
	f("sk-proj-of-somebody-else")
	f(good + "x")
	f(good[:len(good)-1])
	f(mistype(good, checksumAt))
	f(mistype(good, secretAt)) // the checksum catches it
	f(wrongSecret(good))       // the checksum does not
	f(expired)
	f(stranger)
	f(strings.ToUpper(good))
	f(goldPlan.Name)
	f(e1.Hash)
}

func TestAuthenticateWithoutKeys(t *testing.T) {
	for _, k := range []*Keyring{ring(t), {}} {
		p, err := k.Authenticate([]byte(goldenKey), now)
		assert.Nil(t, p)
		assert.True(t, err == error(ErrUnauthenticated))
		assert.Empty(t, k.Principals())
	}
}

// mistype changes one character, so that the checksum is wrong.
func mistype(key string, at int) string {
	b := []byte(key)
	b[at] = otherThan(b[at])
	return string(b)
}

// wrongSecret changes the secret and mends the checksum.
func wrongSecret(key string) string {
	b := []byte(mistype(key, secretAt))
	sum := checksum(crc32.ChecksumIEEE(b[:checksummedTo]))
	copy(b[checksumAt:], sum[:])
	return string(b)
}

func otherThan(c byte) byte {
	if c == 'x' {
		return 'y'
	}
	return 'x'
}

func TestUnknownIDCostsWhatMostKeysCost(t *testing.T) {
	_, plain := mint(t, Entry{Name: "a"}, nil)
	_, old := mint(t, Entry{Name: "b"}, &peppers[0])
	_, new1 := mint(t, Entry{Name: "c"}, &peppers[1])
	_, new2 := mint(t, Entry{Name: "d"}, &peppers[1])
	assert.Nil(t, ring(t).decoy.mac)
	assert.Nil(t, ring(t, plain).decoy.mac)
	k := ring(t, plain, old, new1, new2)
	assert.Same(t, k.byID[[idLength]byte([]byte(k.principals[2].KeyID))].mac, k.decoy.mac)
}

func TestNewKeyringRefuses(t *testing.T) {
	_, good := mint(t, goldPlan, &peppers[0])
	with := func(change func(*Entry)) []Entry {
		e := good
		change(&e)
		return []Entry{e}
	}
	f := func(entries []Entry, peppers []Pepper, want ...string) {
		t.Helper()
		k, err := NewKeyring(entries, peppers)
		require.Error(t, err)
		assert.Nil(t, k)
		assert.Equal(t, strings.Join(want, "\n"), err.Error())
	}
	const who = `cannot add key "gold" of tenant "acme": `
	f([]Entry{good}, nil, who+"its hash names pepper 1, which is not configured")
	f([]Entry{good, good}, peppers, who+`it has the same id as key "gold" of tenant "acme"`)
	f(with(func(e *Entry) { e.Hash = "" }), peppers, who+errHash.Error())
	f(with(func(e *Entry) { e.Hash = goldenKey }), peppers, who+errHash.Error())
	f(with(func(e *Entry) { e.Models = []string{"a", ""} }), peppers, who+"a model pattern is empty")
	f(with(func(e *Entry) { e.Models = []string{"a*b"} }), peppers, who+`a model pattern may hold "*" only once, at its end`)
	f(with(func(e *Entry) { e.Models = []string{"a**"} }), peppers, who+`a model pattern may hold "*" only once, at its end`)
	f(nil, []Pepper{peppers[0], peppers[0]}, "cannot use pepper: pepper version 1 stands twice")
	f(nil, []Pepper{pepper(0, pepperText)}, "cannot use pepper: pepper version 0 is not above zero")
	f(append(with(func(e *Entry) { e.Hash = "x" }), good), []Pepper{pepper(1, "short")},
		"cannot use pepper: pepper 1 is shorter than 32 bytes",
		who+errHash.Error(),
		who+"its hash names pepper 1, which is not configured")
}

func TestKeyringCopiesItsEntries(t *testing.T) {
	_, e := mint(t, goldPlan, nil)
	e.Models = []string{"a"}
	k := ring(t, e)
	e.Models[0] = "b"
	k.Principals()[0] = nil
	assert.True(t, k.Principals()[0].MayUse([]byte("a")))
}

// outcomes are the credentials whose handling should cost nothing on the heap.
func outcomes(t testing.TB, p *Pepper) (*Keyring, map[string][]byte) {
	good, e1 := mint(t, goldPlan, p)
	expired, e2 := mint(t, Entry{Name: "old", Expires: now}, p)
	unknown, _ := mint(t, goldPlan, p)
	return ring(t, e1, e2), map[string][]byte{
		"good":         []byte(good),
		"good_short":   []byte(good[len(optional):]),
		"malformed":    []byte("sk-proj-0123456789"),
		"mistyped":     []byte(mistype(good, idAt)),
		"unknown_id":   []byte(unknown),
		"wrong_secret": []byte(wrongSecret(good)),
		"expired":      []byte(expired),
	}
}

func TestAuthenticateAllocs(t *testing.T) {
	for _, p := range []*Pepper{nil, &peppers[0]} {
		k, credentials := outcomes(t, p)
		for name, credential := range credentials {
			allocs := testing.AllocsPerRun(100, func() {
				if _, err := k.Authenticate(credential, now); (err == nil) != strings.HasPrefix(name, "good") {
					t.Errorf("%s: %v", name, err)
				}
			})
			assert.Zero(t, allocs, name)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for scheme, p := range map[string]*Pepper{plainScheme: nil, pepperScheme: &peppers[0]} {
		k, credentials := outcomes(b, p)
		for name, credential := range credentials {
			b.Run(scheme+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = k.Authenticate(credential, now)
				}
			})
		}
	}
}

// FuzzAuthenticate starts from good keys: whatever is done to one, only its two
// spellings get in. (The environment is covered by the checksum alone, so a
// holder of the secret may rewrite it; nothing hangs on it.)
func FuzzAuthenticate(f *testing.F) {
	// The same keys in every process, for each fuzzing worker makes its own ring.
	random := mathrand.NewChaCha8([32]byte{1})
	plain, e1 := mintFrom(f, random, Entry{Tenant: "acme", Name: "plain"}, nil)
	keyed, e2 := mintFrom(f, random, Entry{Tenant: "acme", Name: "keyed"}, &peppers[0])
	k := ring(f, e1, e2)
	for _, key := range []string{plain, keyed} {
		f.Add([]byte(key))
		f.Add([]byte(key[len(optional):]))
		f.Add([]byte(wrongSecret(key)))
	}
	f.Fuzz(func(t *testing.T, credential []byte) {
		p, err := k.Authenticate(credential, now)
		if err != nil {
			require.True(t, p == nil && err == error(ErrUnauthenticated))
			return
		}
		want := map[string]string{"plain": plain, "keyed": keyed}[p.KeyName]
		got := strings.TrimPrefix(string(credential), optional)
		require.Equal(t, want[idAt:checksummedTo], got[idAt-len(optional):checksummedTo-len(optional)])
	})
}
