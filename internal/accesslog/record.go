package accesslog

// Record: what a line says of one request.

import (
	"bytes"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// Record is one request as the access log shows it. It has room for names, sizes
// and times only: no prompt, no answer, no credential. The strings are a plan's
// own, never borrowed from a request.
type Record struct {
	Time   time.Time // when the request began
	ID     Text      // the request's id
	Client netip.Addr

	Tenant  string
	KeyName string
	KeyID   string // the public id inside the key

	Op      helixflow.Op
	Prefix  string // of a passthrough's path
	Model   string // as configured
	Asked   Text   // the model as the caller named it; shown where it differs
	Backend string // the one that answered, or the last one tried
	Stream  bool

	Status  int
	Problem bool           // the router answered with an error of its own: Kind
	Kind    helixflow.Kind // meaningful with Problem
	Cut     bool           // the answer broke off behind its head
	Left    bool           // the client did not wait for the end
	Replay  bool           // the answer of before, to an idempotency key
	Cache   string         // what the cache had to do with it: hit, miss, bypass; empty where no rule is about it
	Tries   int
	Hedge   string // what came of a second try beside the first; "": there was none
	End     string // how a websocket ended; empty for what is none

	Policy string        // that chose the backend by figures; empty for others
	Reason string        // why it did
	Costed bool          // the following are known
	Hit    int64         // tokens expected in the backend's cache
	Ahead  time.Duration // prompts ahead of this one there
	Cost   time.Duration // of the choice
	Second time.Duration // of the next best; 0: there was none

	Shadows [MaxShadows]Shadow // those without a Policy say nothing

	Hook       string // the one that did not just allow; empty for none
	HookResult string // what it did instead

	BytesIn, BytesOut int64 // bodies, as read from and written to the client

	Total      time.Duration // from the beginning to the end of the answer
	Queue      time.Duration // waiting to be let in
	Hooks      time.Duration // waiting for hooks
	Overhead   time.Duration // what the router added
	FirstToken time.Duration // to the first token of a stream; 0 without one

	Usage helixflow.Usage

	// Hashes are those of the prompt's first blocks, each of all before it too. The
	// Record owns the slice.
	Hashes []uint32
}

// MaxShadows is how many policies can decide in shadow.
const MaxShadows = 4

// Shadow is what a policy decided without effect.
type Shadow struct{ Policy, Backend string }

// maxText is the length of the longest Text, and of the longest request id.
const maxText = 128

// Text is a short text of a client's, copied. The zero value is empty.
type Text struct {
	n     uint8
	bytes [maxText]byte
}

const (
	ellipsis = "…"
	redacted = "[redacted]"
)

// Set copies s. What is longer than 128 bytes is cut, with an ellipsis for its
// end; what looks like an API key, as of a client that mixed up its fields, is not
// copied at all. It does not allocate.
func (t *Text) Set(s []byte) {
	switch {
	case bytes.HasPrefix(s, []byte("sk-")) || bytes.Contains(s, []byte("hfx_")):
		t.n = uint8(copy(t.bytes[:], redacted))
	case len(s) <= maxText:
		t.n = uint8(copy(t.bytes[:], s))
	default:
		end := maxText - len(ellipsis)
		for end > maxText-len(ellipsis)-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		copy(t.bytes[:], s[:end])
		t.n = uint8(end + copy(t.bytes[end:], ellipsis))
	}
}

// String returns the text.
func (t *Text) String() string { return string(t.bytes[:t.n]) }
