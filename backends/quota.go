package backends

// What a hosted API says with its answers is left of a quota.

import (
	"math"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// quotas are the headers that come in pairs: OpenAI's names, which others took
// over, and Anthropic's.
var quotas = [...]struct{ limit, remaining string }{
	{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests"},
	{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens"},
	{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining"},
	{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining"},
}

// ReadQuota notes what the head of an answer says is left of a quota. The
// scarcest one counts. It does not allocate.
func (ep *Endpoint) ReadQuota(head *fasthttp.ResponseHeader, now time.Time) {
	used := -1.0
	for i := range quotas {
		limit, ok := headerNumber(head.Peek(quotas[i].limit))
		if !ok || limit == 0 {
			continue
		}
		left, ok := headerNumber(head.Peek(quotas[i].remaining))
		if ok && left <= limit {
			used = max(used, 1-left/limit)
		}
	}
	if used >= 0 {
		ep.Signals.SetQuota(used, int64(ep.pool.tick(now)))
	}
}

// headerNumber reads a whole number that is not negative.
func headerNumber(p []byte) (float64, bool) {
	if len(p) == 0 || len(p) > 15 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p), 10, 64)
	return float64(n), err == nil && n < math.MaxInt64
}
