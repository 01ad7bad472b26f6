package sim

// Prompts: the text the model would read, its length in tokens and the hashes of
// its KV blocks.

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// bytesPerToken is the simulated tokenizer.
const bytesPerToken = 4

// prompt is one sequence's input.
type prompt struct {
	tokens int
	blocks []uint64
	digest uint64 // of the whole, the tail after the last full block included
	text   string // where orders stand; only the last user's words of a chat
}

// textPrompt makes a prompt of text under a root hash that keeps models apart.
func textPrompt(root uint64, text string) prompt {
	p := prompt{tokens: max(1, (len(text)+bytesPerToken-1)/bytesPerToken), text: text, digest: root}
	const full = BlockTokens * bytesPerToken
	p.blocks = make([]uint64, 0, len(text)/full)
	for ; len(text) >= full; text = text[full:] {
		p.digest = chain(p.digest, text[:full])
		p.blocks = append(p.blocks, p.digest)
	}
	p.digest = chain(p.digest, text)
	return p
}

// idPrompt makes a prompt of token ids.
func idPrompt(root uint64, ids []int64) prompt {
	p := prompt{tokens: max(1, len(ids)), digest: root}
	for i, id := range ids {
		p.digest = nonzero(mix(p.digest ^ uint64(id)))
		if (i+1)%BlockTokens == 0 {
			p.blocks = append(p.blocks, p.digest)
		}
	}
	return p
}

// chain hashes piece after what prev stands for. Never 0. It is for telling test
// prompts apart, not for keeping enemies out.
func chain(prev uint64, piece string) uint64 {
	h := mix(prev ^ uint64(len(piece)))
	var word [8]byte
	for len(piece) > 0 {
		n := copy(word[:], piece)
		clear(word[n:])
		h = mix(h ^ binary.LittleEndian.Uint64(word[:]))
		piece = piece[n:]
	}
	return nonzero(h)
}

func nonzero(h uint64) uint64 { return max(h, 1) }

// message is a chat message or an item of a Responses input.
type message struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

// isToolResult reports whether the message brings what a tool returned.
func (m *message) isToolResult() bool {
	return m.Role == "tool" || m.Type == "function_call_output"
}

// chatPrompt renders messages as a chat template would. answered says that the
// last one is a tool's result.
func chatPrompt(root uint64, preamble string, messages []message) (p prompt, answered bool, err error) {
	var all strings.Builder
	all.WriteString(preamble)
	orders := ""
	for i, m := range messages {
		text, err := contentText(m.Content)
		if err != nil {
			return prompt{}, false, fmt.Errorf("message %d: %w", i, err)
		}
		if m.Role == "user" {
			orders = text
		}
		output, err := contentText(m.Output)
		if err != nil {
			return prompt{}, false, fmt.Errorf("message %d: %w", i, err)
		}
		for _, piece := range []string{"<|", m.Role, m.Type, "|>", m.Name, text, string(m.ToolCalls), m.Arguments, output, "\n"} {
			all.WriteString(piece)
		}
		answered = m.isToolResult()
	}
	p = textPrompt(root, all.String())
	p.text = orders
	return p, answered, nil
}

// contentText returns the text of a string, of null or of a list of parts.
func contentText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] == 'n' {
		return "", nil
	}
	if raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", fmt.Errorf("content is neither a string nor a list of parts")
	}
	var all strings.Builder
	for _, part := range parts {
		if part.Text != nil {
			all.WriteString(*part.Text)
		} else {
			all.WriteString("<" + part.Type + ">")
		}
	}
	return all.String(), nil
}

// plainPrompts reads a string, a list of strings, a list of token ids or a list
// of such lists.
func plainPrompts(root uint64, raw json.RawMessage) ([]prompt, error) {
	if len(raw) == 0 || raw[0] == 'n' {
		return nil, fmt.Errorf("it is missing")
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []prompt{textPrompt(root, one)}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return nil, fmt.Errorf("it must be a string or a non-empty list")
	}
	if list[0][0] != '"' && list[0][0] != '[' && list[0][0] != '{' {
		var ids []int64
		if err := json.Unmarshal(raw, &ids); err != nil {
			return nil, fmt.Errorf("its token ids are not all whole numbers")
		}
		return []prompt{idPrompt(root, ids)}, nil
	}
	prompts := make([]prompt, 0, len(list))
	for i, item := range list {
		var ids []int64
		var part message
		switch text := ""; {
		case json.Unmarshal(item, &text) == nil:
			prompts = append(prompts, textPrompt(root, text))
		case json.Unmarshal(item, &ids) == nil:
			prompts = append(prompts, idPrompt(root, ids))
		case json.Unmarshal(item, &part) == nil: // moderations take image and text parts
			text, err := contentText(json.RawMessage("[" + string(item) + "]"))
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			prompts = append(prompts, textPrompt(root, text))
		default:
			return nil, fmt.Errorf("item %d is neither a string nor a list of token ids", i)
		}
	}
	return prompts, nil
}
