package authn

import (
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// What is remembered never answers otherwise than the keyring would: through
// reloads, expiry, rotation, clocks that go back, and keys that differ by a byte.
func TestRecentAgrees(t *testing.T) {
	expiring, e1 := mint(t, Entry{Tenant: "a", Name: "expiring", Expires: now.Add(time.Minute)}, &peppers[0])
	later, e2 := mint(t, Entry{Tenant: "b", Name: "later", NotBefore: now.Add(30 * time.Second)}, nil)
	rotated, e3 := mint(t, Entry{Tenant: "c", Name: "rotated"}, nil)
	old, err := GenerateFor(rotated[idAt:secretAt-1], "live", mathrand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	hash, err := Hash(old.Text.Reveal(), nil)
	require.NoError(t, err)
	e3.Former, e3.FormerUntil = hash, now.Add(45*time.Second)
	revoked := e3
	revoked.Revoked = now

	keyrings := []*Keyring{ring(t, e1, e2, e3), ring(t, e2, e1), ring(t, e3), ring(t, revoked, e1), {}, ring(t)}
	credentials := []string{expiring, later, rotated, old.Text.Reveal(), rotated[len(optional):], "", "sk-", expiring[:keyLength-1] + "!"}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	var recent Recent
	hits := 0
	for i := range 20_000 {
		k := keyrings[0]
		if random.IntN(8) == 0 {
			k = keyrings[random.IntN(len(keyrings))]
		}
		credential := []byte(credentials[0])
		if random.IntN(3) == 0 {
			credential = []byte(credentials[random.IntN(len(credentials))])
		}
		at := now.Add(time.Duration(random.IntN(90)-15) * time.Second)
		want, why := k.Authenticate(credential, at)
		if recent.keyring == k.serial && string(recent.text[:recent.length]) == string(credential) && why == helixflow.AuthAccepted {
			hits++
		}
		got, reason := recent.Authenticate(k, credential, at)
		require.Same(t, want, got, i)
		require.Equal(t, why, reason, i)
	}
	assert.Greater(t, hits, 1000, "it has to be about what is remembered")
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", recent, recent, recent, recent), expiring[secretAt:checksumAt-1])
}

func BenchmarkRecent(b *testing.B) {
	key, e := mint(b, Entry{Tenant: "a", Name: "k"}, &peppers[0])
	k, credential := ring(b, e), []byte(key)
	var recent Recent
	b.ReportAllocs()
	for b.Loop() {
		if _, reason := recent.Authenticate(k, credential, now); reason != helixflow.AuthAccepted {
			b.Fatal(reason)
		}
	}
}
