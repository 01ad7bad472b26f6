package authn

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// Nothing this package makes may print a key, a pepper or what a keyring knows.
func TestNothingPrintsASecret(t *testing.T) {
	key, entry := mint(t, goldPlan, &peppers[0])
	generated, err := Generate("test", constantReader(7))
	require.NoError(t, err)
	k := ring(t, entry)
	p, reason := k.Authenticate([]byte(key), now)
	require.Equal(t, helixflow.AuthAccepted, reason)
	info, err := Inspect(key)
	require.NoError(t, err)
	_, refused := k.Authenticate([]byte(wrongSecret(key)), now)
	_, mistyped := Hash(mistype(key, checksumAt), nil)
	builder, err := NewBuilder(peppers, 0)
	require.NoError(t, err)
	_, misplaced := builder.Add(&Entry{Tenant: "acme", Name: "gold", Hash: key})

	l := k.locks[0]
	m := k.schemes[l.scheme]
	secrets := []string{
		key[secretAt:checksummedTo], generated.Text.Reveal()[secretAt:checksummedTo],
		pepperText, string(m.inner[:32]), decimals(m.inner[:8]), fmt.Sprintf("%x", m.inner[:8]),
		decimals(l.digest[:8]), fmt.Sprintf("%x", l.digest[:8]),
	}
	snapshot := struct {
		Keys *Keyring
		Copy Keyring
	}{k, *k}
	for _, value := range []any{
		generated, &generated, k, *k, snapshot, p, *p, info, peppers[0], &peppers[0],
		refused, mistyped, misplaced,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			clean(t, fmt.Sprintf(verb, value), secrets)
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		clean(t, string(text), secrets)
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		clean(t, log.String(), secrets)
	}
}

// decimals is how fmt prints the bytes of an array.
func decimals(b []byte) string { return strings.Trim(fmt.Sprint(b), "[]") }

func clean(t *testing.T, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		require.NotContains(t, text, s)
	}
}
