package websocket

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" // what RFC 6455 asks for: it proves that both sides mean a websocket, and keeps no secret
	"encoding/base64"
	"iter"
)

// This file has what the two sides of a handshake say (RFC 6455, section 4).

const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AppendAccept appends the Sec-WebSocket-Accept that answers a key.
func AppendAccept(dst, key []byte) []byte {
	h := sha1.New()
	h.Write(key)
	h.Write([]byte(magic))
	return base64.StdEncoding.AppendEncode(dst, h.Sum(nil))
}

// AppendRandomKey appends a fresh Sec-WebSocket-Key.
func AppendRandomKey(dst []byte) []byte {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.AppendEncode(dst, nonce[:])
}

// ValidKey reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func ValidKey(key []byte) bool {
	var nonce [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], key)
	return err == nil && n == 16
}

// Tokens are the elements of a header that is a list, in the order of its lines.
func Tokens(lines [][]byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, line := range lines {
			for token := range bytes.SplitSeq(line, []byte(",")) {
				if token = bytes.TrimSpace(token); len(token) > 0 && !yield(token) {
					return
				}
			}
		}
	}
}

// HasToken reports whether a header that is a list has this element, in whatever
// case.
func HasToken(lines [][]byte, want string) bool {
	for token := range Tokens(lines) {
		if bytes.EqualFold(token, []byte(want)) {
			return true
		}
	}
	return false
}
