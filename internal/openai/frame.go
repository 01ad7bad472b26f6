// Frames and bodies that carry an error, byte for byte as clients accept them.

package openai

import (
	"strconv"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// AppendErrorFrame appends to dst the event that tells a client its stream was
// cut: of all forms the one that every official and popular client raises as an
// error. For chat/completions and completions no event line may stand before it
// and "error" must be the first key, without spaces; Responses has a flat form,
// whose number in the stream is sequence. An empty code is written as null.
func AppendErrorFrame(dst []byte, op helixflow.Op, message, typ, code string, sequence int64) []byte {
	if op != helixflow.OpResponses {
		dst = append(dst, "data: "...)
		dst = AppendErrorBody(dst, message, typ, "", code)
		return append(dst, "\n\n"...)
	}
	dst = append(dst, "event: error\ndata: {\"type\":\"error\",\"code\":"...)
	dst = appendStringOrNull(dst, code)
	dst = append(dst, `,"message":`...)
	dst = AppendJSONString(dst, message)
	dst = append(dst, `,"param":null,"sequence_number":`...)
	dst = strconv.AppendInt(dst, sequence, 10)
	return append(dst, "}\n\n"...)
}

// AppendErrorBody appends OpenAI's error object to dst, with all four keys; an
// empty param or code is written as null.
func AppendErrorBody(dst []byte, message, typ, param, code string) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = AppendJSONString(dst, message)
	dst = append(dst, `,"type":`...)
	dst = AppendJSONString(dst, typ)
	dst = append(dst, `,"param":`...)
	dst = appendStringOrNull(dst, param)
	dst = append(dst, `,"code":`...)
	dst = appendStringOrNull(dst, code)
	return append(dst, "}}"...)
}

// AppendErrorEvent appends an error as an event of the websocket of responses:
// with the status that the request would have been answered, and the error object
// that body is.
func AppendErrorEvent(dst []byte, status int, body []byte) []byte {
	dst = append(dst, `{"type":"error","status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ',')
	return append(dst, body[skipSpace(body, 0)+1:]...)
}

func appendStringOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return AppendJSONString(dst, s)
}

// AppendJSONString appends s to dst as a JSON string with its quotes. Control
// characters are escaped and bytes that are not UTF-8 become U+FFFD, so the
// result is always valid.
func AppendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
