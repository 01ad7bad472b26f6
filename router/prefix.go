package router

import (
	"bytes"
	"strings"

	"github.com/helixflow/helixflow"
)

// This file answers which prefix of the passthrough list takes a path, and which
// of its segments are ids.

// prefix is a line of the passthrough list: a path, and where it and all below it
// lead.
type prefix struct {
	path   string
	pool   *Pool
	shared bool // its objects belong to everybody
	admin  bool // it names an administrative path
	name   *publicName
}

// below is a path that a prefix takes.
type below struct {
	prefix *prefix
	path   []byte // in the spelling that is sent
}

// rest is what follows the prefix: empty, or with a slash in front.
func (b *below) rest() []byte { return b.path[len(b.prefix.path):] }

// findPrefix finds what takes a clean path: the longest prefix, of the path as it
// is or with the /v1 that clients may leave out. Paths that a server could read as
// others than they seem are not taken.
func (s *Snapshot) findPrefix(clean []byte) (below, bool) {
	if len(s.prefixes) == 0 || !plainPath(clean) {
		return below{}, false
	}
	b, ok := s.prefixOf(clean)
	if !ok && string(clean) != "/v1" && !bytes.HasPrefix(clean, []byte("/v1/")) {
		b, ok = s.prefixOf(append([]byte("/v1"), clean...))
	}
	if !ok || administrative(b.path) && !b.prefix.admin {
		return below{}, false
	}
	// A server that ignores case must not find here what is refused, or charged
	// for, in its own spelling.
	lower := bytes.ToLower(b.path)
	other := !bytes.Equal(lower, b.path) && (administrative(lower) || operations[string(withoutVersion(lower))] != helixflow.OpUnknown)
	return b, !other
}

func (s *Snapshot) prefixOf(path []byte) (below, bool) {
	for _, p := range s.prefixes { // the longest first
		if len(path) >= len(p.path) && string(path[:len(p.path)]) == p.path && (len(path) == len(p.path) || path[len(p.path)] == '/') {
			return below{p, path}, true
		}
	}
	return below{}, false
}

// plainPath reports whether there is but one way to read a path: no segment is
// empty or made of dots, and an escape stands only for what could not stand there
// plainly, and never for a slash, a backslash, a percent sign, a control character
// or anything beyond ASCII. So nobody behind finds another path by decoding,
// once or twice.
func plainPath(path []byte) bool {
	if len(path) < 2 || path[0] != '/' {
		return false
	}
	for segment := range bytes.SplitSeq(path[1:], []byte("/")) {
		if len(segment) == 0 || string(segment) == "." || string(segment) == ".." || !plainSegment(segment) {
			return false
		}
	}
	return true
}

func plainSegment(segment []byte) bool {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c != '%' {
			if !isUnreserved(c) && strings.IndexByte("!$&'()*+,=:@", c) < 0 {
				return false
			}
			continue
		}
		if i+2 >= len(segment) {
			return false
		}
		high, ok := hexDigit(segment[i+1])
		low, ok2 := hexDigit(segment[i+2])
		if c = high<<4 | low; !ok || !ok2 || c <= ' ' || c >= 0x7f || isUnreserved(c) || strings.IndexByte(`/\%;?#`, c) >= 0 {
			return false
		}
		i += 2
	}
	return true
}

// isUnreserved is RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// words are the segments that OpenAI's API has besides ids: collections, and what
// can be done with an object. Whatever else stands in a path is an id, so that a
// new form of ids is none too many and a new word one id too many.
var words = func() map[string]bool {
	m := make(map[string]bool)
	for word := range strings.FieldsSeq(`
		alpha assistants audio batches calls characters chat chatkit checkpoints client_secrets completions
		containers content conversations edits embeddings evals events extensions file_batches files fine_tuning
		generations graders images input_items input_tokens items jobs messages models moderations output_items
		parts permissions realtime responses runs search sessions skills speech steps threads transcription_sessions
		transcriptions translations uploads variations vector_stores versions videos voice_consents voices
		accept archive cancel compact complete hangup pause refer reject remix resume run submit_tool_outputs validate`) {
		m[word] = true
	}
	return m
}()

// nextID returns the first id of rest, the part of a plain path that follows its
// prefix, as it stands there, and what follows it; nil: there is none.
func nextID(rest []byte) (id, after []byte) {
	for len(rest) > 0 {
		segment, behind := rest[1:], []byte(nil)
		if i := bytes.IndexByte(segment, '/'); i >= 0 {
			segment, behind = segment[:i], segment[i:]
		}
		if !words[string(segment)] {
			return segment, behind
		}
		rest = behind
	}
	return nil, nil
}

// decodedSegment is a plain segment without its escapes.
func decodedSegment(segment []byte) []byte {
	if bytes.IndexByte(segment, '%') < 0 {
		return segment
	}
	id := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' {
			high, _ := hexDigit(segment[i+1])
			low, _ := hexDigit(segment[i+2])
			c = high<<4 | low
			i += 2
		}
		id = append(id, c)
	}
	return id
}
