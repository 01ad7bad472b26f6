// Measure: how much of a request its model reads.

package openai

import "bytes"

var base64Marker = []byte(";base64,")

// Measure returns how many bytes of value, raw JSON, are text, and how many
// images and the like stand in it as base64 data URLs, which are no text. It does
// not allocate. Keys and punctuation count as text: what comes of them is learned
// with the rest.
func Measure(value []byte) (text, embedded int64) {
	for len(value) > 0 {
		before, data, rest := CutEmbedded(value)
		text += int64(len(before))
		if data != nil {
			embedded++
		}
		value = rest
	}
	return text, embedded
}

// CutEmbedded cuts value, raw JSON, around the first base64 data URL in it: what
// stands before the data, the data, and what is behind. Without one all of value
// is before, and data nil. The results are parts of value.
func CutEmbedded(value []byte) (before, data, rest []byte) {
	i := bytes.Index(value, base64Marker)
	if i < 0 {
		return value, nil, nil
	}
	i += len(base64Marker)
	end := bytes.IndexByte(value[i:], '"')
	if end < 0 {
		end = len(value) - i
	}
	return value[:i:i], value[i : i+end : i+end], value[i+end:]
}

// CutBatch cuts value, the raw JSON of a prompt or an input, behind the first one
// when it is several: an array that begins with a string or an array. Of
// everything else all is first.
func CutBatch(value []byte) (first, rest []byte) {
	if len(value) == 0 || value[0] != '[' {
		return value, nil
	}
	i := skipSpace(value, 1)
	if i == len(value) || value[i] != '"' && value[i] != '[' {
		return value, nil
	}
	end, why := skipValue(value, i)
	if why != sound {
		return value, nil
	}
	return value[:end:end], value[end:]
}
