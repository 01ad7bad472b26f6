//go:build !race

package authn

// Whether the time of a refusal tells its reason.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/testtiming"
)

const (
	leaky = testtiming.Leaky
	small = 0.03 // of the time of a call: a difference below it is not for a network to see
)

func TestTimeOfARefusal(t *testing.T) { timeOfARefusal(t, 20_000) }

// timeOfARefusal fails if the mean times of two kinds of refusal differ by more
// than a few nanoseconds. Those are left: a processor guesses the commoner end of a
// search. That no t shows over a connection is tested in the router. What else the
// machine does can make means differ once; a leak does each time.
func timeOfARefusal(t *testing.T, samples int) {
	t.Helper()
	for name, rotating := range map[string]bool{"plain": false, "during a rotation": true} {
		seen := 0
		for seen < 3 {
			k, classes := refusals(t, rotating)
			d := testtiming.Differ(classes, samples, func(credential []byte) { _, _ = k.Authenticate(credential, now) })
			t.Logf("%s, %d samples of each of %d classes: %v", name, samples, len(classes), d)
			if !leaks(d) {
				break
			}
			seen++
		}
		require.Less(t, seen, 3, name)
	}
}

func leaks(d testtiming.Difference) bool { return d.T > leaky && d.Part > small }

// TestTimingTestFindsALeak: an unknown id that is refused before any hash is
// what the test must find.
func TestTimingTestFindsALeak(t *testing.T) {
	k, classes := refusals(t, false)
	d := testtiming.Differ(classes, 5000, func(credential []byte) {
		if presented, err := parse(credential); err == nil {
			if _, known := k.find(presented.id); known == 1 {
				_, _ = k.Authenticate(credential, now)
			}
		}
	})
	require.True(t, leaks(d), "%v", d)
}

// refusals are credentials by what is wrong with them, all of the form of a key.
func refusals(t *testing.T, rotating bool) (k *Keyring, classes [][][]byte) {
	t.Helper()
	const each = 1024
	var entries []Entry
	var unknown, wrong, revoked, expired [][]byte
	add := func(e Entry) string {
		key, e := mint(t, e, &peppers[0])
		if rotating && len(entries)%8 == 0 {
			former, err := Hash(rekey(t, key), &peppers[0])
			require.NoError(t, err)
			e.Former = former
		}
		entries = append(entries, e)
		return key
	}
	for range each {
		stranger, _ := mint(t, Entry{}, &peppers[0])
		unknown = append(unknown, []byte(stranger))
		wrong = append(wrong, []byte(rekey(t, add(Entry{Tenant: "acme"}))))
		revoked = append(revoked, []byte(add(Entry{Tenant: "acme", Revoked: now})))
		expired = append(expired, []byte(add(Entry{Tenant: "acme", Expires: now})))
	}
	k = ring(t, entries...)
	for reason, class := range map[helixflow.AuthReason][][]byte{
		helixflow.AuthUnknown: unknown, helixflow.AuthWrongSecret: wrong, helixflow.AuthRevoked: revoked, helixflow.AuthExpired: expired,
	} {
		for _, credential := range class {
			_, got := k.Authenticate(credential, now)
			require.Equal(t, reason, got)
		}
	}
	return k, [][][]byte{unknown, wrong, revoked, expired}
}
