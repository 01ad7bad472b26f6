// Fault: what a backend says went wrong, in whichever shape it says it.

package openai

import (
	"bytes"
	"unicode/utf8"
)

// Fault is an error as a backend tells it: as OpenAI's error object, or in one of
// the shapes that engines and the servers around them use instead. It borrows the
// bytes it was read from. The zero value says nothing.
type Fault struct {
	// Regular: the bytes are OpenAI's error object with all four keys already.
	Regular bool
	// Status is the HTTP status that the error names itself, from 400 to 599; 0
	// when it names none.
	Status int

	b     []byte
	said  complaint
	sound bool // b is JSON that every parser reads alike
	root  bool // and what is said stands under "error" in its root
	plain bool // b is text, or JSON that says nothing known
}

// ReadFault reads the body of an answer that is an error. It does not allocate,
// but for a body that is not UTF-8. Known are OpenAI's own shape with keys missing
// or of other types (llama.cpp, vLLM, SGLang, LocalAI, Azure, Anthropic), the
// object without the "error" around it (vLLM and SGLang until 2025, TensorRT-LLM),
// text under "error" (TGI, Ollama, Triton), text, a list or an object under
// "detail" (FastAPI), an array of one of them (Gemini), and plain text. JSON that
// ends too early counts as far as it goes.
func ReadFault(body []byte) Fault {
	f := Fault{b: body}
	valid := utf8.Valid(body)
	if !valid {
		f.b = bytes.ToValidUTF8(body, replacement)
	}
	r := faultReader{walker: walker{b: f.b}}
	hasMark := bytes.HasPrefix(f.b, byteOrderMark)
	if hasMark {
		r.i = len(byteOrderMark)
	}
	switch r.peek() {
	case '{', '[', '"':
		f.said = r.any(0)
		f.sound = !r.bad && skipSpace(f.b, r.i) == len(f.b) && !r.doubtful
		f.root = f.sound && r.inError && !hasMark
		f.plain = !f.said.present() && f.sound // what is neither JSON nor text is no message
	case 'd', 'e', ':': // a stream where a document should be
		if n := EventEnd(f.b); n > 0 {
			if payload := eventPayload(f.b[:n]); payload.Present() {
				return ReadFault(payload.In(f.b))
			}
		}
		f.plain = true
	default:
		f.plain = true
	}
	f.Status = f.said.status
	f.Regular = f.root && valid && f.said.regular(f.b)
	return f
}

// EventFault reads the error that an event of a stream carries.
func EventFault(ev []byte) Fault {
	payload := eventPayload(ev)
	if !payload.Present() {
		return Fault{}
	}
	return ReadFault(payload.In(ev))
}

// eventPayload is the data of an event, or the value of the line "error:" that
// llama.cpp had instead; absent when the data has several lines.
func eventPayload(ev []byte) Span {
	f := fields(ev)
	if f.data.Present() {
		return f.data
	}
	return f.fault
}

// Kind returns the type of the error as it is written, nil when it has none.
func (f *Fault) Kind() []byte { return content(f.said.typ).In(f.b) }

var byteOrderMark = []byte("\xef\xbb\xbf")

var replacement = []byte("\ufffd")

// complaint is what an error says, as places in its bytes. The values are whole,
// with their quotes.
type complaint struct {
	object Span // that holds the members below as an error object does; absent for mere text
	text   Span // a string
	list   Span // FastAPI's array of what is wrong with a request
	typ    Span
	param  Span
	code   Span
	status int
}

func (c *complaint) present() bool { return c.text.Present() || c.list.Present() }

// regular reports whether the object has the four keys, of the right types.
func (c *complaint) regular(b []byte) bool {
	return c.object.Present() && c.typ.Present() && b[c.typ.Start] == '"' &&
		stringOrNull(b, c.param) && stringOrNull(b, c.code)
}

func stringOrNull(b []byte, v Span) bool {
	return v.Present() && (b[v.Start] == '"' || b[v.Start] == 'n')
}

// content is a string's place without its quotes, absent for what is no string or
// an empty one; the latter are told apart by their length alone.
func content(v Span) Span {
	if v.Len() <= 2 {
		return Span{}
	}
	return Span{v.Start + 1, v.End - 1}
}

// faultReader finds the complaint in a JSON value.
type faultReader struct {
	walker
	inError  bool // the complaint is the object under the root's "error"
	doubtful bool // keys on the way that parsers would disagree about
}

// Errors are wrapped in errors, but not often.
const maxFaultDepth = 4

// any reads the value that comes next.
func (r *faultReader) any(depth int) (c complaint) {
	switch first := r.peek(); {
	case first == '"':
		c.text = r.value()
	case first == '{' && depth < maxFaultDepth:
		c = r.object(depth)
	case first == '[' && depth < maxFaultDepth:
		c = r.array(depth)
	default:
		r.value()
	}
	return c
}

// array reads a list of errors: FastAPI's as a whole, of others the first.
func (r *faultReader) array(depth int) complaint {
	start := r.i
	first, n := complaint{}, 0
	for more := r.enter('['); more; more = r.more('[') {
		if n++; n == 1 {
			first = r.any(depth + 1)
			continue
		}
		r.value()
	}
	if r.peek(); first.list.Present() && !r.bad {
		first.list = Span{int32(start), int32(r.i)}
	}
	return first
}

// object reads an object: an error itself, or one around it.
func (r *faultReader) object(depth int) complaint {
	own := complaint{}
	var inner, detail, around complaint // under "error"; under "detail"; under another key
	named, direct, located := false, false, Span{}
	start, seen := r.i, uint32(0)
	for more := r.enter('{'); more; more = r.more('{') {
		key := r.key()
		r.doubt(key, &seen)
		switch string(key) {
		case "message", "msg":
			if r.peek() != '"' {
				around = r.any(depth + 1)
				continue
			}
			if v := r.value(); string(key) == "message" {
				own.text, named = v, true
			} else if !named {
				own.text = v
			}
		case "error":
			r.peek()
			at := int32(r.i)
			inner = r.any(depth + 1)
			direct = inner.object.Present() && inner.object.Start == at
		case "detail":
			detail = r.any(depth + 1)
		case "errors":
			around = r.any(depth + 1)
		case "type", "error_type":
			own.typ = r.value()
		case "param":
			own.param = r.value()
		case "code":
			own.code = r.value()
			own.status = max(own.status, statusIn(own.code.In(r.b)))
		case "status", "status_code", "http_status_code":
			own.status = max(own.status, statusIn(r.value().In(r.b)))
		case "loc":
			located = r.value()
		default:
			r.value()
		}
	}
	r.inError = depth == 0 && direct
	if named && !r.bad {
		own.object = Span{int32(start), int32(r.i)}
	}
	if located.Present() && own.text.Present() && !named { // one entry of FastAPI's list
		return complaint{list: Span{int32(start), int32(r.i)}}
	}
	return own.or(inner, detail, around)
}

// or returns the complaint of an object that says own itself and has others
// within: an object under "error" comes first, text there after a message.
func (c complaint) or(inner, detail, around complaint) complaint {
	best := inner
	switch {
	case inner.object.Present():
	case c.text.Present():
		return c
	case inner.present(): // TGI says the type beside its text
		if !best.typ.Present() {
			best.typ, best.code = c.typ, c.code
		}
	case detail.present():
		best = detail
	default:
		best = around
	}
	if best.status == 0 {
		best.status = c.status
	}
	return best
}

// doubt notes a key that another parser may take for one of those read here, or
// may read a second time.
func (r *faultReader) doubt(key []byte, seen *uint32) {
	bit := uint32(0)
	switch string(key) {
	case "error":
		bit = 1
	case "message":
		bit = 2
	case "type":
		bit = 4
	case "param":
		bit = 8
	case "code":
		bit = 16
	default:
		r.doubtful = r.doubtful || bytes.IndexByte(key, '\\') >= 0 || foldsToFault(key)
		return
	}
	r.doubtful = r.doubtful || *seen&bit != 0
	*seen |= bit
}

// foldsToFault reports whether key is one of the five in another case.
func foldsToFault(key []byte) bool {
	var buf [maxKeyBytes]byte
	switch string(fold(&buf, key)) {
	case "error", "message", "type", "param", "code":
		return true
	}
	return false
}

// statusIn reads a number, or a string of digits, as the status of an error.
func statusIn(v []byte) int {
	if len(v) == 5 && v[0] == '"' {
		v = v[1:4]
	}
	if len(v) != 3 || v[0] != '4' && v[0] != '5' {
		return 0
	}
	n := 0
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}
