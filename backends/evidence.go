package backends

// What the end of one try says about the endpoint it was made on.

// Evidence is what one try tells of its endpoint's health: the failure classes
// of the outlier detection, apart from whether a request is tried again.
type Evidence uint8

// The classes, from best to worst.
const (
	Well        Evidence = iota // it answered
	Neutral                     // nothing: the asker left, or was told that the request is wrong
	Pressed                     // it lives and has no room: 429, or 503 with a Retry-After
	Slow                        // no first token in time; counts half
	Faulty                      // a 5xx, a reset, a cut, a stall, or nonsense
	Unreachable                 // nothing could be sent: DNS, connect, proxy, TLS
)

// Evidence classes a round trip that failed. Whoever knows that a deadline ran
// out before the first token of a stream says Slow himself: to the transport it
// is a body like any other.
func (f *Failure) Evidence() Evidence {
	switch {
	case f.Gone, f.Asker != nil:
		return Neutral
	case f.Phase == PhaseConnect:
		return Unreachable
	case f.Timeout && f.Phase == PhaseWait:
		return Slow
	default:
		return Faulty
	}
}

// StatusEvidence classes an answer by its status; told says whether it has a
// Retry-After.
func StatusEvidence(status int, told bool) Evidence {
	switch {
	case status == 429, status == 529, status == 503 && told:
		return Pressed
	case status < 400:
		return Well
	case status < 500, status == 501, status == 505:
		return Neutral
	default:
		return Faulty
	}
}
