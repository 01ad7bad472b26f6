// Splitting: the stream that a whole answer would have been.

package openai

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

// AppendSplit appends to dst the stream that a whole answer to chat/completions,
// completions or Responses would have been; of the former two with its usage in a
// chunk of its own if that is wanted and there is any. It reports false, and appends
// nothing, of other operations and of a body that is no such answer, or of which it
// is not known how it would have come. It allocates.
func AppendSplit(dst, body []byte, op helixflow.Op, usage bool) ([]byte, bool) {
	if op == helixflow.OpResponses {
		return appendSplitResponse(dst, body)
	}
	if op != helixflow.OpChatCompletions && op != helixflow.OpCompletions || !ReadAnswer(body).Choices {
		return dst, false
	}
	var without, apart, used []byte
	sound := Members(body, func(key, value []byte) bool {
		member := bytes.Join([][]byte{[]byte(`,"`), key, []byte(`":`), value}, nil)
		switch string(key) {
		case "usage":
			used = value
			return true
		case "object":
			if op == helixflow.OpChatCompletions {
				apart = append(apart, `,"object":"chat.completion.chunk"`...)
			} else {
				apart = append(apart, member...)
			}
		case "choices":
			apart = append(apart, `,"choices":[]`...)
		default:
			apart = append(apart, member...)
		}
		without = append(without, member...)
		return true
	})
	if !sound {
		return dst, false
	}
	without[0] = '{'
	dst = AppendAsStream(dst, append(without, '}'), op)
	if usage && len(used) > 0 && used[0] == '{' {
		dst = append(bytes.TrimSuffix(dst, doneEvent), "data: "...)
		apart[0] = '{'
		begin := len(dst)
		dst = append(append(append(dst, apart...), `,"usage":`...), used...)
		dst = oneLine(append(dst, '}'), begin)
		dst = append(append(dst, "\n\n"...), doneEvent...)
	}
	return dst, true
}

var doneEvent = []byte("data: [DONE]\n\n")
