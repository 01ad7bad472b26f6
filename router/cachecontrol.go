package router

import (
	"bytes"
	"time"
)

// This file reads what a client says about answers from the cache: the
// Cache-Control of its request (RFC 9111, section 5.2.1).

// cacheControl is the directives that mean something here.
type cacheControl struct {
	given        bool // the header came
	noCache      bool // a new answer, which may be kept
	noStore      bool // likewise, and it may not
	onlyIfCached bool
	aged         bool // of at most maxAge
	maxAge       time.Duration
}

// read takes in one line of the header. Of a directive that makes no sense the
// strictest reading counts.
func (c *cacheControl) read(v []byte) {
	c.given = true
	for directive := range bytes.SplitSeq(v, []byte(",")) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(directive), []byte("="))
		switch {
		case bytes.EqualFold(name, []byte("no-cache")):
			c.noCache = true
		case bytes.EqualFold(name, []byte("no-store")):
			c.noStore = true
		case bytes.EqualFold(name, []byte("only-if-cached")):
			c.onlyIfCached = true
		case bytes.EqualFold(name, []byte("max-age")):
			age := deltaSeconds(bytes.Trim(value, `"`))
			if !c.aged || age < c.maxAge {
				c.aged, c.maxAge = true, age
			}
		}
	}
}

// deltaSeconds reads a number of seconds (RFC 9111, section 1.2.2); 0 for what is
// none.
func deltaSeconds(v []byte) time.Duration {
	const most = 1 << 31
	s := int64(0)
	for _, b := range v {
		if b < '0' || b > '9' {
			return 0
		}
		s = min(s*10+int64(b-'0'), most)
	}
	return time.Duration(s) * time.Second
}
