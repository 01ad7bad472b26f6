package backends

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/helixflow/helixflow/internal/netloop"
)

// Phase is how far a round trip had come.
type Phase uint8

// The phases, in the order a round trip walks them.
const (
	PhaseConnect Phase = iota // resolve, dial, proxy, TLS: nothing was sent
	PhaseSend                 // the request was being written
	PhaseWait                 // sent; no byte of an answer yet
	PhaseHead                 // in the middle of the answer's head
	PhaseBody                 // in the middle of the answer's body
)

var phaseNames = [...]string{"connect to", "send the request to", "get an answer from", "read the answer's head from", "read the answer's body from"}

// String names the phase as an error text does.
func (p Phase) String() string { return phaseNames[p] }

// Failure is why a round trip did not end well. judge reads its fields; its
// text is for the operator.
type Failure struct {
	Phase   Phase
	Timeout bool  // a deadline of ours ran out
	Gone    bool  // the asker left; nobody is to blame
	Asker   error // the asker's own body failed; nor is the backend to blame
	Backend string
	Err     error
}

// Error returns the operator's text.
func (f *Failure) Error() string {
	return fmt.Sprintf("cannot %s %s: %v", f.Phase, strconv.Quote(f.Backend), f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// isTimeout reports whether err is a deadline that ran out.
func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

var (
	errGone = errors.New("the client left")
	// Bytes that came unasked must not be taken for the next answer, which may be
	// another caller's; and a connection that was closed need not be tried.
	errUnasked  = errors.New("the connection was closed, or said something unasked")
	errHeadSize = fmt.Errorf("its head is above %d bytes", maxHead)
	errHead     = errors.New("its head is malformed")
	errInterim  = errors.New("too many interim (1xx) answers")
	errUpgrade  = errors.New("it switched protocols unasked")
)

// ErrNotYet is what Next returns within a step of Run when nothing has come.
var ErrNotYet = netloop.ErrNotYet
