package load

// One connection: it sends, reads the answer to its end, and notes the times.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// client is one connection and what came of it.
type client struct {
	to      endpoint
	request []byte
	number  []byte // the part of request that is another in each; nil: there is none
	stream  bool
	timeout time.Duration

	nc          net.Conn
	interrupted func() bool // ends the watch over the run's end
	br          *bufio.Reader
	head        fasthttp.ResponseHeader
	piece       []byte
	result      Result
}

var (
	errTorn    = errors.New("the stream broke off before its end")
	errRefused = errors.New("refused")
)

// pause is before the next request after one that failed, so that an endpoint
// that is away is not asked in a busy loop.
const pause = 20 * time.Millisecond

// work sends until end: every period, or at once where it is 0. However late it
// begins, it sends once.
func (c *client) work(ctx context.Context, begin, end time.Time, period time.Duration) {
	defer c.close()
	for due := begin; due.Before(end); {
		if !sleepUntil(ctx, due) {
			return
		}
		from := time.Now()
		if !from.Before(end) && !due.Equal(begin) {
			if period > 0 {
				c.result.Unsent += int((end.Sub(due) + period - 1) / period)
			}
			return
		}
		if period > 0 && from.Sub(due) > time.Millisecond { // it was busy; else the timer was late, not the endpoint
			from = due
		}
		if !c.one(ctx, from) && !sleepUntil(ctx, time.Now().Add(pause)) {
			return
		}
		if due = due.Add(period); period == 0 {
			due = time.Now()
		}
	}
}

// one sends one request and reads its answer, and reports whether it was good.
// What was cut off by the run's end does not count.
func (c *client) one(ctx context.Context, from time.Time) bool {
	err := c.exchange(ctx, from)
	switch {
	case err == nil:
		c.result.Latency.add(time.Since(from))
		return true
	case ctx.Err() != nil:
		return false
	}
	c.result.fail(err)
	c.close()
	return false
}

func (c *client) exchange(ctx context.Context, from time.Time) error {
	reused := c.nc != nil
	err := c.ask(ctx)
	if err != nil && reused && ctx.Err() == nil && c.br.Buffered() == 0 && !isTimeout(err) {
		c.close() // it was closed meanwhile, as a server may
		err = c.ask(ctx)
	}
	if err != nil {
		return err
	}
	if err := c.body(from); err != nil {
		return err
	}
	if c.head.ConnectionClose() {
		c.close()
	}
	return nil
}

// ask sends the request and reads the head of its answer.
func (c *client) ask(ctx context.Context) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	if err := c.nc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return fmt.Errorf("cannot set a deadline: %w", err)
	}
	if ctx.Err() != nil { // or else connect's interruption comes after that deadline
		return ctx.Err()
	}
	if c.number != nil {
		copy(c.number, fmt.Sprintf("%0*x", len(c.number), rand.Uint64()))
	}
	if _, err := c.nc.Write(c.request); err != nil {
		return fmt.Errorf("cannot send: %w", err)
	}
	if err := c.head.Read(c.br); err != nil {
		return fmt.Errorf("cannot read the answer's head: %w", err)
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// body reads the answer to its end.
func (c *client) body(from time.Time) error {
	var body io.Reader
	length, chunked := c.head.ContentLength(), c.head.ContentLength() == -1
	switch {
	case chunked:
		body = httputil.NewChunkedReader(c.br)
	case length >= 0:
		body = io.LimitReader(c.br, int64(length))
	default: // until the connection ends
		body = c.br
		c.head.SetConnectionClose()
	}
	events := c.stream && bytes.HasPrefix(c.head.ContentType(), []byte("text/event-stream"))
	if status := c.head.StatusCode(); status != fasthttp.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 200))
		return fmt.Errorf("%w with %d: %s", errRefused, status, strings.TrimSpace(string(text)))
	}
	read := c.plain
	if events {
		read = c.events
	}
	if err := read(body, from); err != nil {
		return err
	}
	if chunked {
		if err := c.head.ReadTrailer(c.br); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("cannot read the end of the answer: %w", err)
		}
	}
	return nil
}

// plain reads a whole answer.
func (c *client) plain(body io.Reader, _ time.Time) error {
	n := 0
	for {
		k, err := body.Read(c.piece)
		if n += k; errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
	}
	if want := c.head.ContentLength(); want >= 0 && n != want {
		return fmt.Errorf("cannot read the answer: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// done is the end of a whole stream.
var done = []byte("data: [DONE]\n\n")

// events reads a stream, and notes when each of its events came.
func (c *client) events(body io.Reader, from time.Time) error {
	var tail [16]byte // the end of what was read before
	kept, seen := 0, 0
	last := from
	for {
		n, err := body.Read(c.piece[len(tail):])
		if n > 0 {
			now := time.Now()
			begin := len(tail) - kept
			copy(c.piece[begin:], tail[:kept])
			read := c.piece[begin : len(tail)+n]
			if k := bytes.Count(read[max(kept-1, 0):], []byte("\n\n")); k > 0 {
				if seen == 0 {
					c.result.TTFT.add(now.Sub(from))
				} else {
					c.result.Gap.add(now.Sub(last))
				}
				c.result.Events += k
				seen += k
				last = now
			}
			kept = copy(tail[:], read[max(len(read)-len(tail), 0):])
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("cannot read the stream: %w", err)
		}
	}
	if !bytes.HasSuffix(tail[:kept], done) {
		return errTorn
	}
	return nil
}

// connect dials unless there is a connection.
func (c *client) connect(ctx context.Context) error {
	if c.nc != nil {
		return nil
	}
	d := net.Dialer{Timeout: c.timeout}
	nc, err := d.DialContext(ctx, "tcp", c.to.address)
	if err != nil {
		return fmt.Errorf("cannot connect: %w", err)
	}
	if c.to.tls != nil {
		nc = tls.Client(nc, c.to.tls)
	}
	c.nc = nc
	c.interrupted = context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	if c.br == nil {
		c.br, c.piece = bufio.NewReaderSize(nc, 16<<10), make([]byte, 32<<10)
	}
	c.br.Reset(nc)
	return nil
}

func (c *client) close() {
	if c.nc != nil {
		c.interrupted()
		_ = c.nc.Close()
		c.nc = nil
	}
}

// sleepUntil reports false when the run ended before.
func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
