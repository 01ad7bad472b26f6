package backends

// Requests of the router's own to an engine, for what it tells of itself: small,
// bounded, and never among the load.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow/internal/framing"
)

const errandBuffer = 16 << 10 // of one connection

// errand asks one server, over one connection that is kept for the next time. It
// belongs to one goroutine.
type errand struct {
	dialer *Dialer
	own    bool            // the dialer is closed with it
	ctx    context.Context // its end breaks a request off

	nc     net.Conn // nil for none
	br     *bufio.Reader
	forget func() bool // has ctx let go of nc
	used   time.Time
	head   fasthttp.ResponseHeader
	body   framing.Body
}

// text is a request as it is sent. path is of the server, not of its API: of a
// base URL that ends in /v1 that part is left out. extra are header lines.
func (e *errand) text(method, path, extra string, body []byte) []byte {
	address := e.dialer.address
	target := strings.TrimSuffix(address.Path, "/v1") + path
	if e.dialer.AbsoluteForm() {
		target = "http://" + address.HostHeader() + target
		if value := e.dialer.ProxyAuthorization(); value != "" {
			extra += "Proxy-Authorization: " + value + "\r\n"
		}
	}
	if body != nil {
		extra += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append([]byte(method+" "+target+" HTTP/1.1\r\nHost: "+address.HostHeader()+
		"\r\nUser-Agent: helixflow-signals\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"+extra+"\r\n"), body...)
}

// statusError is an answer that is none.
type statusError int

func (s statusError) Error() string { return statusReason(int(s)) }

var (
	errEncoded    = errors.New("its answer is compressed, which was not asked for")
	errErrandHead = errors.New("the head of its answer is above 16 KiB")
	errMarkup     = errors.New("its answer is HTML or JSON, not metrics")
)

// do sends a request, and hands the body of its answer to take, piece by piece.
// All of it is bounded by timeout. The connection is kept if all went well.
func (e *errand) do(request []byte, timeout time.Duration, take func([]byte) error) error {
	deadline := time.Now().Add(timeout)
	kept := e.nc != nil && time.Since(e.used) < idleMax
	if !kept {
		if err := e.dial(deadline); err != nil {
			return err
		}
	}
	answered, err := e.exchange(request, deadline, take)
	if err != nil && kept && !answered && !isTimeout(err) { // the server had let go of it
		if err = e.dial(deadline); err == nil {
			_, err = e.exchange(request, deadline, take)
		}
	}
	if err != nil || e.head.ConnectionClose() || e.body.Kind() == framing.UntilClose || e.br.Buffered() > 0 {
		e.drop()
	}
	e.used = time.Now()
	return err
}

func (e *errand) dial(deadline time.Time) error {
	e.drop()
	ctx, cancel := context.WithDeadline(e.ctx, deadline)
	defer cancel()
	nc, err := e.dialer.Dial(ctx, nil)
	if err != nil {
		return err
	}
	e.nc = nc
	e.forget = context.AfterFunc(e.ctx, func() { _ = nc.Close() })
	if e.br == nil {
		e.br = bufio.NewReaderSize(nc, errandBuffer)
	} else {
		e.br.Reset(nc)
	}
	return nil
}

// exchange reports besides whether the server began to answer.
func (e *errand) exchange(request []byte, deadline time.Time, take func([]byte) error) (answered bool, err error) {
	if err = e.nc.SetDeadline(deadline); err == nil {
		_, err = e.nc.Write(request)
	}
	if err == nil {
		_, err = e.br.Peek(1)
	}
	if err != nil {
		return false, err
	}
	e.head.Reset()
	if err = e.head.Read(e.br); isTooLarge(err) {
		return true, errErrandHead
	} else if err != nil {
		return true, headError(err)
	}
	if status := e.head.StatusCode(); status != fasthttp.StatusOK {
		return true, statusError(status)
	}
	if encoding := e.head.ContentEncoding(); len(encoding) > 0 && string(encoding) != "identity" {
		return true, errEncoded
	}
	switch n := e.head.ContentLength(); {
	case n >= 0:
		e.body.Begin(e.br, framing.ByLength, int64(n))
	case n == -1:
		e.body.Begin(e.br, framing.ByChunks, 0)
	default:
		e.body.Begin(e.br, framing.UntilClose, 0)
	}
	for {
		p, err := e.body.Next()
		if err == io.EOF {
			return true, nil
		}
		if err == nil {
			err = take(p)
		}
		if err != nil {
			return true, err
		}
	}
}

// drop closes the connection.
func (e *errand) drop() {
	if e.nc != nil {
		e.forget()
		_ = e.nc.Close()
		e.nc = nil
	}
}

// close ends the errand.
func (e *errand) close() {
	e.drop()
	if e.own {
		e.dialer.Close()
	}
}

// reasonOfErrand says in few words why an errand failed.
func reasonOfErrand(err error, timeout time.Duration) string {
	if isTimeout(err) {
		return "no whole answer within " + timeout.String()
	}
	var dial *DialError
	if status := statusError(0); errors.As(err, &status) && !errors.As(err, &dial) {
		return "it is answered with " + status.Error()
	}
	return shortened(reasonOf(err))
}
