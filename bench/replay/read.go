package replay

// Reading traces: files of others, which may hold anything.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Formats are the names of the formats that Read knows.
func Formats() []string { return []string{"mooncake", "azure", "burstgpt", "access-log"} }

const (
	maxLine     = 1 << 20 // bytes of one line
	maxRequests = 5_000_000
	maxPieces   = 100_000_000 // of all requests together
	maxTokens   = 10_000_000  // of a prompt or of an answer
	maxSeconds  = 1e8         // that a trace lasts: some three years
)

// parser reads the lines of one format. It returns false for a line that tells of
// no request.
type parser interface {
	line(text []byte, r *Request) (ok bool, err error)
}

// Read reads a trace in one of the Formats. Seed decides where requests fall whose
// times the file tells coarsely. Errors name the line.
func Read(from io.Reader, format string, seed uint64) (*Trace, error) {
	t := &Trace{sizes: fixedPieces}
	var p parser
	switch format {
	case "mooncake":
		p = &mooncake{}
	case "azure":
		p = &table{columns: azureColumns, time: azureTime}
	case "burstgpt":
		p = &table{columns: burstColumns, time: burstTime}
	case "access-log":
		p, t.sizes = newAccessLog(), chainPieces
	default:
		return nil, fmt.Errorf("cannot read format %q: the formats are %s", format, strings.Join(Formats(), ", "))
	}
	if err := t.read(from, p); err != nil {
		return nil, err
	}
	t.finish(streamOf(seed, "arrivals"))
	return t, nil
}

func (t *Trace) read(from io.Reader, p parser) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	pieces, number := 0, 0
	for lines.Scan() {
		number++
		text := lines.Bytes()
		if strings.TrimSpace(string(text)) == "" {
			continue
		}
		var r Request
		ok, err := p.line(text, &r)
		if err == nil && ok {
			err = r.check(t.sizes)
		}
		if err != nil {
			return fmt.Errorf("cannot read line %d: %w", number, err)
		}
		if !ok {
			t.Skipped++
			continue
		}
		if pieces += len(r.Pieces); pieces > maxPieces || len(t.Requests) >= maxRequests {
			return fmt.Errorf("cannot read line %d: the trace is too large: at most %d requests and %d pieces of prompts", number, maxRequests, maxPieces)
		}
		t.Requests = append(t.Requests, r)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("cannot read line %d: it is longer than %d bytes", number+1, maxLine)
	} else if err != nil {
		return fmt.Errorf("cannot read line %d: %w", number+1, err)
	}
	if len(t.Requests) == 0 {
		return errors.New("cannot read a request: there is none in the trace")
	}
	return nil
}

// check says what is wrong with a request that came from outside.
func (r *Request) check(sizes func(int) int) error {
	switch {
	case r.Prompt < 1 || r.Prompt > maxTokens:
		return fmt.Errorf("a prompt has from 1 to %d tokens, not %d", maxTokens, r.Prompt)
	case r.Output < 0 || r.Output > maxTokens:
		return fmt.Errorf("an answer has from 0 to %d tokens, not %d", maxTokens, r.Output)
	}
	r.Output = max(r.Output, 1)
	covered := 0
	for i := range r.Pieces {
		if covered >= int(r.Prompt) {
			return fmt.Errorf("%d pieces are more than a prompt of %d tokens has", len(r.Pieces), r.Prompt)
		}
		covered += sizes(i)
	}
	return nil
}

// nanos turns seconds since some beginning into nanoseconds.
func nanos(seconds float64) (int64, error) {
	if !(math.Abs(seconds) <= maxSeconds*100) {
		return 0, errors.New("its time makes no sense")
	}
	return int64(seconds * 1e9), nil
}

// clampTokens keeps what a file says within what check can judge.
func clampTokens(n int64) int32 { return int32(min(max(n, math.MinInt32), math.MaxInt32)) }
