// Websockets: a request that asks for one, at a path that ends in /realtime or
// /responses, becomes a conversation of frames.

package fakellm

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/helixflow/helixflow/internal/websocket"
)

// maxMessage bounds a message of a peer.
const maxMessage = 64 << 20

// message is what a peer sent.
type message struct {
	op      websocket.Opcode
	payload []byte
}

// isSocket reports whether the request asks for a websocket that is served.
func (r *Request) isSocket() bool {
	path, _, _ := strings.Cut(r.Path, "?")
	return r.Method == "GET" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		(strings.HasSuffix(path, "/realtime") || strings.HasSuffix(path, "/responses"))
}

// readMessages hands on what the peer sends, and notes it as the request's body, a
// line for each text.
func (c *conn) readMessages(r *Request, br *bufio.Reader) error {
	defer close(c.messages)
	var held message
	for {
		h, payload, err := readFrame(br, len(held.payload))
		if err != nil {
			return err
		}
		m := message{h.Opcode, payload}
		if !h.Opcode.IsControl() {
			if h.Opcode != websocket.Continuation {
				held.op = h.Opcode
			}
			held.payload = append(held.payload, payload...)
			if !h.Final {
				continue
			}
			m, held = held, message{}
		}
		if m.op == websocket.Text {
			c.server.note(func() { r.Body += string(m.payload) + "\n" })
		}
		select {
		case c.messages <- m:
		case <-c.gone:
			return nil
		}
	}
}

// readFrame reads one frame and takes its mask off; held is what is there of its
// message.
func readFrame(br *bufio.Reader, held int) (h websocket.Header, payload []byte, err error) {
	size := 0
	for n := 2; size == 0; n++ {
		p, err := br.Peek(n)
		if err != nil {
			return h, nil, err
		}
		if h, size, err = websocket.ParseHeader(p); err != nil {
			return h, nil, err
		}
	}
	_, _ = br.Discard(size)
	if h.Length > int64(maxMessage-held) {
		return h, nil, fmt.Errorf("cannot read a message above %d bytes", maxMessage)
	}
	payload = make([]byte, h.Length)
	if _, err := io.ReadFull(br, payload); err != nil {
		return h, nil, err
	}
	websocket.Mask(payload, h.Key, 0)
	return h, payload, nil
}

// converse answers the handshake and then each message, until one side closes.
func (c *conn) converse(r *Request) {
	c.switched.Store(true)
	head := "HTTP/1.1 101 Switching Protocols\r\nServer: fakellm\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		string(websocket.AppendAccept(nil, []byte(r.Header.Get("Sec-WebSocket-Key")))) + "\r\n"
	if offered := r.Header.Get("Sec-WebSocket-Protocol"); offered != "" {
		first, _, _ := strings.Cut(offered, ",")
		head += "Sec-WebSocket-Protocol: " + first + "\r\n"
	}
	if !c.write(r, []byte(head+"\r\n")) {
		return
	}
	talk := talk{conn: c, request: r}
	if !talk.open() {
		return
	}
	for {
		select {
		case m, ok := <-c.messages:
			if !ok || !talk.answer(m) {
				return
			}
		case <-c.gone:
			return
		}
	}
}

// talk is the server's side of one conversation.
type talk struct {
	*conn

	request *Request
	model   string
	beta    bool // of realtime: events have the names of its beta
	events  int
}

func (t *talk) open() bool {
	path, query, _ := strings.Cut(t.request.Path, "?")
	if strings.HasSuffix(path, "/responses") {
		return true
	}
	values, _ := url.ParseQuery(query)
	t.model = values.Get("model")
	t.beta = strings.Contains(t.request.Header.Get("OpenAI-Beta"), "realtime=v1")
	return t.event("session.created", `"session":`+t.session())
}

func (t *talk) session() string {
	return `{"type":"realtime","object":"realtime.session","id":"sess_fake","model":` + quote(t.model) + `,"output_modalities":["text"]}`
}

// answer answers a message; false says the conversation is over.
func (t *talk) answer(m message) bool {
	switch m.op {
	case websocket.Ping:
		return t.frame(websocket.Pong, m.payload)
	case websocket.Pong:
		return true
	case websocket.Close:
		t.frame(websocket.Close, m.payload)
		t.server.note(func() { t.request.Finished = time.Now() })
		return false
	case websocket.Binary:
		return t.frame(websocket.Binary, m.payload)
	}
	var asked struct {
		Type   string
		Model  string
		Item   json.RawMessage
		Code   int
		Reason string
		Bytes  int
	}
	_ = json.Unmarshal(m.payload, &asked) // what is no event gets an error
	switch asked.Type {
	case "fake.echo":
		return t.frame(websocket.Text, m.payload)
	case "fake.close":
		return t.frame(websocket.Close, append([]byte{byte(asked.Code >> 8), byte(asked.Code)}, asked.Reason...))
	case "fake.bytes":
		return t.frame(websocket.Binary, make([]byte, asked.Bytes))
	case "session.update":
		return t.event("session.updated", `"session":`+t.session())
	case "conversation.item.create":
		return t.event("conversation.item.added", `"item":`+string(asked.Item)) && t.event("conversation.item.done", `"item":`+string(asked.Item))
	case "input_audio_buffer.append":
		return true
	case "response.create":
		if t.model == "" || strings.HasSuffix(t.request.Path, "/responses") {
			t.model = asked.Model
		}
		return t.respond(m.payload)
	}
	return t.event("error", `"error":{"type":"invalid_request_error","code":"unknown_event","message":"scripted: unknown event","param":null,"event_id":null}`)
}

// respond gives a response, as a script in the message wants it.
func (t *talk) respond(text []byte) bool {
	var s Script
	if order, ok := orderIn(text); ok {
		var err error
		if s, err = Parse(order); err != nil {
			return t.event("error", `"error":{"type":"fake_error","code":"bad_script","message":`+quote(err.Error())+`,"param":null}`)
		}
	}
	list := t.script(&s)
	if !t.wait(s.TTFT) {
		return false
	}
	for i, text := range list {
		if i > 0 && !t.wait(s.Gap) {
			return false
		}
		for _, f := range s.Faults {
			if (f.At.Where == AtHead && i == 0 || f.At.Where == AtChunk && f.At.Chunk == i) && !t.act(t.request, f) {
				return false
			}
		}
		if !t.frame(websocket.Text, []byte(text)) {
			return false
		}
	}
	return true
}

// script is the events of one response.
func (t *talk) script(s *Script) (list []string) {
	if !strings.Contains(t.request.Path, "/realtime") {
		for _, e := range s.events(asked{path: "/v1/responses", Model: t.model}) {
			_, data, _ := strings.Cut(e, "\ndata: ")
			list = append(list, data)
		}
		return list
	}
	text := "response.output_text"
	if t.beta {
		text = "response.text"
	}
	const place = `"response_id":"resp_fake","item_id":"item_fake","output_index":0,"content_index":0`
	object := func(status, output, usage string) string {
		return `"response":{"object":"realtime.response","id":"resp_fake","status":"` + status + `","status_details":null,"output":[` + output + `],"usage":` + usage + `}`
	}
	list = append(list, t.line("response.created", object("in_progress", "", "null")))
	n := s.Events
	if n <= 0 {
		n = 3
	}
	whole := ""
	for i := range n {
		piece := fmt.Sprintf("w%d ", i+1)
		whole += piece
		list = append(list, t.line(text+".delta", place+`,"delta":`+quote(piece)))
	}
	item := `{"id":"item_fake","object":"realtime.item","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":` + quote(whole) + `}]}`
	return append(list, t.line(text+".done", place+`,"text":`+quote(whole)),
		t.line("response.done", object("completed", item, `{"total_tokens":10,"input_tokens":7,"output_tokens":3}`)))
}

// line is an event of realtime.
func (t *talk) line(kind, rest string) string {
	t.events++
	return fmt.Sprintf(`{"type":%q,"event_id":"event_%d",%s}`, kind, t.events, rest)
}

func (t *talk) event(kind, rest string) bool {
	return t.frame(websocket.Text, []byte(t.line(kind, rest)))
}

func (t *talk) frame(op websocket.Opcode, payload []byte) bool {
	return t.write(t.request, websocket.AppendFrame(nil, op, payload, false))
}
