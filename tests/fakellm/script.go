// The script language: what one answer of the backend does, parsed from text.

package fakellm

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Framing is how the end of an answer's body is told.
type Framing uint8

// The framings. FramingAuto is chunked for SSE and a length for JSON.
const (
	FramingAuto    Framing = iota
	FramingChunked         // Transfer-Encoding: chunked
	FramingLength          // Content-Length
	FramingEOF             // neither; the connection is closed
)

// Action is what a fault does.
type Action uint8

// The actions.
const (
	Reset Action = iota // close with RST
	Close               // close with FIN
	Stall               // send nothing for a while, or for ever
)

// Fault is an action at a point of the answer.
type Fault struct {
	Do  Action
	For time.Duration // of a Stall; 0 is until the peer leaves, or Resume
	At  Point
}

// Where names the kinds of points.
type Where uint8

// The places a Point counts from.
const (
	AtHead   Where = iota // the first byte of the answer
	AtBody                // the first byte behind the head
	AtChunk               // the end of a chunk
	AtEnd                 // the end of the answer
	AtAccept              // the connection's first moment
)

// Point is a byte position in an answer.
type Point struct {
	Where Where
	Chunk int // of AtChunk: how many chunks are sent before
	Plus  int // bytes behind the place
}

// Script changes one answer. The zero value is the good answer. See the
// package's documentation for its text form.
type Script struct {
	Status  int      // 0 is 200
	Headers []string // "Name:Value", written as they are
	Body    string   // instead of the answer's own
	Form    string   // "json", "sse" or "" for what the request asked
	Events  int      // content events of a stream; 0 is 3

	TTFT, Gap, Drip time.Duration

	Usage, NoUsage bool

	Framing Framing
	HTTP10  bool
	Split   int // bytes per chunk
	Join    int // events per chunk
	Lie     int // added to the Content-Length

	DuplicateLength string // a second Content-Length
	Extra           string // bytes behind the answer
	Trailers        bool
	ConnClose       bool
	Bye             bool // close after the answer, unannounced
	ByeAfter        time.Duration
	Info            int // a 1xx status before the answer
	BigHead         int // bytes of an extra header
	Garbage         bool

	ErrorNull, CRLF, NoBlank, NoDone, NoFinish, Comment, After bool

	Big int // bytes of content in the second event, or in the one message

	Faults []Fault
	Times  int // how often the queue gives it out; 0 is once
}

// Parse reads a script. It never panics, whatever the text.
func Parse(text string) (Script, error) {
	var s Script
	for word := range strings.FieldsFuncSeq(text, isSeparator) {
		if err := s.direct(word); err != nil {
			return Script{}, fmt.Errorf("cannot read script word %q: %w", word, err)
		}
	}
	return s, nil
}

func (s *Script) direct(word string) error {
	name, value, _ := strings.Cut(word, "=")
	if set, ok := directives[name]; ok {
		return set(s, value)
	}
	if strings.Contains(word, "@") {
		return s.addFault(word)
	}
	return fmt.Errorf("no such directive")
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }

// MustParse is Parse for scripts written in tests.
func MustParse(text string) Script {
	s, err := Parse(text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return s
}

// orderIn returns the script ordered in a request's body, if there is one.
func orderIn(body []byte) (text string, found bool) {
	_, rest, found := strings.Cut(string(body), "fake:")
	if !found {
		return "", false
	}
	text, _, found = strings.Cut(rest, ";")
	return text, found
}

// directives is read only.
var directives = map[string]func(s *Script, value string) error{
	"status":    func(s *Script, v string) error { return number(&s.Status, v) },
	"header":    func(s *Script, v string) error { return s.addHeader(v) },
	"body":      func(s *Script, v string) error { return unescape(&s.Body, v) },
	"json":      func(s *Script, _ string) error { s.Form = "json"; return nil },
	"sse":       func(s *Script, _ string) error { s.Form = "sse"; return nil },
	"events":    func(s *Script, v string) error { return number(&s.Events, v) },
	"ttft":      func(s *Script, v string) error { return duration(&s.TTFT, v) },
	"gap":       func(s *Script, v string) error { return duration(&s.Gap, v) },
	"drip":      func(s *Script, v string) error { return duration(&s.Drip, v) },
	"usage":     func(s *Script, _ string) error { s.Usage = true; return nil },
	"nousage":   func(s *Script, _ string) error { s.NoUsage = true; return nil },
	"chunked":   func(s *Script, _ string) error { s.Framing = FramingChunked; return nil },
	"length":    func(s *Script, _ string) error { s.Framing = FramingLength; return nil },
	"eof":       func(s *Script, _ string) error { s.Framing = FramingEOF; return nil },
	"http10":    func(s *Script, _ string) error { s.HTTP10, s.Framing = true, FramingEOF; return nil },
	"split":     func(s *Script, v string) error { return number(&s.Split, v) },
	"join":      func(s *Script, v string) error { return number(&s.Join, v) },
	"lie":       func(s *Script, v string) error { return number(&s.Lie, v) },
	"dupcl":     func(s *Script, v string) error { s.DuplicateLength = v; return nil },
	"extra":     func(s *Script, v string) error { return unescape(&s.Extra, v) },
	"trailers":  func(s *Script, _ string) error { s.Trailers = true; return nil },
	"connclose": func(s *Script, _ string) error { s.ConnClose = true; return nil },
	"bye":       func(s *Script, v string) error { s.Bye = true; return optional(&s.ByeAfter, v) },
	"info":      func(s *Script, v string) error { return number(&s.Info, v) },
	"bighead":   func(s *Script, v string) error { return size(&s.BigHead, v) },
	"garbage":   func(s *Script, _ string) error { s.Garbage = true; return nil },
	"errnull":   func(s *Script, _ string) error { s.ErrorNull = true; return nil },
	"crlf":      func(s *Script, _ string) error { s.CRLF = true; return nil },
	"noblank":   func(s *Script, _ string) error { s.NoBlank = true; return nil },
	"nodone":    func(s *Script, _ string) error { s.NoDone = true; return nil },
	"nofinish":  func(s *Script, _ string) error { s.NoFinish = true; return nil },
	"comment":   func(s *Script, _ string) error { s.Comment = true; return nil },
	"after":     func(s *Script, _ string) error { s.After = true; return nil },
	"big":       func(s *Script, v string) error { return size(&s.Big, v) },
	"times":     func(s *Script, v string) error { return number(&s.Times, v) },
}

func (s *Script) addHeader(v string) error {
	var line string
	if err := unescape(&line, v); err != nil {
		return err
	}
	if !strings.Contains(line, ":") {
		return fmt.Errorf("want Name:Value")
	}
	s.Headers = append(s.Headers, line)
	return nil
}

// addFault reads ACTION[=DURATION]@POINT.
func (s *Script) addFault(word string) error {
	action, point, _ := strings.Cut(word, "@")
	action, wait, _ := strings.Cut(action, "=")
	var f Fault
	switch action {
	case "reset":
		f.Do = Reset
	case "close":
		f.Do = Close
	case "stall":
		f.Do = Stall
	default:
		return fmt.Errorf("no such fault; there are reset, close and stall")
	}
	if err := optional(&f.For, wait); err != nil {
		return err
	}
	if err := f.At.parse(point); err != nil {
		return err
	}
	s.Faults = append(s.Faults, f)
	return nil
}

func (p *Point) parse(text string) error {
	place, plus, hasPlus := strings.Cut(text, "+")
	if hasPlus {
		if err := number(&p.Plus, plus); err != nil {
			return err
		}
	}
	place, count, hasCount := strings.Cut(place, ":")
	switch place {
	case "accept":
		p.Where = AtAccept
	case "head":
		p.Where = AtHead
	case "body":
		p.Where = AtBody
	case "end":
		p.Where = AtEnd
	case "chunk":
		p.Where = AtChunk
		return number(&p.Chunk, count)
	case "byte":
		p.Where = AtHead
		return number(&p.Plus, count)
	default:
		return fmt.Errorf("no such point; there are accept, head, body, chunk:K, byte:N and end")
	}
	if hasCount {
		return fmt.Errorf("%s takes no count", place)
	}
	return nil
}

func number(dst *int, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("want a number")
	}
	*dst = n
	return nil
}

func duration(dst *time.Duration, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return fmt.Errorf("want a duration such as 20ms")
	}
	*dst = d
	return nil
}

func optional(dst *time.Duration, v string) error {
	if v == "" {
		return nil
	}
	return duration(dst, v)
}

func unescape(dst *string, v string) error {
	text, err := url.PathUnescape(v)
	if err != nil {
		return err
	}
	*dst = text
	return nil
}

// size reads 4096, 64KiB or 1MiB, at most 64 MiB.
func size(dst *int, v string) error {
	unit := 1
	if rest, ok := strings.CutSuffix(v, "KiB"); ok {
		v, unit = rest, 1<<10
	} else if rest, ok := strings.CutSuffix(v, "MiB"); ok {
		v, unit = rest, 1<<20
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 64<<20/unit {
		return fmt.Errorf("want a size such as 64KiB, at most 64MiB")
	}
	*dst = n * unit
	return nil
}
