package authn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A key written down: its checksum was computed outside of this package, with
// zlib's crc32, so the form cannot drift without a test noticing.
const (
	goldenKey    = "sk-hfx_live_0123456789ab_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq_3wrNK1"
	goldenID     = "0123456789ab"
	goldenSecret = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
)

func TestInspect(t *testing.T) {
	f := func(key string, want KeyInfo) {
		t.Helper()
		got, err := Inspect(key)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(goldenKey, KeyInfo{"live", goldenID, true})
	f(strings.TrimPrefix(goldenKey, "sk-"), KeyInfo{"live", goldenID, true})
	f(strings.Replace(goldenKey, "live", "test", 1), KeyInfo{"test", goldenID, false})
	f(strings.Replace(goldenKey, "ABC", "ABD", 1), KeyInfo{"live", goldenID, false})
	f(goldenKey[:len(goldenKey)-1]+"h", KeyInfo{"live", goldenID, false})
}

func TestInspectRefuses(t *testing.T) {
	f := func(key string, want error) {
		t.Helper()
		got, err := Inspect(key)
		require.ErrorIs(t, err, want)
		assert.Zero(t, got)
		if len(key) >= 8 {
			assert.NotContains(t, err.Error(), key[len(key)/2:])
		}
	}
	f("", errLength)
	f("sk-hfx_", errLength)
	f("sk-proj-abcdefghijklmnopqrstuvwxyz", errLength)
	f(goldenKey+"0", errLength)
	f(goldenKey[1:], errLength)
	f(" "+goldenKey[1:], errPrefix)
	f("sk_hfx_"+goldenKey[7:], errPrefix)
	f("SK-"+goldenKey[3:], errPrefix)
	f("hfa_"+goldenKey[7:], errPrefix) // an admin key is never a client's
	f("sk-hfa_"+goldenKey[7:], errPrefix)
	f(strings.Replace(goldenKey, "live", "prod", 1), errForm)
	f(strings.Replace(goldenKey, "live_", "live-", 1), errForm)
	f(strings.Replace(goldenKey, "b_A", "b-A", 1), errForm)
	f(strings.Replace(goldenKey, "q_", "q-", 1), errForm)
	f(strings.Replace(goldenKey, "012", "0_2", 1), errForm)
	f(strings.Replace(goldenKey, "DEF", "D\x00F", 1), errForm)
	f(goldenKey[:len(goldenKey)-1]+"\n", errForm)
}

func TestGenerate(t *testing.T) {
	form := regexp.MustCompile(`^sk-hfx_(live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)
	f := func(env string) {
		t.Helper()
		seen := map[string]bool{}
		for range 100 {
			key, err := Generate(env, rand.Reader)
			require.NoError(t, err)
			text := key.Text.Reveal()
			require.Regexp(t, form, text)
			info, err := Inspect(text)
			require.NoError(t, err)
			require.Equal(t, KeyInfo{env, key.ID, true}, info)
			require.False(t, seen[key.ID] || seen[text], "a key came twice")
			seen[key.ID], seen[text] = true, true
		}
	}
	f("live")
	f("test")
}

func TestGenerateRefuses(t *testing.T) {
	f := func(env string, random io.Reader, want string) {
		t.Helper()
		key, err := Generate(env, random)
		require.ErrorContains(t, err, want)
		assert.Zero(t, key)
	}
	f("prod", rand.Reader, `neither "live" nor "test"`)
	f("", rand.Reader, `neither "live" nor "test"`)
	f("live", iotest.ErrReader(errors.New("no entropy")), "no entropy")
	f("live", bytes.NewReader(make([]byte, 10)), "cannot read randomness")
	f("live", constantReader(0xff), "source of randomness is broken")
}

// constantReader yields one byte for ever.
type constantReader byte

func (c constantReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestGenerateIsUniform(t *testing.T) {
	// Every byte value once a round: without rejection the first eight
	// characters would come five times for the others' four.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	drawn := make([]byte, 4*len(base62))
	require.NoError(t, drawBase62(drawn, bytes.NewReader(all)))
	for _, c := range []byte(base62) {
		require.Equal(t, 4, bytes.Count(drawn, []byte{c}), "%c", c)
	}
}

func TestChecksum(t *testing.T) {
	f := func(crc uint32, want string) {
		t.Helper()
		got := checksum(crc)
		assert.Equal(t, want, string(got[:]))
	}
	f(0, "000000")
	f(61, "00000z")
	f(62, "000010")
	f(1<<32-1, "4gfFC3")
	f(crc32.ChecksumIEEE([]byte(goldenKey[:checksummedTo])), goldenKey[checksumAt:])
}

// slowParse is the reference for parse: a regular expression, the canonical
// text put together, and the checksum read back as a number.
func slowParse(credential string) (ok bool) {
	m := slowForm.FindStringSubmatch(credential)
	if m == nil {
		return false
	}
	var number uint64
	for _, c := range m[2] {
		number = number*62 + uint64(strings.IndexRune(base62, c))
	}
	return number == uint64(crc32.ChecksumIEEE([]byte("sk-"+m[1])))
}

var slowForm = regexp.MustCompile(`\A(?:sk-)?(hfx_(?:live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})\z`)

func FuzzParse(f *testing.F) {
	f.Add([]byte(goldenKey))
	f.Add([]byte(goldenKey[3:]))
	f.Add([]byte(strings.Replace(goldenKey, "live", "test", 1)))
	f.Add([]byte("sk-hfx_live___________________________________________________________________"))
	f.Fuzz(func(t *testing.T, credential []byte) {
		k, err := parse(credential)
		require.Equal(t, slowParse(string(credential)), err == nil, "%q", credential)
		if err == nil {
			require.Len(t, k.id, idLength)
			require.Len(t, k.secret, secretLength)
		}
	})
}
