package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
)

func pepper(version int, text string) Pepper {
	return Pepper{Version: version, Secret: secret.New(text)}
}

const pepperText = "0123456789abcdef0123456789abcdef"

func TestHash(t *testing.T) {
	f := func(key string, p *Pepper, want string) {
		t.Helper()
		got, err := Hash(key, p)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		// Either spelling of a key has one hash.
		got, err = Hash(strings.TrimPrefix(key, "sk-"), p)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	// Computed with Python's hashlib and hmac.
	one := pepper(1, pepperText)
	f(goldenKey, nil, "sha256:0123456789ab:dp6NlaokagLZTUjEL7cYPlMchcQdWzRW3bkAEXEti9c")
	f(goldenKey, &one, "hmac-sha256:1:0123456789ab:e5cPUUrpIgyBSb0ICOFmzQWGvgENAbtVA8KCiWvS1r0")
}

func TestHashRefuses(t *testing.T) {
	f := func(key string, p *Pepper, want string) {
		t.Helper()
		got, err := Hash(key, p)
		require.ErrorContains(t, err, want)
		assert.Empty(t, got)
		assert.NotContains(t, err.Error(), goldenSecret[4:20])
	}
	short, zero := pepper(1, pepperText[1:]), pepper(0, pepperText)
	f("", nil, "not 75 characters long")
	f(strings.Replace(goldenKey, "ABC", "ABD", 1), nil, "checksum is wrong")
	f(goldenKey, &short, "pepper 1 is shorter than 32 bytes")
	f(goldenKey, &zero, "version 0 is not above zero")
}

func TestMACAgreesWithCryptoHMAC(t *testing.T) {
	random := rand.NewChaCha8([32]byte{7})
	message := make([]byte, secretLength)
	for size := minPepperBytes; size <= 200; size++ {
		key := make([]byte, size)
		_, _ = random.Read(key)
		_, _ = random.Read(message)
		m, err := newMAC(pepper(1, string(key)))
		require.NoError(t, err)
		slow := hmac.New(sha256.New, key)
		slow.Write(message)
		got := m.digest(message)
		require.Equal(t, slow.Sum(nil), got[:], "a pepper of %d bytes", size)
	}
}

func TestMACOfAnotherLengthIsABug(t *testing.T) {
	m, err := newMAC(pepper(1, pepperText))
	require.NoError(t, err)
	for _, size := range []int{0, secretLength - 1, secretLength + 1} {
		require.Panics(t, func() { m.digest(make([]byte, size)) }, "%d bytes", size)
	}
}

func TestParseHashRefuses(t *testing.T) {
	digest := strings.Repeat("A", digestLength)
	_, err := parseHash("sha256:" + goldenID + ":" + digest)
	require.NoError(t, err)
	_, err = parseHash("hmac-sha256:12:" + goldenID + ":" + digest)
	require.NoError(t, err)
	for _, text := range []string{
		"",
		":",
		goldenKey,
		goldenID + ":" + digest,
		"md5:" + goldenID + ":" + digest,
		"sha256:" + goldenID,
		"sha256:" + goldenID + ":",
		"sha256:" + goldenID[1:] + ":" + digest,
		"sha256:0123456789a-:" + digest,
		"sha256:" + goldenID + ":" + digest + "=",
		"sha256:" + goldenID + ":" + digest + "A",
		"sha256:" + goldenID + ":" + digest[1:] + "\n",
		"sha256:" + goldenID + ":" + digest[1:] + "+",
		"sha256:" + goldenID + ":" + digest[1:] + "B", // bits left over
		"sha256:" + goldenID + ":" + digest + ":",
		"sha256:1:" + goldenID + ":" + digest,
		"hmac-sha256:" + goldenID + ":" + digest,
		"hmac-sha256::" + goldenID + ":" + digest,
		"hmac-sha256:0:" + goldenID + ":" + digest,
		"hmac-sha256:-1:" + goldenID + ":" + digest,
		"hmac-sha256:01:" + goldenID + ":" + digest,
		"hmac-sha256:99999999999999999999:" + goldenID + ":" + digest,
	} {
		_, err := parseHash(text)
		require.ErrorIs(t, err, errHash, "%q", text)
	}
}
