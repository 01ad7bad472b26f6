package authn

// What is stored of a key: "sha256:<id>:<digest>" or
// "hmac-sha256:<pepper>:<id>:<digest>", over its 43-character secret.

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/helixflow/helixflow/internal/secret"
)

// A slow password hash has no place here: 256 random bits cannot be guessed,
// and its cost per request would be our own denial of service.
const (
	plainScheme  = "sha256"
	pepperScheme = "hmac-sha256"

	minPepperBytes = 32
	digestLength   = 43 // 32 bytes in unpadded base64url
)

// Pepper keys the hashes of API keys, so that a stolen list of them can neither
// be verified nor forged.
type Pepper struct {
	Version int         // at least 1; hashes name it
	Secret  secret.Text // at least 32 bytes
}

// Hash returns the form in which a key is stored: keyed with the pepper, or
// plain SHA-256 when pepper is nil. A key with a wrong checksum is refused.
// Nothing of the key appears in an error.
func Hash(key string, pepper *Pepper) (string, error) {
	k, err := parse([]byte(key))
	if err != nil {
		return "", fmt.Errorf("cannot hash key: %w", err)
	}
	if pepper == nil {
		d := plainDigest(k.secret)
		return plainScheme + ":" + string(k.id) + ":" + base64.RawURLEncoding.EncodeToString(d[:]), nil
	}
	mac, err := newMAC(*pepper)
	if err != nil {
		return "", fmt.Errorf("cannot hash key: %w", err)
	}
	d := mac.digest(k.secret)
	return fmt.Sprintf("%s:%d:%s:%s", pepperScheme, pepper.Version, k.id, base64.RawURLEncoding.EncodeToString(d[:])), nil
}

func plainDigest(secret43 []byte) [sha256.Size]byte { return sha256.Sum256(secret43) }

// mac is HMAC-SHA256 (RFC 2104) for messages of one length, with both padded
// keys made in advance: crypto/hmac would allocate for every request, two sums
// over stack arrays do not.
type mac struct {
	inner, outer [sha256.BlockSize]byte // the key xor ipad and opad
}

func newMAC(p Pepper) (*mac, error) {
	key := []byte(p.Secret.Reveal())
	if p.Version < 1 {
		return nil, fmt.Errorf("pepper version %d is not above zero", p.Version)
	}
	if len(key) < minPepperBytes {
		return nil, fmt.Errorf("pepper %d is shorter than %d bytes", p.Version, minPepperBytes)
	}
	if len(key) > sha256.BlockSize {
		short := sha256.Sum256(key)
		key = short[:]
	}
	m := new(mac)
	copy(m.inner[:], key)
	copy(m.outer[:], key)
	for i := range sha256.BlockSize {
		m.inner[i] ^= 0x36
		m.outer[i] ^= 0x5c
	}
	return m, nil
}

// digest returns the HMAC of a secret of exactly 43 bytes.
func (m *mac) digest(secret43 []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + secretLength]byte
	copy(inner[:], m.inner[:])
	if copy(inner[sha256.BlockSize:], secret43) != secretLength || len(secret43) != secretLength {
		panic("BUG: a key's secret has the wrong length")
	}
	sum := sha256.Sum256(inner[:])
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[:], m.outer[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// stored is a hash read back.
type stored struct {
	id      [idLength]byte
	version int // of the pepper; 0 means plain SHA-256
	digest  [sha256.Size]byte
}

// errHash names both forms; it must not repeat what was found, for a key
// pasted in place of its hash would end up in a log.
var errHash = errors.New(`its hash is neither "sha256:<id>:<digest>" nor "hmac-sha256:<pepper>:<id>:<digest>"`)

func parseHash(text string) (stored, error) {
	var h stored
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case plainScheme:
	case pepperScheme:
		var version string
		version, rest, _ = strings.Cut(rest, ":")
		n, err := strconv.Atoi(version)
		if err != nil || n < 1 || strconv.Itoa(n) != version {
			return stored{}, errHash
		}
		h.version = n
	default:
		return stored{}, errHash
	}
	id, digest, _ := strings.Cut(rest, ":")
	if len(id) != idLength || !allBase62(id) || len(digest) != digestLength {
		return stored{}, errHash
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(digest)
	if err != nil || len(raw) != sha256.Size {
		return stored{}, errHash
	}
	copy(h.id[:], id)
	copy(h.digest[:], raw)
	return h, nil
}
