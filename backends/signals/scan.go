package signals

// The scanner: line by line through the text, looking at names only.

import (
	"bytes"
	"errors"
)

const (
	// MaxText is the longest text that is read. vLLM's is 100 KB or so.
	MaxText = 8 << 20

	maxLine     = 4 << 10 // of a line that is wanted; others may be as long as they like
	maxSeries   = 64      // of one family; as many engines behind one backend
	maxFamilies = 16      // of one preset
)

// ErrTooLong says that a text is longer than MaxText.
var ErrTooLong = errors.New("the text is longer than 8 MiB")

// Scanner finds the families of one preset in a text. Make it with NewScanner; use
// it again after Reset.
type Scanner struct {
	preset *Preset
	sums   [maxFamilies]tally
	read   int

	adapters adapters

	line []byte // the beginning of a line whose end did not come yet
	over bool   // that line is longer than maxLine
}

// tally is what was found of one family.
type tally struct {
	value   float64
	n       int
	trouble Trouble
	seen    [maxSeries]uint64 // hashes of the labels of each series
}

// NewScanner returns a scanner for p.
func NewScanner(p *Preset) *Scanner {
	if len(p.families) > maxFamilies {
		panic("BUG: a preset with more families than a scanner counts")
	}
	return &Scanner{preset: p, line: make([]byte, 0, maxLine)}
}

// Reset forgets the text.
func (s *Scanner) Reset() {
	for i := range s.preset.families {
		t := &s.sums[i]
		t.value, t.n, t.trouble = 0, 0, 0
	}
	s.adapters.reset()
	s.read, s.line, s.over = 0, s.line[:0], false
}

// Feed takes the next bytes of the text. The error is ErrTooLong.
func (s *Scanner) Feed(p []byte) error {
	if s.read += len(p); s.read > MaxText {
		return ErrTooLong
	}
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		switch {
		case end < 0:
			s.keep(p)
			return nil
		case len(s.line) == 0 && end <= maxLine:
			s.look(p[:end])
		default:
			s.keep(p[:end])
			s.endLine()
		}
		p = p[end+1:]
	}
	return nil
}

// keep gathers a line that comes in several pieces.
func (s *Scanner) keep(p []byte) {
	if room := maxLine - len(s.line); len(p) > room {
		p, s.over = p[:room], true
	}
	s.line = append(s.line, p...)
}

func (s *Scanner) endLine() {
	if s.over {
		s.tooLong(s.line)
	} else {
		s.look(s.line)
	}
	s.line, s.over = s.line[:0], false
}

// tooLong notes a line that is not read: what it tells is not known then.
func (s *Scanner) tooLong(line []byte) {
	name, _ := cutName(trimLeft(line))
	for i := range s.preset.families {
		if sameName(s.preset.families[i].name, name) {
			s.sums[i].fail(Malformed)
		}
	}
	if s.preset.adapters != "" && sameName(s.preset.adapters, name) {
		s.adapters.trouble = Malformed
	}
}

// look reads one line. Most are of no interest, and their name says so.
func (s *Scanner) look(line []byte) {
	line = bytes.TrimSuffix(trimLeft(line), []byte("\r"))
	if len(line) == 0 || line[0] == '#' {
		return
	}
	name, rest := cutName(line)
	for i := range s.preset.families {
		if f := &s.preset.families[i]; sameName(f.name, name) {
			s.sums[i].add(f, rest)
		}
	}
	if s.preset.adapters != "" && sameName(s.preset.adapters, name) {
		s.adapters.add(rest)
	}
}

// add reads the rest of a line that may be of the family.
func (t *tally) add(f *family, rest []byte) {
	labels, rest, ok := cutLabels(rest)
	if !ok {
		t.fail(Malformed)
		return
	}
	if f.label != "" && string(labels.get(f.label)) != f.is || labels.isOtherRank() {
		return
	}
	value, trouble := readSample(rest)
	if f.product[0] != "" && trouble == Fine {
		value, trouble = labels.product(f.product)
	}
	if trouble == Fine && value > most[f.meaning] {
		trouble = OutOfRange
	}
	if trouble != Fine {
		t.fail(trouble)
		return
	}
	t.count(hash(labels), value)
}

// count adds a series that was not told before.
func (t *tally) count(series uint64, value float64) {
	if t.n == maxSeries {
		t.fail(TooMany)
		return
	}
	for _, h := range t.seen[:t.n] {
		if h == series {
			t.fail(Twice)
			return
		}
	}
	t.seen[t.n] = series
	t.n++
	t.value += value
}

// fail notes the first thing that was wrong.
func (t *tally) fail(why Trouble) {
	if t.trouble == Fine {
		t.trouble = why
	}
}

// cutName splits a line behind its name.
func cutName(line []byte) (name, rest []byte) {
	for i, c := range line {
		if c == '{' || c == ' ' || c == '\t' {
			return line[:i], line[i:]
		}
	}
	return line, nil
}

// sameName compares a name of ours with one of a text: a : in ours may be a _
// there, and a _total at the end of either does not count.
func sameName(ours string, theirs []byte) bool {
	const total = "_total"
	if n := len(ours) - len(total); n > 0 && ours[n:] == total {
		ours = ours[:n]
	}
	if n := len(theirs) - len(total); n > 0 && string(theirs[n:]) == total {
		theirs = theirs[:n]
	}
	if len(ours) != len(theirs) || ours[len(ours)-1] != theirs[len(theirs)-1] {
		return false
	}
	for i := range len(ours) {
		if c := theirs[i]; c != ours[i] && (c != '_' || ours[i] != ':') {
			return false
		}
	}
	return true
}

func trimLeft(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	return p
}

// hash is FNV-1a.
func hash(p []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range p {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
