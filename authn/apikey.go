package authn

// The form of an API key: sk-hfx_<live|test>_<id>_<secret>_<checksum>.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/secret"
)

// The form's fixed lengths, and where its parts begin in the canonical spelling.
const (
	idLength       = 12
	secretLength   = 43 // 62^43 > 2^256
	checksumLength = 6  // 62^6 > 2^32

	keyPrefix = "sk-hfx_"
	optional  = "sk-" // may be left out; many clients only check that it is there

	envAt         = len(keyPrefix)
	idAt          = envAt + len("live") + 1
	secretAt      = idAt + idLength + 1
	checksumAt    = secretAt + secretLength + 1
	keyLength     = checksumAt + checksumLength
	checksummedTo = checksumAt - 1
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Key is a new API key. The whole of it is shown to its owner once; the router
// keeps only what Hash makes of it.
type Key struct {
	ID   string      // public: names the key in configuration and logs
	Text secret.Text // the key as its owner presents it
}

// Generate makes a key for env, "live" or "test", from 256 bits and more of
// random, which is crypto/rand.Reader outside of tests. Every character is
// uniform over base62. Nothing of the key appears in an error.
func Generate(env string, random io.Reader) (Key, error) {
	var id [idLength]byte
	if err := drawBase62(id[:], random); err != nil {
		return Key{}, fmt.Errorf("cannot generate key: %w", err)
	}
	return GenerateFor(string(id[:]), env, random)
}

// GenerateFor is Generate for a key that has an id already: another secret for it.
func GenerateFor(id, env string, random io.Reader) (Key, error) {
	if env != "live" && env != "test" {
		return Key{}, errors.New(`cannot generate key: its environment is neither "live" nor "test"`)
	}
	if len(id) != idLength || !allBase62(id) {
		return Key{}, fmt.Errorf("cannot generate key: an id is %d letters and digits", idLength)
	}
	var secret43 [secretLength]byte
	if err := drawBase62(secret43[:], random); err != nil {
		return Key{}, fmt.Errorf("cannot generate key: %w", err)
	}
	head := keyPrefix + env + "_" + id + "_" + string(secret43[:])
	sum := checksum(crc32.ChecksumIEEE([]byte(head)))
	return Key{ID: id, Text: secret.New(head + "_" + string(sum[:]))}, nil
}

// drawBase62 fills dst with uniform characters. Bytes from 4*62 up are thrown
// away, because taking them modulo 62 would favour the first eight characters.
func drawBase62(dst []byte, random io.Reader) error {
	const unbiased = 256 - 256%len(base62)
	const rounds = 32 // honest randomness needs one or two; a broken source must not hang us
	var raw [64]byte
	filled := 0
	for range rounds {
		if _, err := io.ReadFull(random, raw[:]); err != nil {
			return fmt.Errorf("cannot read randomness: %w", err)
		}
		for _, b := range raw {
			if filled < len(dst) && int(b) < unbiased {
				dst[filled] = base62[int(b)%len(base62)]
				filled++
			}
		}
		if filled == len(dst) {
			return nil
		}
	}
	return errors.New("the source of randomness is broken")
}

// parts are the pieces of a well-formed credential, borrowed from it.
type parts struct {
	env, id, secret []byte
}

// The reasons a credential is not a key, for operators at a command line; a
// caller of the API never learns which one it was.
var (
	errLength   = fmt.Errorf("it is not %d characters long, or %d without %q", keyLength, keyLength-len(optional), optional)
	errPrefix   = fmt.Errorf("it does not start with %q or %q", keyPrefix, keyPrefix[len(optional):])
	errForm     = errors.New("it is not of the form sk-hfx_<live|test>_<id>_<secret>_<checksum>")
	errChecksum = errors.New("its checksum is wrong: a character was mistyped or lost")
)

func reasonOf(err error) helixflow.AuthReason {
	if err == errChecksum {
		return helixflow.AuthChecksum
	}
	return helixflow.AuthMalformed
}

// parse takes a credential apart. It never looks at anything but the bytes and
// allocates nothing. With errChecksum the parts are valid, otherwise only
// without an error.
func parse(credential []byte) (parts, error) {
	var crc uint32
	switch len(credential) {
	case keyLength:
	case keyLength - len(optional):
		// The checksum covers the canonical spelling, whichever was presented.
		crc = optionalCRC
	default:
		return parts{}, errLength
	}
	missing := keyLength - len(credential)
	if string(credential[:envAt-missing]) != keyPrefix[missing:] {
		return parts{}, errPrefix
	}
	k := parts{
		env:    credential[envAt-missing : idAt-missing-1],
		id:     credential[idAt-missing : secretAt-missing-1],
		secret: credential[secretAt-missing : checksumAt-missing-1],
	}
	presented := credential[checksumAt-missing:]
	if !wellFormed(k, presented) || credential[idAt-missing-1] != '_' ||
		credential[secretAt-missing-1] != '_' || credential[checksumAt-missing-1] != '_' {
		return parts{}, errForm
	}
	want := checksum(crc32.Update(crc, crc32.IEEETable, credential[:checksummedTo-missing]))
	if string(presented) != string(want[:]) {
		return k, errChecksum
	}
	return k, nil
}

func wellFormed(k parts, sum []byte) bool {
	return (string(k.env) == "live" || string(k.env) == "test") &&
		allBase62(k.id) && allBase62(k.secret) && allBase62(sum)
}

// notBase62 is 1 for what is no character of base62: a look instead of branches,
// which random text would make the processor guess wrong.
var notBase62 = func() (table [256]uint8) {
	for c := range table {
		if !strings.ContainsRune(base62, rune(c)) {
			table[c] = 1
		}
	}
	return table
}()

func allBase62[T []byte | string](text T) bool {
	wrong := uint8(0)
	for i := range len(text) {
		wrong |= notBase62[text[i]]
	}
	return wrong == 0
}

// optionalCRC is where a CRC-32/IEEE stands after the prefix that may be left out.
var optionalCRC = crc32.ChecksumIEEE([]byte(optional))

// checksum writes a CRC in base62, the highest digit first, padded with zeros.
func checksum(crc uint32) (text [checksumLength]byte) {
	for i := checksumLength - 1; i >= 0; i-- {
		text[i] = base62[crc%uint32(len(base62))]
		crc /= uint32(len(base62))
	}
	return text
}

// KeyInfo is what can be said about a key without knowing any keyring, and
// without giving its secret away.
type KeyInfo struct {
	Env        string // "live" or "test"
	ID         string
	ChecksumOK bool // false: a character was mistyped or lost
}

// Inspect takes a key apart offline. A wrong checksum is reported in the
// answer; the error says why the text is no key at all, and repeats none of it.
func Inspect(key string) (KeyInfo, error) {
	k, err := parse([]byte(key))
	if err != nil && !errors.Is(err, errChecksum) {
		return KeyInfo{}, fmt.Errorf("cannot inspect key: %w", err)
	}
	return KeyInfo{Env: string(k.env), ID: string(k.id), ChecksumOK: err == nil}, nil
}
