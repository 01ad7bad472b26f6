package replay

// What is going to happen, in order.

// kind says what an event is.
type kind uint8

const (
	kindArrival kind = iota
	kindStep         // an engine has come to the end of a step; who: the backend
	kindScrape       // a router reads a backend's metrics; who: the backend, what: the router
	kindGossip       // a router hears of a placement; who: the router, what: of which request where
	kindFault        // a backend breaks down, or is well again; who: its place in Config.Faults
	kindAbort        // a client leaves; who: its flight, what: its request
	kindCheck        // a router looks whether a backend lives; as of a scrape
	kindSweep        // a router lets slow starts go on; who: the router
	kindExpire       // a request has waited too long; as of an abort
	kindLate         // an answer is late; as of an abort
	kindSample       // the loads are written down
)

// event is one thing that will happen. Of two at the same time the one that was
// put there first comes first.
type event struct {
	at   int64
	seq  uint64
	kind kind
	who  int32
	what int64 // depends on the kind
}

// events is a binary heap.
type events struct {
	heap []event
	seq  uint64
}

func (e *events) before(i, j int) bool {
	a, b := &e.heap[i], &e.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (e *events) add(at int64, k kind, who int, what int64) {
	e.seq++
	e.heap = append(e.heap, event{at: at, seq: e.seq, kind: k, who: int32(who), what: what})
	for i := len(e.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !e.before(i, parent) {
			break
		}
		e.heap[i], e.heap[parent] = e.heap[parent], e.heap[i]
		i = parent
	}
}

// next takes out what comes first.
func (e *events) next() event {
	first, last := e.heap[0], len(e.heap)-1
	e.heap[0] = e.heap[last]
	e.heap = e.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if e.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		e.heap[i], e.heap[least] = e.heap[least], e.heap[i]
		i = least
	}
}
