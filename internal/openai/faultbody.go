// OpenAI's error object, made of a Fault with as little change as it takes.

package openai

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// FaultDefault is what an error says where the backend's own words are of no use.
type FaultDefault struct{ Message, Type string }

// maxFaultText is the longest message taken over from an error that is not
// regular: FastAPI and pydantic repeat the request in theirs.
const maxFaultText = 2 << 10

const ellipsis = "…"

// AppendBody appends the error as the body of an answer: OpenAI's error object
// with all four keys. What was regular comes out byte for byte. An error object
// with faults is mended where they are, with all that is beside them; other shapes
// are told anew. A message is cut at 2 KiB, HTML is never one.
func (f *Fault) AppendBody(dst []byte, or FaultDefault) []byte {
	switch {
	case f.Regular:
		return append(dst, f.b...)
	case f.root:
		e := f.edits(or)
		return e.AppendTo(dst, f.b)
	}
	return f.appendAlone(dst, or)
}

// AppendFrame appends the error as the event that every client of op takes for
// one: see AppendErrorFrame.
func (f *Fault) AppendFrame(dst []byte, op helixflow.Op, or FaultDefault, sequence int64) []byte {
	if op != helixflow.OpResponses {
		begin := len(dst)
		dst = append(dst, "data: "...)
		dst = oneLine(f.appendAlone(dst, or), begin)
		return append(dst, "\n\n"...)
	}
	dst = append(dst, "event: error\ndata: {\"type\":\"error\",\"code\":"...)
	dst = f.appendCode(dst)
	dst = append(dst, `,"message":`...)
	dst = f.appendMessage(dst, or.Message)
	dst = append(dst, `,"param":`...)
	dst = f.appendParam(dst)
	dst = append(dst, `,"sequence_number":`...)
	dst = strconv.AppendInt(dst, sequence, 10)
	return append(dst, "}\n\n"...)
}

// appendAlone appends an object with "error" and nothing beside it.
func (f *Fault) appendAlone(dst []byte, or FaultDefault) []byte {
	if at := f.said.object; at.Present() && f.sound {
		e := f.edits(or)
		e.Replace(Span{0, at.Start}, rawErrorMember)
		return append(e.AppendTo(dst, f.b[:at.End]), '}')
	}
	dst = append(dst, `{"error":{"message":`...)
	dst = f.appendMessage(dst, or.Message)
	dst = append(dst, `,"type":`...)
	dst = f.appendType(dst, or.Type)
	dst = append(dst, `,"param":`...)
	dst = f.appendParam(dst)
	dst = append(dst, `,"code":`...)
	dst = f.appendCode(dst)
	return append(dst, "}}"...)
}

var rawErrorMember = []byte(`{"error":`)

// oneLine makes the line ends among JSON tokens in dst[from:] spaces.
func oneLine(dst []byte, from int) []byte {
	for i, c := range dst[from:] {
		if c == '\n' || c == '\r' {
			dst[from+i] = ' '
		}
	}
	return dst
}

// edits are the changes that make the object under "error" a regular one.
func (f *Fault) edits(or FaultDefault) (e Edits) {
	c, missing := &f.said, []byte(nil)
	if !f.usable(content(c.text)) || content(c.text).Len() > maxFaultText {
		e.Replace(c.text, f.appendMessage(nil, or.Message))
	}
	mend := func(key string, v Span, good bool, with []byte) {
		switch {
		case !v.Present():
			missing = append(append(append(missing, key...), with...), ',')
		case !good:
			e.Replace(v, with)
		}
	}
	mend(`"type":`, c.typ, f.hasType(), f.appendType(nil, or.Type))
	mend(`"param":`, c.param, stringOrNull(f.b, c.param), rawNull)
	mend(`"code":`, c.code, stringOrNull(f.b, c.code), f.appendCode(nil))
	if missing != nil {
		e.Insert(c.object.Start+1, missing)
	}
	return e
}

// appendMessage appends the message as a JSON string.
func (f *Fault) appendMessage(dst []byte, or string) []byte {
	text := content(f.said.text)
	switch {
	case f.plain:
		return f.appendPlain(dst, or)
	case f.said.list.Present():
		return f.appendList(dst, or)
	case !f.usable(text):
		return AppendJSONString(dst, or)
	}
	raw := text.In(f.b)
	dst = append(dst, '"')
	if len(raw) > maxFaultText {
		dst = append(append(dst, cutString(raw, maxFaultText)...), ellipsis...)
	} else {
		dst = append(dst, raw...)
	}
	return append(dst, '"')
}

// appendPlain appends bytes that are no error in JSON, if a person can read them.
func (f *Fault) appendPlain(dst []byte, or string) []byte {
	text := bytes.TrimSpace(bytes.TrimPrefix(f.b, byteOrderMark))
	for _, c := range text {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return AppendJSONString(dst, or)
		}
	}
	if len(text) == 0 || isMarkup(text) {
		return AppendJSONString(dst, or)
	}
	if len(text) <= maxFaultText {
		return AppendJSONString(dst, string(text))
	}
	n := maxFaultText
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return AppendJSONString(dst, string(text[:n])+ellipsis)
}

// usable reports whether a message says something to a person.
func (f *Fault) usable(text Span) bool { return text.Present() && !isMarkup(text.In(f.b)) }

// isMarkup reports whether text is a page, as proxies answer them: HTML or XML.
func isMarkup(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	text = text[:min(len(text), 256)]
	if !bytes.HasPrefix(text, []byte("<")) && !bytes.HasPrefix(text, []byte(`\u003c`)) {
		return false
	}
	text = bytes.ToLower(text)
	for _, tag := range [...]string{"!doctype", "html", "head", "body", "title", "center", "h1", "?xml"} {
		if bytes.Contains(text, []byte("<"+tag)) || bytes.Contains(text, []byte(`\u003c`+tag)) {
			return true
		}
	}
	return false
}

// cutString cuts the content of a JSON string to at most n bytes, neither in an
// escape sequence nor in a character.
func cutString(raw []byte, n int) []byte {
	i := 0
	for i < len(raw) {
		size := 1
		switch c := raw[i]; {
		case c == '\\' && raw[i+1] == 'u':
			size = len(`\u0000`)
		case c == '\\':
			size = 2
		case c >= utf8.RuneSelf:
			_, size = utf8.DecodeRune(raw[i:])
		}
		if i+size > n {
			break
		}
		i += size
	}
	return raw[:i]
}

// hasType reports whether the type is one: not that of an event, which Responses'
// flat errors have.
func (f *Fault) hasType() bool {
	v := f.said.typ
	return content(v).Present() && f.b[v.Start] == '"' && v.Len() <= maxFaultText && string(v.In(f.b)) != `"error"`
}

func (f *Fault) appendType(dst []byte, or string) []byte {
	if f.hasType() {
		return append(dst, f.said.typ.In(f.b)...)
	}
	return AppendJSONString(dst, or)
}

// appendCode appends the code if it is a string. A number is the HTTP status once
// more, which is no code; llama.cpp's type is one that clients look for.
func (f *Fault) appendCode(dst []byte) []byte {
	v := f.said.code
	switch {
	case v.Present() && f.b[v.Start] == '"' && v.Len() <= maxFaultText:
		return append(dst, v.In(f.b)...)
	case string(f.Kind()) == "exceed_context_size_error":
		return append(dst, `"context_length_exceeded"`...)
	}
	return append(dst, rawNull...)
}

// appendParam appends the name of what is wrong in the request.
func (f *Fault) appendParam(dst []byte) []byte {
	v := f.said.param
	switch {
	case f.said.list.Present():
		return f.appendListParam(dst)
	case v.Present() && f.b[v.Start] == '"' && v.Len() <= maxFaultText:
		return append(dst, v.In(f.b)...)
	}
	return append(dst, rawNull...)
}
