package backends

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
)

// How long an unused connection is kept. uvicorn, in front of most engines,
// closes its side after 5 s: ours must be the one to let go first.
const idleMax = 4 * time.Second

// A connection taken up again within this time is not looked at: under load
// that would add a system call to every request.
const peekAfter = 2 * time.Millisecond

// Spec is what makes an endpoint the one it is: two specs that are equal in
// Pool, URL and the TLS and proxy settings named by Identity share connections.
type Spec struct {
	Pool     string
	URL      string // as the operator wrote it, the label of metrics and logs
	Address  Address
	TLS      *tls.Config // nil for http
	Proxy    *Proxy      // nil for none
	Identity string      // the settings behind TLS and Proxy, in words that differ when they do
}

// Endpoint is one backend: its connections and its live load. It outlives
// configuration snapshots. Safe for concurrent use.
type Endpoint struct {
	Load   balancer.Load
	Series *metric.BackendSeries

	url    string
	dialer *Dialer
	lines  [2]requestLine // by hasBody
	tail   []byte         // " HTTP/1.1", Host and what else every request to it carries

	mu   sync.Mutex // guards idle, closed
	idle []*Conn    // the longest unused first
	gone bool
}

// URL is the backend's URL as the operator wrote it.
func (ep *Endpoint) URL() string { return ep.url }

func newEndpoint(s Spec, series func(url string, inflight func() float64) *metric.BackendSeries) *Endpoint {
	ep := &Endpoint{
		url:    s.URL,
		dialer: NewDialer(DialOptions{Address: s.Address, TLS: s.TLS, Proxy: s.Proxy}),
	}
	ep.Series = series(s.URL, func() float64 { return float64(ep.Load.InFlight()) })
	ep.compile(s)
	return ep
}

// dial opens a connection within timeout. The raw socket is armed for a
// hang-up before any handshake on it starts.
func (ep *Endpoint) dial(o *Outgoing, now time.Time) (*Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), earlier(now.Add(o.Connect), o.Deadline))
	defer cancel()
	c := &Conn{}
	gone := false
	nc, err := ep.dialer.Dial(ctx, func(raw net.Conn) {
		c.raw = raw
		if gone = !o.Hangup.Arm(c); gone {
			c.Break()
		}
	})
	if err != nil || gone {
		gone = gone || c.raw != nil && !o.Hangup.Disarm(c)
		c.close()
		return nil, &Failure{Phase: PhaseConnect, Timeout: err != nil && isTimeout(err), Gone: gone, Backend: ep.url, Err: orGone(err, gone)}
	}
	c.nc = nc
	if nc == c.raw {
		c.peek = newPeeker(c.raw)
	}
	c.br = bufio.NewReaderSize(nc, readBufferSize)
	return c, nil
}

// take pops the connection used last, or nil. One that was idle for more than
// a moment is looked at first: bytes that came unasked must not be taken for
// the next answer, and a closed one need not be tried.
func (ep *Endpoint) take(now time.Time) *Conn {
	for {
		c := ep.pop(now)
		if c == nil || now.Sub(c.idleSince) < peekAfter || c.peek.silent() {
			return c
		}
		c.close()
	}
}

// pop takes the connection used last off the stack. What has been idle too long
// is left to the sweep.
func (ep *Endpoint) pop(now time.Time) *Conn {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	n := len(ep.idle)
	if n == 0 || now.Sub(ep.idle[n-1].idleSince) > idleMax {
		return nil
	}
	c := ep.idle[n-1]
	ep.idle[n-1] = nil
	ep.idle = ep.idle[:n-1]
	return c
}

// put keeps c for the next request.
func (ep *Endpoint) put(c *Conn, now time.Time) {
	c.idleSince = now
	ep.mu.Lock()
	if !ep.gone {
		ep.idle = append(ep.idle, c)
		c = nil
	}
	ep.mu.Unlock()
	if c != nil {
		c.close()
	}
}

// sweep closes connections unused since before deadline, and reports how many.
func (ep *Endpoint) sweep(deadline time.Time) int {
	ep.mu.Lock()
	n := 0
	for n < len(ep.idle) && ep.idle[n].idleSince.Before(deadline) {
		n++
	}
	old := append([]*Conn(nil), ep.idle[:n]...)
	kept := copy(ep.idle, ep.idle[n:])
	clear(ep.idle[kept:])
	ep.idle = ep.idle[:kept]
	ep.mu.Unlock()
	for _, c := range old {
		c.close()
	}
	return n
}

// dropIdle closes every idle connection: one of them was found dead, and its
// siblings are from the same life of the backend.
func (ep *Endpoint) dropIdle(now time.Time) { ep.sweep(now) }

// close ends the endpoint: idle connections are closed now, leased ones when
// their leases finish.
func (ep *Endpoint) close() {
	ep.mu.Lock()
	ep.gone = true
	ep.mu.Unlock()
	ep.sweep(time.Now().Add(time.Hour))
	ep.dialer.Close()
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func orGone(err error, gone bool) error {
	if gone || err == nil {
		return errGone
	}
	return err
}
