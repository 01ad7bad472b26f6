package signals

// One line of the text: labels, a value, and perhaps a timestamp.

import (
	"bytes"
	"strconv"
)

// labelSet is what stands between the braces of a series, as it stands there; nil
// for none.
type labelSet []byte

// cutLabels splits what follows a name behind its labels.
func cutLabels(p []byte) (labels labelSet, rest []byte, ok bool) {
	p = trimLeft(p)
	if len(p) == 0 || p[0] != '{' {
		return nil, p, true
	}
	inside := p[1:]
	for rest = inside; ; {
		if rest = trimLeft(rest); len(rest) > 0 && rest[0] == '}' {
			return labelSet(inside[:len(inside)-len(rest)]), rest[1:], true
		}
		if _, _, rest, ok = cutLabel(rest); !ok {
			return nil, nil, false
		}
		if rest = trimLeft(rest); len(rest) > 0 && rest[0] == ',' {
			rest = rest[1:]
		} else if len(rest) == 0 || rest[0] != '}' {
			return nil, nil, false
		}
	}
}

// cutLabel reads name="value". Escapes in the value stay.
func cutLabel(p []byte) (name, value, rest []byte, ok bool) {
	eq := bytes.IndexByte(p, '=')
	if eq <= 0 {
		return nil, nil, nil, false
	}
	name = bytes.TrimRight(p[:eq], " \t")
	p = trimLeft(p[eq+1:])
	if len(name) == 0 || !isLabelName(name) || len(p) == 0 || p[0] != '"' {
		return nil, nil, nil, false
	}
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return name, p[1:i], p[i+1:], true
		}
	}
	return nil, nil, nil, false
}

func isLabelName(p []byte) bool {
	for i, c := range p {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// get returns a label's value, nil when it is not there.
func (l labelSet) get(wanted string) []byte {
	rest := trimLeft(l)
	for len(rest) > 0 {
		name, value, after, ok := cutLabel(rest)
		if !ok {
			return nil
		}
		if string(name) == wanted {
			return value
		}
		rest = trimLeft(after)
		if len(rest) > 0 && rest[0] == ',' {
			rest = trimLeft(rest[1:])
		}
	}
	return nil
}

// isOtherRank reports whether a series is of one of the processes that work on
// the same requests with another one, which tells them too.
func (l labelSet) isOtherRank() bool {
	for _, name := range [...]string{"tp_rank", "pp_rank"} {
		if rank := l.get(name); len(rank) > 0 && string(rank) != "0" {
			return true
		}
	}
	return false
}

// product multiplies the numbers that two labels hold.
func (l labelSet) product(names [2]string) (float64, Trouble) {
	a, trouble := parse(l.get(names[0]))
	if trouble != Fine {
		return 0, trouble
	}
	b, trouble := parse(l.get(names[1]))
	return a * b, trouble
}

// readSample reads the value behind the labels. A timestamp may follow it, and an
// exemplar that one.
func readSample(p []byte) (float64, Trouble) {
	value, rest := cutWord(p)
	v, trouble := parse(value)
	if trouble != Fine {
		return 0, trouble
	}
	stamp, rest := cutWord(rest)
	if len(stamp) == 0 || stamp[0] == '#' {
		return v, Fine
	}
	if !isDecimal(stamp) {
		return 0, Malformed
	}
	if after, _ := cutWord(rest); len(after) > 0 && after[0] != '#' {
		return 0, Malformed
	}
	return v, Fine
}

// cutWord splits behind the first word.
func cutWord(p []byte) (word, rest []byte) {
	p = trimLeft(p)
	for i, c := range p {
		if c == ' ' || c == '\t' {
			return p[:i], p[i:]
		}
	}
	return p, nil
}

const maxNumber = 32 // characters

// parse reads a number that may be a count or a share.
func parse(p []byte) (float64, Trouble) {
	if len(p) == 0 || len(p) > maxNumber {
		return 0, NoNumber
	}
	if !isDecimal(p) {
		return 0, NoNumber // NaN, +Inf and None among them
	}
	v, err := strconv.ParseFloat(string(p), 64)
	switch {
	case err != nil:
		return 0, NoNumber
	case v < 0:
		return 0, Negative
	}
	return v, Fine
}

func isDecimal(p []byte) bool {
	for _, c := range p {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	return true
}
