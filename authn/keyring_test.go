package authn

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

var (
	now      = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	peppers  = []Pepper{pepper(1, pepperText), pepper(2, strings.Repeat("long pepper ", 9))}
	goldPlan = Entry{Tenant: "acme", Name: "gold", Scope: Scope{Models: []string{"llama-*"}, Debug: true}}
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
	b, err := NewBuilder(peppers, len(entries))
	require.NoError(t, err)
	for i := range entries {
		_, err := b.Add(&entries[i])
		require.NoError(t, err)
	}
	return b.Keyring()
}

// admit is Authenticate for a test that knows the answer: who it is, or the reason.
func admit(k *Keyring, credential string, at time.Time) string {
	p, reason := k.Authenticate([]byte(credential), at)
	if (p == nil) != (reason != helixflow.AuthAccepted) {
		return "BUG: a principal and a reason"
	}
	if p == nil {
		return reason.String()
	}
	return p.Tenant + "/" + p.KeyName
}

func TestAuthenticate(t *testing.T) {
	plain, e1 := mint(t, Entry{Tenant: "acme", Name: "plain"}, nil)
	first, e2 := mint(t, Entry{Tenant: "acme", Name: "first", Expires: now.Add(time.Millisecond)}, &peppers[0])
	second, e3 := mint(t, Entry{Tenant: "globex", Name: "second", Scope: Scope{Debug: true, Models: []string{"a*"}}}, &peppers[1])
	k := ring(t, e1, e2, e3)
	f := func(credential, want string) {
		t.Helper()
		for _, spelling := range []string{credential, strings.TrimPrefix(credential, "sk-")} {
			p, reason := k.Authenticate([]byte(spelling), now)
			require.Equal(t, helixflow.AuthAccepted, reason)
			assert.Equal(t, want, fmt.Sprint(p.Tenant, "/", p.KeyName, " ", p.Debug, " ", p.Models, " ", p.Expires().Sub(now) == time.Millisecond))
			assert.Contains(t, credential, "_"+p.KeyID+"_")
			assert.Same(t, p, k.ByID(p.KeyID))
			assert.Contains(t, slices.Collect(k.Principals()), p)
		}
	}
	f(plain, "acme/plain false [] false")
	f(first, "acme/first false [] true")
	f(second, "globex/second true [a*] false")
	assert.Equal(t, 3, k.Len())
	assert.Nil(t, k.ByID("nobody"))
	assert.Nil(t, k.ByID("0123456789ab"))
	assert.Equal(t, helixflow.AuthUnknown, k.Standing("0123456789ab", now))
}

func TestAuthenticateRefuses(t *testing.T) {
	good, e1 := mint(t, goldPlan, &peppers[0])
	expired, e2 := mint(t, Entry{Tenant: "acme", Name: "old", Expires: now}, &peppers[0])
	stranger, _ := mint(t, goldPlan, &peppers[0])
	k := ring(t, e1, e2)
	require.Equal(t, "acme/gold", admit(k, good, now))
	f := func(credential, want string) {
		t.Helper()
		assert.Equal(t, want, admit(k, credential, now), "%q", credential)
	}
	f("", "malformed")
	f("sk-hfx_", "malformed")
	f("sk-proj-of-somebody-else", "malformed")
	f(good+"x", "malformed")
	f(good[:len(good)-1], "malformed")
	f(mistype(good, checksumAt), "checksum")
	f(mistype(good, secretAt), "checksum")
	f(wrongSecret(good), "wrong_secret") // the checksum does not catch this one
	f(expired, "expired")
	f(wrongSecret(expired), "wrong_secret") // that it expired is nobody's business
	f(stranger, "unknown_key")
	f(strings.ToUpper(good), "malformed")
	f(goldPlan.Name, "malformed")
	f(e1.Hash, "malformed")
}

func TestAuthenticateByTheClock(t *testing.T) {
	f := func(e Entry, want string) {
		t.Helper()
		e.Tenant, e.Name = "acme", "k"
		key, e := mint(t, e, &peppers[0])
		k := ring(t, e)
		assert.Equal(t, want, admit(k, key, now))
		if standing := k.Standing(key[idAt:idAt+idLength], now).String(); standing != "accepted" {
			assert.Equal(t, want, standing)
		}
	}
	ms, day := time.Millisecond, 24*time.Hour
	f(Entry{}, "acme/k")
	f(Entry{Expires: now.Add(ms)}, "acme/k")
	f(Entry{Expires: now}, "expired")
	f(Entry{Expires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, "acme/k")
	f(Entry{NotBefore: now}, "acme/k")
	f(Entry{NotBefore: now.Add(ms)}, "not_yet_valid")
	f(Entry{NotBefore: now.Add(day), Expires: now.Add(-day)}, "expired")
	f(Entry{Revoked: now.Add(ms)}, "acme/k")
	f(Entry{Revoked: now}, "revoked")
	f(Entry{Revoked: time.Unix(0, 0)}, "revoked")
	f(Entry{Revoked: now.Add(-day), Expires: now.Add(-ms)}, "revoked")
	f(Entry{Revoked: now.Add(-ms), Expires: now.Add(-day)}, "expired")
	f(Entry{Revoked: now.Add(day), Expires: now.Add(2 * day)}, "acme/k")
}

func TestAuthenticateDuringRotation(t *testing.T) {
	day := 24 * time.Hour
	newKey, e := mint(t, Entry{Tenant: "acme", Name: "ci"}, &peppers[1])
	oldKey := rekey(t, newKey)
	var err error
	e.Former, err = Hash(oldKey, &peppers[0])
	require.NoError(t, err)
	e.FormerUntil = now.Add(day)
	other, e2 := mint(t, Entry{Tenant: "acme", Name: "other"}, nil)
	late, e3 := mint(t, Entry{Tenant: "acme", Name: "late", Expires: now}, &peppers[0])
	for _, k := range []*Keyring{ring(t, e, e2, e3), ring(t, e2, e3, e)} { // others before and after it
		f := func(key string, at time.Time, want string) {
			t.Helper()
			assert.Equal(t, want, admit(k, key, at))
		}
		f(newKey, now, "acme/ci")
		f(oldKey, now, "acme/ci")
		f(oldKey, now.Add(day-time.Millisecond), "acme/ci")
		f(oldKey, now.Add(day), "wrong_secret")
		f(newKey, now.Add(day), "acme/ci")
		f(rekey(t, newKey), now, "wrong_secret")
		f(other, now, "acme/other")
		f(rekey(t, other), now, "wrong_secret")
		f(late, now, "expired")
	}
	e.Revoked = now
	k := ring(t, e)
	assert.Equal(t, "revoked", admit(k, newKey, now))
	assert.Equal(t, "revoked", admit(k, oldKey, now), "a revocation is for both secrets")
}

// rekey is another key with the id of this one.
func rekey(t testing.TB, key string) string {
	t.Helper()
	id := key[idAt : idAt+idLength]
	fresh, err := GenerateFor(id, "live", rand.Reader)
	require.NoError(t, err)
	require.Equal(t, id, fresh.ID)
	return fresh.Text.Reveal()
}

func TestAuthenticateWithoutKeys(t *testing.T) {
	for _, k := range []*Keyring{ring(t), {}} {
		assert.Equal(t, "unknown_key", admit(k, goldenKey, now))
		assert.Empty(t, slices.Collect(k.Principals()))
		assert.Nil(t, k.ByID(goldenID))
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

func TestNewBuilderRefuses(t *testing.T) {
	f := func(peppers []Pepper, want ...string) {
		t.Helper()
		b, err := NewBuilder(peppers, 0)
		require.Error(t, err)
		assert.Nil(t, b)
		assert.Equal(t, strings.Join(want, "\n"), err.Error())
	}
	f([]Pepper{peppers[0], peppers[0]}, "cannot use pepper: pepper version 1 stands twice")
	f([]Pepper{pepper(0, pepperText)}, "cannot use pepper: pepper version 0 is not above zero")
	f([]Pepper{pepper(1, "short"), pepper(2, "shorter")},
		"cannot use pepper: pepper 1 is shorter than 32 bytes",
		"cannot use pepper: pepper 2 is shorter than 32 bytes")
}

func TestAddRefuses(t *testing.T) {
	key, good := mint(t, goldPlan, &peppers[0])
	_, other := mint(t, goldPlan, &peppers[1])
	former, err := Hash(rekey(t, key), &peppers[1])
	require.NoError(t, err)
	f := func(change func(*Entry), want string) {
		t.Helper()
		b, err := NewBuilder(peppers[:1], 0)
		require.NoError(t, err)
		_, first := mint(t, Entry{Tenant: "globex", Name: "first"}, nil)
		_, err = b.Add(&first)
		require.NoError(t, err)
		e := good
		change(&e)
		_, err = b.Add(&e)
		require.EqualError(t, err, want)
		assert.NotContains(t, want, goldenSecret)
		k := b.Keyring()
		assert.Equal(t, 1, k.Len(), "nothing was added")
		assert.Equal(t, "unknown_key", admit(k, key, now))
	}
	f(func(e *Entry) { e.Hash = other.Hash }, "its hash names pepper 2, which is not configured")
	f(func(e *Entry) { e.Hash = "" }, errHash.Error())
	f(func(e *Entry) { e.Hash = goldenKey }, errHash.Error())
	f(func(e *Entry) { e.Former = goldenKey }, "of its former secret, "+errHash.Error())
	f(func(e *Entry) { e.Former = other.Hash }, "its former secret is that of another id")
	f(func(e *Entry) { e.Former = former }, "of its former secret, its hash names pepper 2, which is not configured")
	f(func(e *Entry) { e.Models = []string{"a", ""} }, "a model pattern is empty")
	f(func(e *Entry) { e.Models = []string{"a*b"} }, `a model pattern may hold "*" only once, at its end`)
	f(func(e *Entry) { e.KeyModels = []string{"a**"} }, `a model pattern may hold "*" only once, at its end`)

	b, err := NewBuilder(peppers, 0)
	require.NoError(t, err)
	r, err := b.Add(&good)
	require.NoError(t, err)
	assert.Equal(t, "acme", r.Tenant)
	_, err = b.Add(&good)
	require.EqualError(t, err, `it has the same id as key "gold" of tenant "acme"`)
}

func TestRightsAreShared(t *testing.T) {
	var entries []Entry
	add := func(e Entry) {
		_, e = mint(t, e, nil)
		entries = append(entries, e)
	}
	models := []string{"a*"}
	from := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for range 3 {
		add(Entry{Tenant: "acme", Scope: Scope{Models: models}})
		add(Entry{Tenant: "acme", Scope: Scope{Models: models, Debug: true}})
		add(Entry{Tenant: "globex"})
		add(Entry{Tenant: "acme", Scope: Scope{Models: models, KeyModels: []string{"a1"}}})
		add(Entry{Tenant: "acme", Scope: Scope{Models: models, Endpoints: []string{"a1"}}})
		add(Entry{Tenant: "acme", Scope: Scope{Models: models, From: from}})
	}
	add(Entry{Tenant: "acme", Scope: Scope{Models: models, Own: true}})
	add(Entry{Tenant: "acme", Scope: Scope{Models: models, Own: true}})
	k := ring(t, entries...)
	var got []int
	for p := range k.Principals() {
		got = append(got, p.Number)
		assert.Same(t, p.Rights, k.Rights()[p.Number])
	}
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7}, got)
	assert.Len(t, k.Rights(), 8)
}

// TestKeyringAgreesWithAMap: whatever is added, what is found is what a map of the
// ids would have found, through every growth of the table.
func TestKeyringAgreesWithAMap(t *testing.T) {
	random := mathrand.NewChaCha8([32]byte{3})
	b, err := NewBuilder(peppers, 0)
	require.NoError(t, err)
	known := map[string]string{}
	var strangers []string
	for i := range 2000 {
		key, e := mintFrom(t, random, Entry{Tenant: "acme", Name: fmt.Sprint("k", i)}, nil)
		if i%3 == 0 {
			strangers = append(strangers, key)
			continue
		}
		_, err := b.Add(&e)
		require.NoError(t, err)
		known[key] = "acme/" + e.Name
	}
	k := b.Keyring()
	for key, want := range known {
		require.Equal(t, want, admit(k, key, now))
	}
	for _, key := range strangers {
		require.Equal(t, "unknown_key", admit(k, key, now))
	}
}

// credentials are those whose handling should cost nothing on the heap.
func credentials(t testing.TB, p *Pepper) (*Keyring, map[string][]byte) {
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
		k, all := credentials(t, p)
		for name, credential := range all {
			allocs := testing.AllocsPerRun(100, func() {
				if _, reason := k.Authenticate(credential, now); (reason == helixflow.AuthAccepted) != strings.HasPrefix(name, "good") {
					t.Errorf("%s: %v", name, reason)
				}
			})
			assert.Zero(t, allocs, name)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for scheme, p := range map[string]*Pepper{plainScheme: nil, pepperScheme: &peppers[0]} {
		k, all := credentials(b, p)
		for name, credential := range all {
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
		p, reason := k.Authenticate(credential, now)
		if reason != helixflow.AuthAccepted {
			require.Nil(t, p)
			return
		}
		want := map[string]string{"plain": plain, "keyed": keyed}[p.KeyName]
		got := strings.TrimPrefix(string(credential), optional)
		require.Equal(t, want[idAt:checksummedTo], got[idAt-len(optional):checksummedTo-len(optional)])
	})
}
