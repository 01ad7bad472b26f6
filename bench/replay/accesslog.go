package replay

// The router's own access log as a trace.

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// accessLog reads the lines of the access log. Those that tell of no tokens are
// skipped: requests that were refused, and those to other endpoints.
type accessLog struct {
	tenants names
	began   time.Time
}

func newAccessLog() *accessLog { return &accessLog{} }

type accessLine struct {
	Time   time.Time `json:"time"`
	Tenant string    `json:"tenant"`
	Input  int64     `json:"tokens_in"`
	Output int64     `json:"tokens_out"`
	Prefix string    `json:"prefix_hashes"`
}

func (a *accessLog) line(text []byte, r *Request) (bool, error) {
	var l accessLine
	if err := json.Unmarshal(text, &l); err != nil {
		return false, plain(err)
	}
	if l.Time.IsZero() {
		return false, errors.New("it has no time")
	}
	if l.Input <= 0 {
		return false, nil
	}
	if a.began.IsZero() {
		a.began = l.Time
	}
	since := l.Time.Sub(a.began)
	if since < -maxSeconds*time.Second || since > maxSeconds*time.Second {
		return false, errors.New("its time is too far from the first one's")
	}
	tenant, err := a.tenants.number(l.Tenant)
	if err != nil {
		return false, err
	}
	*r = Request{At: int64(since), Prompt: clampTokens(l.Input), Output: clampTokens(l.Output), Tenant: tenant}
	r.Pieces, err = prefixHashes(l.Prefix)
	// Tokens of the log are the engine's, pieces are of bytes: of a dense prompt
	// there may be a few too many.
	covered := 0
	for i := range r.Pieces {
		if covered >= int(r.Prompt) {
			r.Pieces = r.Pieces[:i]
			break
		}
		covered += chainPieces(i)
	}
	return true, err
}

// hashDigits is how many digits the log writes of a block's hash.
const hashDigits = 8

// prefixHashes are the numbers the log writes one after another.
func prefixHashes(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	if len(text)%hashDigits != 0 {
		return nil, errors.New("prefix_hashes is no row of hashes of 8 digits")
	}
	list := make([]uint64, 0, len(text)/hashDigits)
	for ; len(text) > 0; text = text[hashDigits:] {
		h, err := strconv.ParseUint(text[:hashDigits], 16, 32)
		if err != nil {
			return nil, errors.New("prefix_hashes is no row of hashes of 8 digits")
		}
		list = append(list, h)
	}
	return list, nil
}

// chainPieces is how many tokens block i of the prefix index's chain has: 256 bytes
// up to 4 KiB, 1 KiB up to 64 KiB, 4 KiB beyond.
func chainPieces(i int) int {
	switch {
	case i < 16:
		return 256 / bytesPerToken
	case i < 16+60:
		return 1024 / bytesPerToken
	}
	return 4096 / bytesPerToken
}
