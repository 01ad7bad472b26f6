package backends

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
)

// How long an unused connection is kept. uvicorn, in front of most engines,
// closes its side after 5 s: ours must be the one to let go first.
const idleMax = 4 * time.Second

// Spec is what makes an endpoint the one it is: two specs that are equal in
// Pool, URL and the TLS and proxy settings named by Identity share connections.
type Spec struct {
	Pool     string
	URL      string // as the operator wrote it, the label of metrics and logs
	Address  Address
	TLS      *tls.Config // nil for http
	Proxy    *Proxy      // nil for none
	Identity string      // the settings behind TLS and Proxy, in words that differ when they do
	Warm     bool        // a new one is to be warmed up before it is asked
}

// Endpoint is one backend: its connections, its live load and its health. It
// outlives configuration snapshots. Safe for concurrent use.
type Endpoint struct {
	Load        balancer.Load
	Signals     balancer.Signals
	Concurrency balancer.Concurrency // the limit that is found out, where that is wanted
	Series      *metric.BackendSeries

	url    string
	pool   *pool
	dialer *Dialer
	probe  *prober
	watch  *watcher
	mark   uint32
	lines  [2]requestLine // by hasBody
	root   []byte         // of passthrough's request targets
	tail   []byte         // " HTTP/1.1", Host and what else every request to it carries

	health      outlier // changed with pool.mu held
	lastError   atomic.Pointer[lastError]
	certificate atomic.Int64 // when the last one shown runs out, in Unix seconds; 0 for none

	doubted tick // when others had it checked last; guarded by fleet.mu

	// Guarded by pool.mu.
	drained bool // by an operator
	dropped bool // by a plan
	kept    bool // by a plan in force: whoever comes beside it starts slowly
	leaveBy tick // when what still runs on a drained or dropped one is cut off

	mu     sync.Mutex // guards the fields below
	idle   []*Conn    // the longest unused first
	looped []*Conn    // likewise, those that a loop can read
	conns  *Conn      // all that are open, linked by Conn.next; leased ones too
	gone   bool
}

// lastError is what a request failed of last.
type lastError struct {
	text string
	at   time.Time
}

// URL is the backend's URL as the operator wrote it.
func (ep *Endpoint) URL() string { return ep.url }

// Mark is a number that stands for the URL among those of its pool, never 0; the
// same one in every process.
func (ep *Endpoint) Mark() uint32 { return ep.mark }

// newEndpoint makes the endpoint and starts its goroutines, which close ends.
func newEndpoint(s Spec, p *pool) *Endpoint {
	ep := &Endpoint{
		url:    s.URL,
		mark:   markOf(s.URL),
		pool:   p,
		dialer: NewDialer(DialOptions{Address: s.Address, TLS: s.TLS, Proxy: s.Proxy}),
	}
	ep.compile(s)
	ep.Series = p.fleet.metrics.Backend(s.URL, func() float64 { return float64(ep.Load.InFlight()) })
	ep.Series.Watch(&metric.BackendWatch{
		States:      stateNames[:],
		State:       func() int { return int(ep.State()) },
		Limit:       func() int { return int(ep.Concurrency.Current()) },
		Certificate: ep.certificateEnd,
		Signals:     ep.signalFigures,
		Book:        ep.book,
	})
	ep.probe = newProber(ep)
	ep.watch = newWatcher(ep)
	return ep
}

// bound bounds the limit that is found out, or ceases to look for one.
func (ep *Endpoint) bound(c Concurrency) {
	if c.Off {
		c.Min, c.Max = 0, 0
	}
	ep.Concurrency.Bound(int32(c.Min), int32(c.Max))
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
		if o.Streams {
			ep.enloop(c)
		}
		if gone = !o.Hangup.Arm(c); gone {
			c.Break()
		}
	})
	if err != nil || gone {
		gone = gone || c.raw != nil && !o.Hangup.Disarm(c)
		c.close()
		return nil, &Failure{Phase: PhaseConnect, Timeout: err != nil && isTimeout(err), Gone: gone, Backend: ep.url, Err: orGone(err, gone)}
	}
	if c.loop != nil {
		nc = c.loop
	}
	c.nc = nc
	if nc == c.raw {
		c.peek = newPeeker(c.raw)
	}
	c.br = bufio.NewReaderSize(nc, readBufferSize)
	ep.link(c)
	ep.sawCertificate(nc)
	return c, nil
}

// enloop gives a new connection to the loop, if that can be.
func (ep *Endpoint) enloop(c *Conn) {
	tcp, ok := c.raw.(*net.TCPConn)
	if !ok || !ep.dialer.plain() {
		return
	}
	if l := ep.pool.fleet.loop(); l != nil {
		if looped, err := l.Take(tcp); err == nil {
			c.raw, c.loop = looped, looped
		}
	}
}

// link puts c among the open connections, so that a drain can find it.
func (ep *Endpoint) link(c *Conn) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	c.owner, c.next = ep, ep.conns
	if c.next != nil {
		c.next.prev = c
	}
	ep.conns = c
}

// unlink takes c out again. Doing it twice does nothing.
func (ep *Endpoint) unlink(c *Conn) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case ep.conns == c:
		ep.conns = c.next
	default:
		return
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

// cutOff breaks every connection: what still runs over them fails.
func (ep *Endpoint) cutOff() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for c := ep.conns; c != nil; c = c.next {
		c.Break()
	}
}

// sawCertificate notes until when the certificate of a new connection holds.
func (ep *Endpoint) sawCertificate(nc net.Conn) {
	secured, ok := nc.(*tls.Conn)
	if !ok {
		return
	}
	if chain := secured.ConnectionState().PeerCertificates; len(chain) > 0 {
		ep.certificate.Store(chain[0].NotAfter.Unix())
	}
}

// book is what a scrape shows of what is promised to the endpoint.
func (ep *Endpoint) book() metric.Book {
	l := &ep.Load
	return metric.Book{PrefillTokens: l.PrefillTokens(), KVTokens: l.KVTokens(), PrefillRate: l.PrefillRate(), Slowdown: l.Factor(), Interference: l.Interference()}
}

func (ep *Endpoint) certificateEnd() time.Time {
	if end := ep.certificate.Load(); end != 0 {
		return time.Unix(end, 0)
	}
	return time.Time{}
}

// take takes the connection used last off its stack, or nil; for a stream, if that is
// what is awaited. What has been idle too long is left to the sweep.
func (ep *Endpoint) take(now time.Time, stream bool) *Conn {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	from := &ep.idle
	if stream {
		from = &ep.looped
	}
	n := len(*from)
	if n == 0 || now.Sub((*from)[n-1].idleSince) > idleMax {
		return nil
	}
	c := (*from)[n-1]
	(*from)[n-1] = nil
	*from = (*from)[:n-1]
	return c
}

// put keeps c for the next request.
func (ep *Endpoint) put(c *Conn, now time.Time) {
	c.idleSince = now
	ep.mu.Lock()
	switch {
	case ep.gone:
	case c.loop != nil:
		ep.looped = append(ep.looped, c)
		c = nil
	default:
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
	old := cutOld(&ep.idle, nil, deadline)
	old = cutOld(&ep.looped, old, deadline)
	ep.mu.Unlock()
	for _, c := range old {
		c.close()
	}
	return len(old)
}

// cutOld moves the connections unused since before deadline from a stack to list.
func cutOld(stack *[]*Conn, list []*Conn, deadline time.Time) []*Conn {
	all, n := *stack, 0
	for n < len(all) && all[n].idleSince.Before(deadline) {
		n++
	}
	list = append(list, all[:n]...)
	kept := copy(all, all[n:])
	clear(all[kept:])
	*stack = all[:kept]
	return list
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
	ep.probe.close()
	ep.watch.close()
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
