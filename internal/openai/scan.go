// Scan: one pass over a request body, strict where the router decides something.

package openai

import (
	"math"

	"github.com/helixflow/helixflow"
)

// Scan finds in body, the request of an operation op, what Call holds. It resets
// c first, borrows body only while it runs, and does not allocate when it
// succeeds; else it returns a *helixflow.Error and c means nothing.
//
// The body must be one JSON object of less than 2 GiB, nested at most 512 deep,
// in the exact grammar of RFC 8259; only the content of strings is not checked
// to be UTF-8. Its policy keys stand at most once and in one spelling, no key of
// the root is written with escapes, and their values have the types OpenAI
// documents. So every parser behind sees the values this one saw. Other keys,
// and all below the root, are the backend's affair. A missing model is no error
// here.
func Scan(body []byte, op helixflow.Op, c *Call) error {
	*c = Call{Op: op, MaxTokens: -1, N: 1}
	return c.scan(body)
}

// ScanEvent is Scan for a message that a client sends over the websocket of
// responses: the body of such a request, and "type" beside it, which becomes a
// policy key.
func ScanEvent(body []byte, c *Call) error {
	*c = Call{Op: helixflow.OpResponses, MaxTokens: -1, N: 1, isEvent: true}
	return c.scan(body)
}

func (c *Call) scan(body []byte) error {
	if err := checkLength(len(body)); err != nil {
		return err
	}
	i := skipSpace(body, 0)
	if i == len(body) || body[i] != '{' {
		return notAnObject(body, i)
	}
	i, err := c.scanMembers(body, i+1)
	if err != nil {
		return err
	}
	c.Close = int32(i)
	if i = skipSpace(body, i+1); i < len(body) {
		return trailing(i)
	}
	return nil
}

func checkLength(n int) error {
	if n > math.MaxInt32 {
		return errTooLong
	}
	return nil
}

// scanMembers reads the root's members from behind its opening brace and returns
// the offset of the closing one.
func (c *Call) scanMembers(body []byte, i int) (int, error) {
	var seen uint32 // bit k: the key with id k has been met
	if i = skipSpace(body, i); i < len(body) && body[i] == '}' {
		return i, nil
	}
	for {
		keyAt := skipSpace(body, i) + 1
		at, why := skipKey(body, i)
		if why != sound {
			return 0, syntaxError(at, why)
		}
		key, err := rootKey(body, keyAt)
		if err != nil {
			return 0, err
		}
		id := c.policyKey(key)
		if id == keyOther {
			if err := c.checkSpelling(key, keyAt); err != nil {
				return 0, err
			}
		} else if seen&(1<<id) != 0 {
			return 0, duplicateKey(key, keyAt)
		}
		seen |= 1 << id
		c.Members++

		start := skipSpace(body, at)
		end, why := skipValue(body, start)
		if why != sound {
			return 0, syntaxError(end, why)
		}
		if v := (Span{int32(start), int32(end)}); id == keyOther {
			c.note(key, body, v)
		} else if err := c.take(id, body, v); err != nil {
			return 0, err
		}
		if i = skipSpace(body, end); i == len(body) {
			return 0, syntaxError(i, faultEnd)
		}
		switch body[i] {
		case ',':
			i++
		case '}':
			return i, nil
		default:
			return 0, syntaxError(i, faultByte)
		}
	}
}

// rootKey returns the content of the key that begins at i and is known to be a
// whole string. One with an escape is refused: it could be a policy key in
// disguise, and no client writes one.
func rootKey(body []byte, i int) ([]byte, error) {
	end := skipText(body, i)
	if body[end] != '"' {
		return nil, escapedKey(i, "")
	}
	return body[i:end], nil
}

func (c *Call) checkSpelling(key []byte, at int) error {
	var buf [maxKeyBytes]byte
	if folded := fold(&buf, key); folded != nil && c.policyKey(folded) != keyOther {
		return otherSpelling(string(folded), at)
	}
	return nil
}
