// From a script to the bytes on the wire: pieces with delays between, and the
// offsets at which faults strike.

package fakellm

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// piece is what one write sends, after a wait.
type piece struct {
	wait time.Duration
	data []byte
}

// cut is a fault with its point resolved.
type cut struct {
	Fault

	offset int // bytes of the answer sent before it strikes
}

// wire is a whole answer.
type wire struct {
	pieces []piece
	cuts   []cut // by offset
	close  bool  // close the connection behind the answer
}

// render makes the answer to a request.
func (s *Script) render(a asked) wire {
	if s.Garbage {
		return s.finish([]piece{{s.TTFT, []byte("\x16\x03\x01 this is no HTTP\r\n\r\n")}}, 1, true)
	}
	stream := s.streams(a)
	framing := s.Framing
	if framing == FramingAuto {
		framing = FramingLength
		if stream {
			framing = FramingChunked
		}
	}
	chunks := s.chunks(a, stream)
	total := 0
	for _, c := range chunks {
		total += len(c)
	}
	pieces := []piece{{s.TTFT, s.head(stream, framing, total)}}
	for i, c := range chunks {
		if framing == FramingChunked {
			c = fmt.Sprintf("%x\r\n%s\r\n", len(c), c)
		}
		wait := s.Gap
		if i == 0 {
			wait = 0
		}
		pieces = append(pieces, piece{wait, []byte(c)})
	}
	bodyEnd := len(pieces)
	if framing == FramingChunked {
		pieces = append(pieces, piece{0, []byte("0\r\n" + s.trailer() + "\r\n")})
	}
	if s.Extra != "" {
		// In one write: whoever read the answer to its end has these bytes, too.
		last := &pieces[len(pieces)-1]
		last.data = append(last.data, s.Extra...)
	}
	return s.finish(pieces, bodyEnd, s.ConnClose || s.Bye || framing == FramingEOF)
}

func (s *Script) streams(a asked) bool {
	if s.Form != "" {
		return s.Form == "sse"
	}
	return a.Stream && (s.Status == 0 || s.Status == http.StatusOK) && s.Body == ""
}

// chunks returns the body in the pieces it is sent in.
func (s *Script) chunks(a asked, stream bool) []string {
	body := s.Body
	switch {
	case body != "":
	case stream:
		return s.streamChunks(a)
	case s.Status >= 400:
		body = failure(s.Status)
	default:
		body = unary(a)
		if s.Big > 0 {
			body = strings.Replace(body, `"w1 w2 w3 "`, quote(strings.Repeat("x", s.Big)), 1)
		}
	}
	part := s.Split
	if part <= 0 {
		part = len(body)/3 + 1
	}
	return splitEvery(body, part)
}

func (s *Script) streamChunks(a asked) []string {
	end := "\n"
	if s.CRLF {
		end = "\r\n"
	}
	var list []string
	events := s.events(a)
	for i, e := range events {
		text := strings.ReplaceAll(e, "\n", end) + end
		if !s.NoBlank || i < len(events)-1 {
			text += end
		}
		if s.Comment {
			text = ": comment" + end + end + text
		}
		list = append(list, text)
	}
	switch {
	case s.Split > 0:
		return splitEvery(strings.Join(list, ""), s.Split)
	case s.Join > 1:
		var joined []string
		for group := range slices.Chunk(list, s.Join) {
			joined = append(joined, strings.Join(group, ""))
		}
		return joined
	}
	return list
}

func splitEvery(text string, n int) []string {
	var list []string
	for len(text) > n {
		list, text = append(list, text[:n]), text[n:]
	}
	return append(list, text)
}

func (s *Script) head(stream bool, framing Framing, total int) []byte {
	var b strings.Builder
	if s.Info != 0 {
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nX-Info: yes\r\n\r\n", s.Info, http.StatusText(s.Info))
	}
	status, version := s.Status, "1.1"
	if status == 0 {
		status = http.StatusOK
	}
	if s.HTTP10 {
		version = "1.0"
	}
	fmt.Fprintf(&b, "HTTP/%s %d %s\r\nServer: fakellm\r\n", version, status, http.StatusText(status))
	if !slices.ContainsFunc(s.Headers, isContentType) {
		kind := "application/json"
		if stream {
			kind = "text/event-stream"
		}
		fmt.Fprintf(&b, "Content-Type: %s\r\n", kind)
	}
	switch framing {
	case FramingChunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case FramingLength:
		b.WriteString("Content-Length: " + strconv.Itoa(total+s.Lie) + "\r\n")
	}
	if s.DuplicateLength != "" {
		b.WriteString("Content-Length: " + s.DuplicateLength + "\r\n")
	}
	if s.ConnClose {
		b.WriteString("Connection: close\r\n")
	}
	for _, h := range s.Headers {
		b.WriteString(h + "\r\n")
	}
	if s.BigHead > 0 {
		b.WriteString("X-Big: " + strings.Repeat("x", s.BigHead) + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

func isContentType(line string) bool {
	name, _, _ := strings.Cut(line, ":")
	return strings.EqualFold(name, "content-type")
}

func (s *Script) trailer() string {
	if !s.Trailers {
		return ""
	}
	return "X-Trailer: yes\r\n"
}

// finish resolves the faults; pieces[1:bodyEnd] are the body's chunks.
func (s *Script) finish(pieces []piece, bodyEnd int, closes bool) wire {
	ends := make([]int, len(pieces)) // ends[i]: bytes sent with piece i
	sum := 0
	for i, p := range pieces {
		sum += len(p.data)
		ends[i] = sum
	}
	w := wire{pieces: pieces, close: closes}
	for _, f := range s.Faults {
		c := cut{Fault: f, offset: f.At.Plus}
		switch f.At.Where {
		case AtAccept:
			continue
		case AtBody:
			c.offset += ends[0]
		case AtChunk:
			c.offset += ends[min(max(f.At.Chunk, 0), bodyEnd-1)]
		case AtEnd:
			c.offset = sum
		}
		c.offset = min(max(c.offset, 0), sum)
		w.cuts = append(w.cuts, c)
	}
	slices.SortStableFunc(w.cuts, func(a, b cut) int { return a.offset - b.offset })
	return w
}
