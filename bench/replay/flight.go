package replay

// One request on its way.

import (
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/router/admission"
)

// flight is a request between its arrival and its end.
type flight struct {
	number  int32 // of the flight; flights are used again
	request int   // -1: nobody's
	router  *router
	noise   float64
	waiter  admission.Waiter
	parked  bool // in the router's queue
	waited  bool // it has been
	chance  float64

	tried balancer.Mask
	tries int
	try
	second try // beside it, after it was late

	served *engine // that it was sent to last

	blocks []uint64 // of KV
	first  int64    // when the first token came
	cached int      // of the prompt
}

// try is what a request holds of a backend.
type try struct {
	engine *engine // where it runs; nil: nowhere
	seq    *sim.Seq
	tag    uint64 // of the sequence: the flight's number, and one that is never used again
	lease  backends.Lease
	pass   backends.Pass
	hit    int64 // tokens that the index predicted
	size   int64 // estimated tokens of the prompt
	sent   time.Time
	beside int32 // requests on the backend then, this one included
}
