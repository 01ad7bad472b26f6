package metric

// What is counted of websockets.

import (
	"sync/atomic"

	"github.com/helixflow/helixflow"
)

// WebsocketEnd is how a websocket ended, in a closed set.
type WebsocketEnd uint8

// The ends.
const (
	EndedByClient   WebsocketEnd = iota // the client closed it
	EndedByBackend                      // the backend closed it
	EndLeft                             // the client hung up without a close frame
	EndCut                              // the backend did
	EndIdle                             // it was silent for too long
	EndTotal                            // it was open for too long
	EndDrain                            // the router, or the backend, is going away
	EndRefused                          // an error was the answer
	EndProtocol                         // the client broke the protocol
	EndBadBackend                       // the backend did
	EndStall                            // the client took nothing
	EndBackendStall                     // the backend took nothing
	numWebsocketEnds
)

var websocketEnds = [numWebsocketEnds]string{
	"client", "backend", "left", "cut", "idle", "total", "drain", "refused", "protocol", "backend_protocol", "stall", "backend_stall",
}

// String returns the end's name as metrics and logs write it.
func (e WebsocketEnd) String() string { return websocketEnds[e] }

// WebsocketSeries is what is counted of the websockets of one operation. Its
// methods are safe for concurrent use, take no lock and do not allocate.
type WebsocketSeries struct {
	used  atomic.Bool
	open  atomic.Int64
	ends  [numWebsocketEnds]atomic.Uint64
	bytes [2]atomic.Uint64 // in, out, as the client sees its own end: in is what it sent
}

// Opened counts a websocket in.
func (s *WebsocketSeries) Opened() {
	s.used.Store(true)
	s.open.Add(1)
}

// Closed counts it out.
func (s *WebsocketSeries) Closed(e WebsocketEnd) {
	s.open.Add(-1)
	s.ends[e].Add(1)
}

// In counts bytes that a client sent, frame headers included.
func (s *WebsocketSeries) In(n int64) { s.bytes[0].Add(uint64(n)) }

// Out counts bytes that a client was sent, frame headers included.
func (s *WebsocketSeries) Out(n int64) { s.bytes[1].Add(uint64(n)) }

// Websockets returns the series of an operation, always the same ones.
func (m *Metrics) Websockets(op helixflow.Op) *WebsocketSeries { return &m.websockets[op] }

// writeWebsockets writes the families of websockets; of operations that had one.
func (m *Metrics) writeWebsockets(t *text) {
	each := func(f func(endpoint string, s *WebsocketSeries)) {
		for op := range m.websockets {
			if s := &m.websockets[op]; s.used.Load() {
				f(helixflow.Op(op).String(), s)
			}
		}
	}
	t.family(websocketsOpen)
	each(func(endpoint string, s *WebsocketSeries) {
		t.sampleFloat(websocketsOpen.name, float64(s.open.Load()), "endpoint", endpoint)
	})
	t.family(websocketsTotal)
	each(func(endpoint string, s *WebsocketSeries) {
		for e := range s.ends {
			if n := s.ends[e].Load(); n > 0 {
				t.sample(websocketsTotal.name, n, "endpoint", endpoint, "end", websocketEnds[e])
			}
		}
	})
	t.family(websocketBytes)
	each(func(endpoint string, s *WebsocketSeries) {
		t.sample(websocketBytes.name, s.bytes[0].Load(), "endpoint", endpoint, "direction", "in")
		t.sample(websocketBytes.name, s.bytes[1].Load(), "endpoint", endpoint, "direction", "out")
	})
}
