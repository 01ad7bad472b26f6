package authn

// A key that was checked a moment ago.

import (
	"crypto/subtle"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
)

// keyrings counts those that were made, to tell them apart without holding on to
// one.
var keyrings atomic.Uint64

// Recent remembers the key that a connection presented last, so that the same one
// costs a comparison the next time and no hash. It forgets with the keyring: what
// a reload revokes is revoked, and an old keyring is not kept alive by idle
// connections. The zero Recent remembers nothing. It belongs to one goroutine, and
// prints nothing of the key.
type Recent struct {
	keyring     uint64
	n           uint32 // of the key's lock
	from, until int64  // when its secret opens that, Unix milliseconds
	length      int
	text        [keyLength]byte
}

// Authenticate is k.Authenticate, remembered. Only what was accepted is.
func (r *Recent) Authenticate(k *Keyring, credential []byte, now time.Time) (*Principal, helixflow.AuthReason) {
	at := now.UnixMilli()
	if r.keyring == k.serial && r.from <= at && at < r.until &&
		subtle.ConstantTimeCompare(r.text[:r.length], credential) == 1 {
		return &k.principals[r.n], helixflow.AuthAccepted
	}
	n, span, reason := k.authenticate(credential, at)
	if reason != helixflow.AuthAccepted {
		return nil, reason
	}
	r.keyring, r.n, r.from, r.until = k.serial, n, span.from, span.until
	r.length = copy(r.text[:], credential)
	return &k.principals[n], helixflow.AuthAccepted
}

// Format prints a word for every verb.
func (r Recent) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "a recent key") }
