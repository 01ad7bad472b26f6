package authn

// The keys that verify tokens, and how they are read from a JSON Web Key Set
// (RFC 7517, RFC 7518 section 6, RFC 8037).

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxSetBytes = 64 << 10
	maxSetKeys  = 32
	maxKeyID    = 128 // bytes
	minRSABits  = 2048
	maxRSABits  = 8192 // above, verifying takes long enough to be a weapon
)

// methods are the signatures that are verified. A kind of key has exactly one,
// so that no key serves for another than it was made for.
var methods = map[string]jwt.SigningMethod{
	"RS256": jwt.SigningMethodRS256,
	"ES256": jwt.SigningMethodES256,
	"EdDSA": jwt.SigningMethodEdDSA,
}

// verifyKey is one key of an issuer. All but gone is immutable.
type verifyKey struct {
	id        string // kid; perhaps empty
	algorithm string // of methods
	public    crypto.PublicKey
	gone      atomic.Bool // it has left its set: what it verified counts no more
}

// verifies reports whether signature is the key's over text.
func (k *verifyKey) verifies(text string, signature []byte) bool {
	return methods[k.algorithm].Verify(text, signature, k.public) == nil
}

func (k *verifyKey) same(o *verifyKey) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.id == o.id && k.algorithm == o.algorithm && public.Equal(o.public)
}

// errNoKeys is the answer that must never replace a good set.
var errNoKeys = errors.New("it holds no key that can be used")

// parseKeys reads a key set. What is not for verifying signatures, or is too
// weak, is left out; so are keys that only their order tells apart. A set
// without a usable key is an error that says why the first one is not.
func parseKeys(body []byte) ([]*verifyKey, error) {
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("it is bigger than %d bytes", maxSetBytes)
	}
	set, err := members(body)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if raw := set["keys"]; len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, errors.New(`it has no list of "keys"`)
	}
	if len(list) > maxSetKeys {
		return nil, fmt.Errorf("it holds more than %d keys", maxSetKeys)
	}
	var keys []*verifyKey
	first := errNoKeys
	for _, raw := range list {
		k, err := parseKey(raw)
		switch {
		case err == nil:
			keys = append(keys, k)
		case first == errNoKeys:
			first = fmt.Errorf("%w: the first one %w", errNoKeys, err)
		}
	}
	keys = withoutAmbiguous(keys)
	if len(keys) == 0 {
		return nil, first
	}
	return keys, nil
}

// withoutAmbiguous drops keys of one id and algorithm: which of them is meant
// nobody can say. The same key twice is one.
func withoutAmbiguous(keys []*verifyKey) []*verifyKey {
	var kept []*verifyKey
	for i, k := range keys {
		ambiguous, again := false, false
		for j, o := range keys {
			if i != j && k.id == o.id && k.algorithm == o.algorithm {
				ambiguous = ambiguous || !k.same(o)
				again = again || j < i
			}
		}
		if !ambiguous && !again {
			kept = append(kept, k)
		}
	}
	return kept
}

// parseKey reads one key. The error completes "the key …".
func parseKey(raw json.RawMessage) (*verifyKey, error) {
	m, err := members(raw)
	if err != nil {
		return nil, errors.New("is not one JSON object")
	}
	for _, private := range []string{"d", "p", "q", "k"} {
		if m[private] != nil {
			return nil, errors.New("is a secret that was published")
		}
	}
	if !forVerifying(m) {
		return nil, errors.New("is not for verifying signatures")
	}
	k := &verifyKey{}
	if raw := m["kid"]; raw != nil {
		var ok bool
		if k.id, ok = stringOf(raw); !ok || len(k.id) > maxKeyID {
			return nil, errors.New("has a bad kid")
		}
	}
	if err := k.parsePublic(m); err != nil {
		return nil, err
	}
	if raw := m["alg"]; raw != nil {
		if alg, ok := stringOf(raw); !ok || alg != k.algorithm {
			return nil, errors.New("is for another algorithm than RS256, ES256 and EdDSA")
		}
	}
	return k, nil
}

// forVerifying reads use and key_ops (RFC 7517, sections 4.2 and 4.3).
func forVerifying(m map[string]json.RawMessage) bool {
	if raw := m["use"]; raw != nil {
		if use, ok := stringOf(raw); !ok || use != "sig" {
			return false
		}
	}
	if raw := m["key_ops"]; raw != nil {
		if ops, ok := stringsOf(raw); !ok || !slices.Contains(ops, "verify") {
			return false
		}
	}
	return true
}

func (k *verifyKey) parsePublic(m map[string]json.RawMessage) (err error) {
	kty, _ := stringOf(m["kty"])
	crv, _ := stringOf(m["crv"])
	switch {
	case kty == "RSA":
		k.algorithm = "RS256"
		k.public, err = rsaKey(m)
	case kty == "EC" && crv == "P-256":
		k.algorithm = "ES256"
		k.public, err = ecKey(m)
	case kty == "OKP" && crv == "Ed25519":
		k.algorithm = "EdDSA"
		k.public, err = edKey(m)
	default:
		return errors.New("is neither RSA, P-256 nor Ed25519")
	}
	return err
}

func rsaKey(m map[string]json.RawMessage) (crypto.PublicKey, error) {
	n, e := bytesOf(m["n"]), bytesOf(m["e"])
	if len(n) == 0 || len(n) > maxRSABits/8+1 || len(e) == 0 || len(e) > 4 {
		return nil, errors.New("is not a well-formed RSA key")
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	for _, b := range e {
		k.E = k.E<<8 | int(b)
	}
	switch bits := k.N.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return nil, fmt.Errorf("has %d bits; RSA needs %d to %d", bits, minRSABits, maxRSABits)
	case k.E < 3 || k.E%2 == 0 || k.E >= 1<<31 || k.N.Bit(0) == 0:
		return nil, errors.New("has an impossible exponent or modulus")
	case rocaWeak(k.N):
		return nil, errors.New("was made by hardware that makes weak keys (CVE-2017-15361)")
	}
	return k, nil
}

func ecKey(m map[string]json.RawMessage) (crypto.PublicKey, error) {
	const size = 32
	x, y := bytesOf(m["x"]), bytesOf(m["y"])
	if len(x) != size || len(y) != size {
		return nil, errors.New("is not a well-formed P-256 key")
	}
	point := slices.Concat([]byte{4}, x, y) // SEC 1, section 2.3.3: uncompressed
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errors.New("is no point of P-256")
	}
	return k, nil
}

func edKey(m map[string]json.RawMessage) (crypto.PublicKey, error) {
	x := bytesOf(m["x"])
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("is not a well-formed Ed25519 key")
	}
	return ed25519.PublicKey(x), nil
}

// bytesOf reads a JSON string of unpadded base64url; nil for any other value.
func bytesOf(raw json.RawMessage) []byte {
	text, ok := stringOf(raw)
	if !ok {
		return nil
	}
	b, err := decodeSegment(text)
	if err != nil {
		return nil
	}
	return b
}

var errBase64 = errors.New("it is not unpadded base64url")

// decodeSegment decodes canonical, unpadded base64url, and nothing else: the
// library passes over line breaks and, unless it is strict, stray bits.
func decodeSegment(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errBase64
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}
