package balancer

// What a pick decided, and why.

// Reason is why a backend was chosen.
type Reason uint8

// The reasons. A policy gives one of the first group; what it was asked for
// gives the others, which count more.
const (
	ReasonPolicy Reason = iota // the policy does not look at loads or prompts
	ReasonLoad                 // it promised the first token soonest, or had least to do
	ReasonPrefix               // it has more of the prompt in its cache than the next best
	ReasonTie                  // it was as good as others
	ReasonSticky               // its session, or its prompt's beginning, belongs there
	ReasonProbe                // it is slow, and was tried whether it still is

	ReasonRetry    // another one had failed
	ReasonFallback // its target is not of the first priority
	ReasonHedge    // another one was slow
	NumReasons
)

var reasonNames = [NumReasons]string{"policy", "load", "prefix", "tie", "sticky", "probe", "retry", "fallback", "hedge"}

// String returns the reason as logs and metrics write it.
func (r Reason) String() string { return reasonNames[r] }

// ReasonNames returns the names of all reasons, by their numbers. The caller owns
// the slice.
func ReasonNames() []string { return append([]string(nil), reasonNames[:]...) }

// Decision is what a pick decided. A plain value.
type Decision struct {
	Reason Reason
	Hit    int64   // tokens of the prompt that are believed to be in the chosen one's cache
	Wait   float64 // seconds of prompts ahead of this one there
	Costed bool    // the policy compares costs: the following mean something
	Cost   float64 // in seconds
	Second float64 // that of the next best
	Next   int     // who that was; -1 when there was none

	Predicted int64   // those that the index says are, before it is doubted
	booked    float64 // seconds of our own promises that the choice was made by
}
