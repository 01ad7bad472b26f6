package metric

// Counters by status code, bounded in number.

import "sync/atomic"

// codes are the values of the label "code". The first two stand for no answer
// and for every status outside the list, so that a backend which invents
// statuses makes no series.
var codes = [...]struct {
	status int
	label  string
}{
	{0, "none"},
	{0, "other"},
	{101, "101"},
	{200, "200"},
	{201, "201"},
	{204, "204"},
	{301, "301"},
	{302, "302"},
	{307, "307"},
	{308, "308"},
	{400, "400"},
	{401, "401"},
	{402, "402"},
	{403, "403"},
	{404, "404"},
	{405, "405"},
	{408, "408"},
	{409, "409"},
	{413, "413"},
	{415, "415"},
	{421, "421"},
	{422, "422"},
	{424, "424"},
	{425, "425"},
	{429, "429"},
	{431, "431"},
	{499, "499"},
	{500, "500"},
	{501, "501"},
	{502, "502"},
	{503, "503"},
	{504, "504"},
	{529, "529"},
}

// The first two rows of codes.
const (
	codeNone  = 0
	codeOther = 1
)

// codeIndexes leads from a status to its row in codes.
var codeIndexes = func() (table [600]uint8) {
	for status := range table {
		table[status] = codeOther
	}
	for i, c := range codes {
		if c.status != 0 {
			table[c.status] = uint8(i)
		}
	}
	table[0] = codeNone
	return table
}()

// codeCounts is one counter per row of codes. Counting costs a load and an
// atomic add; only counters that moved are written.
type codeCounts [len(codes)]atomic.Uint64

func (c *codeCounts) count(status int) {
	i := uint8(codeOther)
	if uint(status) < uint(len(codeIndexes)) {
		i = codeIndexes[status]
	}
	c[i].Add(1)
}

func (c *codeCounts) write(t *text, name string, labels ...string) {
	for i := range c {
		if n := c[i].Load(); n > 0 {
			t.sample(name, n, append(labels[:len(labels):len(labels)], "code", codes[i].label)...)
		}
	}
}
