// What the backend saw: requests and connections, with times, and waiting for
// more of them.

package fakellm

import (
	"context"
	"net/http"
	"time"
)

// Request is one request as it arrived. Times not reached are zero.
type Request struct {
	ID     int         `json:"id"`   // from 1
	Conn   int         `json:"conn"` // ID of its connection
	Method string      `json:"method"`
	Path   string      `json:"path"` // raw, with its query
	Header http.Header `json:"header"`
	Head   string      `json:"head"` // raw, with the request line and the empty line
	Body   string      `json:"body"` // without its transfer coding
	Script string      `json:"script"`

	Arrived  time.Time `json:"arrived"`
	Answered time.Time `json:"answered"` // the first byte of the answer was written
	Stalled  time.Time `json:"stalled"`  // a stall began
	Finished time.Time `json:"finished"` // the answer was written to its end, or to its scripted cut
	Left     time.Time `json:"left"`     // the peer left before that
	LeftBy   string    `json:"left_by"`  // "eof", "reset" or ""

	resumed chan struct{} // closed by Resume
}

// Open reports whether the answer is still being given.
func (r Request) Open() bool { return r.Finished.IsZero() && r.Left.IsZero() }

// Conn is one accepted connection.
type Conn struct {
	ID       int       `json:"id"` // from 1
	Opened   time.Time `json:"opened"`
	Closed   time.Time `json:"closed"` // zero while open
	ClosedBy string    `json:"closed_by"`
	Requests int       `json:"requests"`
}

// record is the server's memory; the server's lock guards it.
type record struct {
	requests []*Request
	conns    []*Conn
	changed  chan struct{} // closed and replaced at each change
}

// note changes the record under the lock and wakes whoever waits.
func (s *Server) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.record.changed)
	s.record.changed = make(chan struct{})
}

// Requests returns all requests so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, 0, len(s.record.requests))
	for _, r := range s.record.requests {
		list = append(list, *r)
	}
	return list
}

// Conns returns all connections so far, oldest first.
func (s *Server) Conns() []Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Conn, 0, len(s.record.conns))
	for _, c := range s.record.conns {
		list = append(list, *c)
	}
	return list
}

// Forget empties the record; connections that are open stay open and are
// counted anew.
func (s *Server) Forget() {
	s.note(func() {
		s.record.requests = nil
		kept := s.record.conns[:0]
		for _, c := range s.record.conns {
			if c.Closed.IsZero() {
				c.Requests = 0
				kept = append(kept, c)
			}
		}
		s.record.conns = kept
	})
}

// Resume lets the requests that have arrived go on where they stall for ever, or
// pass when they come there.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.resume)
	s.resume = make(chan struct{})
}

// Wait returns the first request for which ok holds, waiting for it until ctx
// ends; found is false then.
func (s *Server) Wait(ctx context.Context, ok func(Request) bool) (r Request, found bool) {
	for {
		s.mu.Lock()
		changed := s.record.changed
		for _, r := range s.record.requests {
			if ok(*r) {
				found := *r
				s.mu.Unlock()
				return found, true
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Request{}, false
		}
	}
}

// Changed returns a channel that is closed at the next change of the record.
func (s *Server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.changed
}
