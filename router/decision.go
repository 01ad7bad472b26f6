package router

import (
	"encoding/hex"
	"strconv"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file tells a caller how its request was routed, if it asks and its key may:
// backends and pools are nobody else's business.

// explainHeader asks for it; in fasthttp's normal form.
const explainHeader = "X-Helixflow-Explain"

// failedIn is where a try failed, for programs.
var failedIn = [...]string{
	backends.PhaseConnect: "connect", backends.PhaseSend: "send", backends.PhaseWait: "wait",
	backends.PhaseHead: "head", backends.PhaseBody: "body",
}

// wantsDecision reports whether the caller asks how it was routed, and may.
func (e *Exchange) wantsDecision() bool {
	p := e.principal
	return p != nil && p.Debug && string(e.conn.head.Peek(explainHeader)) == "1"
}

// appendDecision appends the decision as a dictionary of structured fields (RFC
// 9651, 3.2). What is not known is left out: a request that found no model has no
// pool, one that no backend answered has the last that was tried.
func (e *Exchange) appendDecision(dst []byte) []byte {
	if !e.wantsDecision() {
		return dst
	}
	dst = append(dst, helixflow.HeaderDecision+": attempts="...)
	dst = strconv.AppendInt(dst, int64(e.tries), 10)
	if e.name != nil {
		dst = appendMember(dst, "model", e.name.route.model)
	}
	if p := e.answeredBy(); p != nil {
		dst = appendMember(dst, "pool", p.name)
		dst = appendMember(dst, "balance", p.policy.Name())
	}
	if e.name != nil && e.prepared != nil {
		dst = append(dst, ", priority="...)
		dst = strconv.AppendInt(dst, int64(e.name.route.priorityOf(e.prepared)), 10)
	}
	if e.known.result != metric.CacheUnused {
		dst = appendMember(dst, "cache", e.known.result.String())
	}
	if e.known.key.Digest != (cache.Digest{}) {
		dst = append(dst, `, cache_key="`...)
		dst = append(hex.AppendEncode(dst, e.known.key.Digest[:]), '"')
	}
	if e.backend != "" {
		dst = appendMember(dst, "backend", e.backend)
	}
	dst = e.appendChoice(dst)
	if e.hedged != hedgeNone {
		dst = appendMember(dst, "hedge", e.hedged.String())
	}
	if e.failure != nil {
		dst = appendMember(dst, "failed", failedIn[e.failure.Phase])
	}
	if e.problem != nil {
		dst = appendMember(dst, "problem", e.problem.Kind.String())
	}
	return append(dst, "\r\n"...)
}

// answeredBy is the pool of the backend that answers; nil for none, or where another
// one asked it.
func (e *Exchange) answeredBy() *Pool {
	switch {
	case e.attempt != nil:
		return e.attempt.pool
	case e.flown() != nil && e.seat.first:
		return e.seat.flight.course.pool // which does not change any more
	}
	return nil
}

// appendChoice appends why the backend was chosen, and by which figures: seconds,
// and tokens of the prompt.
func (e *Exchange) appendChoice(dst []byte) []byte {
	if e.chosenBy == "" {
		return dst
	}
	d := &e.decision
	dst = appendMember(dst, "reason", d.Reason.String())
	if !d.Costed {
		return dst
	}
	dst = append(dst, ", hit="...)
	dst = strconv.AppendInt(dst, d.Hit, 10)
	dst = appendSeconds(append(dst, ", ahead="...), d.Wait)
	dst = appendSeconds(append(dst, ", cost="...), d.Cost)
	if d.Next >= 0 {
		dst = appendSeconds(append(dst, ", second="...), d.Second)
	}
	return dst
}

// appendSeconds appends a decimal (RFC 9651, 3.3.2): three places, and no more than
// twelve before them.
func appendSeconds(dst []byte, s float64) []byte {
	return strconv.AppendFloat(dst, min(max(s, 0), 1e9), 'f', 3, 64)
}

// priorityOf is the rank of a target's priority, from 1.
func (r *Route) priorityOf(t *target) int {
	for i, g := range r.groups {
		for j := g.first; j < g.end; j++ {
			if &r.targets[j] == t {
				return i + 1
			}
		}
	}
	return 0
}

// appendMember appends a member of a dictionary whose value is text: a string
// where it is ASCII, else a display string (RFC 9651, 3.3.3 and 3.3.8).
func appendMember(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ", "...), name...), '=')
	plain := true
	for i := range len(value) {
		plain = plain && value[i] >= ' ' && value[i] <= '~'
	}
	if !plain {
		dst = append(dst, '%')
	}
	dst = append(dst, '"')
	for i := range len(value) {
		switch c := value[i]; {
		case !plain && (c < ' ' || c > '~' || c == '%' || c == '"'):
			const digits = "0123456789abcdef"
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		case plain && (c == '"' || c == '\\'):
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
