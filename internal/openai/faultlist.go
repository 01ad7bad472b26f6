// FastAPI's list of what is wrong with a request: {"loc":["body","messages",0],
// "msg":"Field required","type":"missing","input":…}, …

package openai

import "bytes"

// maxFaultEntries is how many entries of the list are told.
const maxFaultEntries = 4

// appendList appends the entries' texts as one JSON string: "messages[0]: Field
// required; model: …".
func (f *Fault) appendList(dst []byte, or string) []byte {
	dst = append(dst, '"')
	begin, n := len(dst), 0
	w := walker{b: f.b[:f.said.list.End], i: int(f.said.list.Start)}
	alone := w.peek() == '{'
	if alone {
		dst = appendEntry(dst, &w)
	}
	for more := !alone && w.enter('['); more; more = w.more('[') {
		if n++; n > maxFaultEntries || len(dst)-begin > maxFaultText || w.peek() != '{' {
			w.value()
			continue
		}
		if len(dst) > begin {
			dst = append(dst, "; "...)
		}
		dst = appendEntry(dst, &w)
	}
	switch {
	case len(dst) == begin:
		return AppendJSONString(dst[:begin-1], or)
	case n > maxFaultEntries:
		dst = append(dst, "; "+ellipsis...)
	}
	return append(dst, '"')
}

func appendEntry(dst []byte, w *walker) []byte {
	loc, msg := entry(w)
	before := len(dst)
	if dst = appendLocation(dst, w.b, loc); len(dst) > before {
		dst = append(dst, ": "...)
	}
	if raw := msg.In(w.b); !isMarkup(raw) {
		dst = append(dst, cutString(raw, maxFaultText/maxFaultEntries)...)
	}
	return dst
}

// entry reads one entry: the array of its place, and the content of its text.
func entry(w *walker) (loc, msg Span) {
	for more := w.enter('{'); more; more = w.more('{') {
		switch string(w.key()) {
		case "loc":
			loc = w.value()
		case "msg":
			if v := w.value(); v.Present() && w.b[v.Start] == '"' {
				msg = content(v)
			}
		default:
			w.value()
		}
	}
	return loc, msg
}

// appendListParam appends the place of the first entry, null where it has none.
func (f *Fault) appendListParam(dst []byte) []byte {
	w := walker{b: f.b[:f.said.list.End], i: int(f.said.list.Start)}
	if w.peek() == '[' {
		w.enter('[')
	}
	loc, _ := entry(&w)
	begin := len(dst)
	dst = appendLocation(append(dst, '"'), f.b, loc)
	if len(dst) == begin+1 {
		return append(dst[:begin], rawNull...)
	}
	return append(dst, '"')
}

// maxLocation bounds a place, whose parts may be keys of the request.
const maxLocation = 256

// appendLocation appends a place as OpenAI writes it, messages[0].content, without
// the "body" that FastAPI puts in front.
func appendLocation(dst, b []byte, loc Span) []byte {
	if !loc.Present() || b[loc.Start] != '[' {
		return dst
	}
	w := walker{b: b[:loc.End], i: int(loc.Start)}
	begin, n := len(dst), 0
	for more := w.enter('['); more; more = w.more('[') {
		v := w.value()
		if n++; !v.Present() || len(dst)-begin+v.Len() > maxLocation {
			continue
		}
		part := v.In(b)
		switch {
		case part[0] == '"':
			part = part[1 : len(part)-1]
			if n == 1 && (bytes.Equal(part, []byte("body")) || bytes.Equal(part, []byte("query"))) {
				continue
			}
			if len(dst) > begin && len(part) > 0 {
				dst = append(dst, '.')
			}
			dst = append(dst, part...)
		case '0' <= part[0] && part[0] <= '9' && len(dst) > begin: // at the very front it is a byte of the body
			dst = append(append(append(dst, '['), part...), ']')
		}
	}
	return dst
}
