package replay

// Writing traces, in Mooncake's format.

import (
	"bufio"
	"io"
	"strconv"
)

// Write writes a generated trace, or one in that format, as Read reads it: an
// object on a line, times in milliseconds.
func (t *Trace) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	var line []byte
	for i := range t.Requests {
		r := &t.Requests[i]
		line = append(line[:0], `{"timestamp": `...)
		line = strconv.AppendFloat(line, float64(r.At)/1e6, 'f', 3, 64)
		line = append(line, `, "input_length": `...)
		line = strconv.AppendInt(line, int64(r.Prompt), 10)
		line = append(line, `, "output_length": `...)
		line = strconv.AppendInt(line, int64(r.Output), 10)
		if r.Tenant > 0 {
			line = append(line, `, "tenant": "tenant-`...)
			line = append(strconv.AppendInt(line, int64(r.Tenant), 10), '"')
		}
		line = append(line, `, "hash_ids": [`...)
		for j, id := range r.Pieces {
			if j > 0 {
				line = append(line, ", "...)
			}
			line = strconv.AppendUint(line, id, 10)
		}
		if _, err := w.Write(append(line, "]}\n"...)); err != nil {
			return err
		}
	}
	return w.Flush()
}
