// The JSON of one event, walked once to the few members that say something.

package openai

import "github.com/helixflow/helixflow"

// chunk reads the object that is an event's data into out.
type chunk struct {
	walker
	out  *Event
	op   helixflow.Op
	kind Span // content of the top-level "type"
}

// read walks the object, which must be all that is left, and reports whether it
// is sound.
func (c *chunk) read() bool {
	noChoices, usage := false, false
	for more := c.enter('{'); more; more = c.more('{') {
		switch string(c.key()) {
		case "choices":
			noChoices = !c.choices()
		case "usage":
			usage = c.usage()
		case "error":
			c.failure()
		case "object":
			if v := c.value(); string(v.In(c.b)) == `"error"` {
				c.out.Failed = true
			}
		case "type":
			c.kind = Span{}
			if v := c.value(); !c.bad && c.b[v.Start] == '"' {
				c.kind = Span{v.Start + 1, v.End - 1}
			}
		case "response":
			c.response()
		default:
			c.value()
		}
	}
	c.out.UsageOnly = noChoices && usage && !c.out.Failed
	return !c.bad && skipSpace(c.b, c.i) == len(c.b)
}

// failure reads the value of the top-level "error".
func (c *chunk) failure() {
	if c.peek() == 'n' {
		c.out.Odd = true
	} else {
		c.out.Failed = true
	}
	c.value()
}

// choices reads "choices", which Responses does not know, and reports whether it
// is anything but an empty array.
func (c *chunk) choices() bool {
	if c.op == helixflow.OpResponses || c.peek() != '[' {
		c.value()
		return true
	}
	filled := false
	for more := c.enter('['); more; more = c.more('[') {
		filled = true
		if c.peek() != '{' {
			c.value()
			continue
		}
		for more := c.enter('{'); more; more = c.more('{') {
			switch string(c.key()) {
			case "delta":
				c.delta()
			case "text":
				c.token(c.filled())
			case "finish_reason":
				c.finish(c.value())
			default:
				c.value()
			}
		}
	}
	return filled
}

// finish reads why a choice ended, if v says so.
func (c *chunk) finish(v Span) {
	if c.bad || c.b[v.Start] != '"' {
		return
	}
	c.out.Finish = c.out.Finish || v.Len() > 2
	c.out.Odd = c.out.Odd || v.Len() <= 2 || finishReasonOf(v.In(c.b)) != ""
}

// delta reads what one choice adds.
func (c *chunk) delta() {
	if c.peek() != '{' {
		c.value()
		return
	}
	for more := c.enter('{'); more; more = c.more('{') {
		switch string(c.key()) {
		case "content", "reasoning", "reasoning_content", "tool_calls", "function_call", "refusal", "audio":
			c.token(c.filled())
		default:
			c.value()
		}
	}
}

func (c *chunk) token(filled bool) { c.out.Token = c.out.Token || filled }

// response reads the Response object inside an event of Responses.
func (c *chunk) response() {
	if c.op != helixflow.OpResponses || c.peek() != '{' {
		c.value()
		return
	}
	start := c.i
	for more := c.enter('{'); more; more = c.more('{') {
		if string(c.key()) == "usage" {
			c.usage()
			continue
		}
		c.value()
	}
	c.out.Response = Span{int32(start), int32(c.i)}
}

// usage reads a usage object and reports whether it is one.
func (c *chunk) usage() bool {
	if c.peek() != '{' {
		c.value()
		return false
	}
	c.out.Usage = c.readUsage()
	c.out.HasUsage = c.out.Usage.Reported
	return true
}
