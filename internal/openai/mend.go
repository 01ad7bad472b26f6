// Mending: answers that are nearly what clients know, with the few bytes changed
// that they stumble over.

package openai

import (
	"bytes"
	"strconv"

	"github.com/helixflow/helixflow"
)

// finishReasonOf returns OpenAI's word, in quotes, for a reason to finish that an
// engine calls otherwise: TGI as its own API does, and adapters as the APIs they
// translate. It is empty for any other value. value has its quotes.
func finishReasonOf(value []byte) string {
	switch string(value) {
	case `"eos_token"`, `"stop_sequence"`, `"end_turn"`, `"eos"`:
		return `"stop"`
	case `"max_tokens"`:
		return `"length"`
	case `"tool_use"`:
		return `"tool_calls"`
	}
	return ""
}

// AppendMended appends the event ev, which ReadEvent found Odd, as clients know
// it: an error as the frame that AppendErrorFrame describes; of any other event all
// but the top-level "error":null with one comma beside it, "finish_reason" null
// where it is "", and the name clients know where it has another.
func AppendMended(dst, ev []byte, op helixflow.Op, or FaultDefault, sequence int64) []byte {
	var e Event
	if ReadEvent(ev, op, &e); e.Failed {
		f := EventFault(ev)
		return f.AppendFrame(dst, op, or, sequence)
	}
	data := fields(ev).data
	m := mender{walker: walker{b: ev[:data.End], i: int(data.Start)}, dst: dst, blank: true}
	m.root()
	return append(m.dst, ev[m.done:]...)
}

// AppendMendedAnswer appends a whole answer that ReadAnswer found Odd, with the
// reasons to finish as clients know them.
func AppendMendedAnswer(dst, body []byte) []byte {
	m := mender{walker: walker{b: body}, dst: dst}
	m.root()
	return append(m.dst, body[m.done:]...)
}

// AppendAsStream appends the stream that a whole answer to chat/completions or
// completions would have been: one chunk with all of it, and the end. ReadAnswer
// must have found body Choices.
func AppendAsStream(dst, body []byte, op helixflow.Op) []byte {
	dst = append(dst, "data: "...)
	begin := len(dst)
	m := mender{walker: walker{b: body}, dst: dst, chunk: op == helixflow.OpChatCompletions}
	m.root()
	dst = oneLine(append(m.dst, bytes.TrimRight(body[m.done:], " \t\r\n")...), begin)
	return append(dst, "\n\ndata: [DONE]\n\n"...)
}

// mender copies b to dst with replacements, in one walk.
type mender struct {
	walker
	dst   []byte
	done  int  // all of b before it is in dst, or replaced
	blank bool // an empty finish_reason means none yet
	chunk bool // a whole chat completion becomes a chunk of one
	cut   bool // "error":null was taken out: once, for what stands twice is not mended
}

func (m *mender) replace(start, end int32, with string) {
	m.dst = append(append(m.dst, m.b[m.done:start]...), with...)
	m.done = int(end)
}

func (m *mender) root() {
	for more := m.enter('{'); more; more = m.more('{') {
		switch string(m.key()) {
		case "error":
			m.errorNull()
		case "choices":
			m.choices()
		case "object":
			if v := m.value(); m.chunk && !m.bad {
				m.replace(v.Start, v.End, `"chat.completion.chunk"`)
			}
		default:
			m.value()
		}
	}
}

// errorNull takes the member "error" out if it is null, with the comma behind it
// or else the one before.
func (m *mender) errorNull() {
	start := m.keyAt
	if m.peek() != 'n' || m.cut || !m.blank && !m.chunk {
		m.value()
		return
	}
	end := int(m.value().End)
	if m.peek() == ',' {
		end = m.i + 1
	} else {
		before := start - 1
		for before >= 0 && isSpace(m.b[before]) {
			before--
		}
		if before >= 0 && m.b[before] == ',' {
			start = before
		}
	}
	m.replace(int32(start), int32(end), "")
	m.cut = true
}

func (m *mender) choices() {
	if m.peek() != '[' {
		m.value()
		return
	}
	for more := m.enter('['); more; more = m.more('[') {
		if m.peek() != '{' {
			m.value()
			continue
		}
		for more := m.enter('{'); more; more = m.more('{') {
			switch string(m.key()) {
			case "finish_reason":
				m.finish(m.value())
			case "message":
				m.message()
			default:
				m.value()
			}
		}
	}
}

func (m *mender) finish(v Span) {
	if m.bad {
		return
	}
	raw := v.In(m.b)
	if with := finishReasonOf(raw); with != "" {
		m.replace(v.Start, v.End, with)
	} else if m.blank && string(raw) == `""` {
		m.replace(v.Start, v.End, "null")
	}
}

// message makes a whole message what a chunk adds: under "delta", its tool calls
// numbered.
func (m *mender) message() {
	if !m.chunk || m.peek() != '{' {
		m.value()
		return
	}
	m.replace(int32(m.keyAt), int32(m.keyAt)+int32(len(`"message"`)), `"delta"`)
	for more := m.enter('{'); more; more = m.more('{') {
		if string(m.key()) == "tool_calls" && m.peek() == '[' {
			m.toolCalls()
			continue
		}
		m.value()
	}
}

func (m *mender) toolCalls() {
	n := 0
	for more := m.enter('['); more; more = m.more('[') {
		if m.peek() != '{' {
			m.value()
			continue
		}
		start, numbered, empty := int32(m.i)+1, false, true
		for more := m.enter('{'); more; more = m.more('{') {
			empty = false
			numbered = numbered || string(m.key()) == "index"
			m.value()
		}
		if !numbered && !empty && !m.bad {
			m.replace(start, start, `"index":`+strconv.Itoa(n)+`,`)
		}
		n++
	}
}
