package authn

// The form of a token: three segments of base64url, the first of them a header
// that says how it was signed and nothing about where to find a key.

import (
	"bytes"
	"strings"
)

const (
	maxToken     = 8 << 10 // bytes
	maxTypeBytes = 64
)

// IsToken reports whether a credential is a token rather than an API key, which
// never has a dot in it.
func IsToken(credential []byte) bool {
	return bytes.IndexByte(credential, '.') >= 0 && !bytes.HasPrefix(credential, []byte(optional))
}

// presented is a token taken apart; nothing of it is believed yet.
type presented struct {
	header    header
	signed    string // what the signature is over
	body      []byte
	signature []byte
}

// header is what is used of the JOSE header.
type header struct {
	algorithm, keyID, typ string
}

// parseToken takes a token apart, the cheapest checks first.
func parseToken(token []byte) (p presented, ok bool) {
	if len(token) > maxToken || bytes.Count(token, []byte{'.'}) != 2 {
		return p, false
	}
	text := string(token)
	end := strings.LastIndexByte(text, '.')
	p.signed = text[:end]
	first, second, _ := strings.Cut(p.signed, ".")
	signature, err := decodeSegment(text[end+1:])
	head, errHead := decodeSegment(first)
	body, errBody := decodeSegment(second)
	if err != nil || errHead != nil || errBody != nil || len(signature) == 0 {
		return p, false
	}
	p.body, p.signature = body, signature
	p.header, ok = parseHeader(head)
	return p, ok
}

// refusedMembers name a key that the sender brings along, or change what is
// signed or how: none of it is the sender's to say (RFC 8725, section 3.10). A
// crit member demands what we do not have; that of RFC 7797 is b64.
var refusedMembers = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}

func parseHeader(raw []byte) (h header, ok bool) {
	m, err := members(raw)
	if err != nil {
		return h, false
	}
	for _, name := range refusedMembers {
		if _, there := m[name]; there {
			return h, false
		}
	}
	if h.algorithm, ok = stringOf(m["alg"]); !ok {
		return h, false
	}
	if raw, there := m["kid"]; there {
		if h.keyID, ok = stringOf(raw); !ok || !validKeyID(h.keyID) {
			return h, false
		}
	}
	if raw, there := m["typ"]; there {
		if h.typ, ok = stringOf(raw); !ok || len(h.typ) > maxTypeBytes {
			return h, false
		}
	}
	return h, true
}

// validKeyID keeps what could be a path, a query or a command out of anybody's
// look-ups.
func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for i := range len(id) {
		if !allBase62(id[i:i+1]) && !strings.Contains("._~=+/-", id[i:i+1]) {
			return false
		}
	}
	return true
}

// typeFits reports whether a token's typ is the one wanted; without one wanted,
// whether it is any of a token for an API (RFC 8725, section 3.11; RFC 9068).
// Like a media type it is compared without regard to case, and "application/"
// may be left out (RFC 7515, section 4.1.9).
func typeFits(typ, want string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if want != "" {
		return typ == strings.TrimPrefix(strings.ToLower(want), "application/")
	}
	return typ == "" || typ == "jwt" || typ == "at+jwt"
}
