// Measure: how much of a request its model reads.

package openai

import "bytes"

var base64Marker = []byte(";base64,")

// Measure returns how many bytes of value, raw JSON, are text, and how many
// images and the like stand in it as base64 data URLs, which are no text. It does
// not allocate. Keys and punctuation count as text: what comes of them is learned
// with the rest.
func Measure(value []byte) (text, embedded int64) {
	for {
		i := bytes.Index(value, base64Marker)
		if i < 0 {
			return text + int64(len(value)), embedded
		}
		i += len(base64Marker)
		text += int64(i)
		embedded++
		end := bytes.IndexByte(value[i:], '"')
		if end < 0 {
			return text, embedded
		}
		value = value[i+end:]
	}
}
