package hook

// What a hook is asked.

import (
	"strconv"

	"github.com/helixflow/helixflow/internal/openai"
)

// Version is that of the contract. What only adds to it leaves it as it is.
const Version = 1

// Phase is what a hook looks at.
type Phase uint8

// The phases.
const (
	Before    Phase = iota // a request, before it is sent on
	After                  // an answer, before it is given
	NumPhases              // how many there are, for tables indexed by Phase
)

var phaseNames = [NumPhases]string{Before: "before", After: "after"}

// String returns the phase's name, as the contract and metrics write it.
func (p Phase) String() string { return phaseNames[p] }

// Question is what a hook is asked, but for the bodies: these are put between
// its parts as they came.
type Question struct {
	Phase       Phase
	Hook        string
	RequestID   string
	Tenant, Key string // names; Key is empty for a caller without one
	Model       string // as configured; what a caller named where that is "*"
	Endpoint    string
	Stream      bool
	Status      int // of the answer; After only
}

// The parts of a question's text: what AppendTo writes, the request's body or
// NoBody, for After then AnswerKey and the answer, and End.
const (
	NoBody    = "null"
	AnswerKey = `,"answer":`
	End       = "}"
)

// AppendTo appends the question up to the value of its key "body" to dst.
func (q *Question) AppendTo(dst []byte) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, Version, 10)
	dst = appendText(dst, "phase", q.Phase.String())
	dst = appendText(dst, "hook", q.Hook)
	dst = appendText(dst, "request_id", q.RequestID)
	dst = appendText(dst, "tenant", q.Tenant)
	dst = appendText(dst, "key", q.Key)
	dst = appendText(dst, "model", q.Model)
	dst = appendText(dst, "endpoint", q.Endpoint)
	dst = append(dst, `,"stream":`...)
	dst = strconv.AppendBool(dst, q.Stream)
	if q.Phase == After {
		dst = append(dst, `,"status":`...)
		dst = strconv.AppendInt(dst, int64(q.Status), 10)
	}
	return append(dst, `,"body":`...)
}

func appendText(dst []byte, key, s string) []byte {
	dst = append(append(append(dst, `,"`...), key...), `":`...)
	return openai.AppendJSONString(dst, s)
}
