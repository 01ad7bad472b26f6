package backends

// Active checks: one goroutine per endpoint that asks whether it is well.

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	probeOut   = time.Second            // between checks of an endpoint that is out, or in doubt
	probeGap   = 200 * time.Millisecond // at least, between any two
	probeFirst = time.Second            // the first one comes within this time
)

// prober checks one endpoint. Regular checks begin with configure; before that,
// and where they are off, it checks what is out or in doubt.
type prober struct {
	ep      *Endpoint
	regular atomic.Bool   // configure was called
	changed chan struct{} // the rules are new
	doubt   chan struct{} // requests failed: check at once
	cancel  context.CancelFunc
	ended   chan struct{}
	warning atomic.Pointer[string] // what is odd about a check that was good; nil for nothing

	warmed      uint64                 // the life in which the warm-up was tried; of the goroutine alone
	coldBecause atomic.Pointer[string] // why it did not work; nil if it did, or there was none
}

func newProber(ep *Endpoint) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{ep: ep, changed: make(chan struct{}, 1), doubt: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{})}
	go p.run(ctx)
	return p
}

// configure says that the pool's rules are in force, and may have changed.
func (p *prober) configure() {
	p.regular.Store(true)
	wake(p.changed)
}

// hurry asks for a check at once.
func (p *prober) hurry() { wake(p.doubt) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends the checks and waits for the end.
func (p *prober) close() {
	p.cancel()
	<-p.ended
}

func (p *prober) run(ctx context.Context) {
	defer close(p.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	var last time.Time
	started, every := false, time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
			// Rules that stay the same must not put the next check off, or
			// reloads would keep an endpoint from ever being checked.
			wait := p.interval()
			if wait == every {
				continue
			}
			if every = wait; !started {
				wait = min(wait, probeFirst)
			}
			p.arm(timer, rand.N(max(wait, 1)), every)
			continue
		case <-p.doubt:
			if since := time.Since(last); since < probeGap {
				timer.Reset(probeGap - since)
				continue
			}
		case <-timer.C:
		}
		started = true
		p.check(ctx)
		last = time.Now()
		every = p.interval()
		p.arm(timer, jittered(every), every)
	}
}

func (p *prober) arm(timer *time.Timer, wait, every time.Duration) {
	if every == 0 {
		timer.Stop()
		return
	}
	timer.Reset(wait)
}

// jittered is d, a tenth more or less.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(max(d/5, 1)) }

// interval is the time between checks as things stand; 0 is none.
func (p *prober) interval() time.Duration {
	ep := p.ep
	r := ep.pool.rules.Load()
	ep.pool.mu.Lock()
	state, bad := ep.health.state(), ep.health.bad
	ep.pool.mu.Unlock()
	switch {
	case state == Ejected || state == Unhealthy || bad > 0:
		return probeOut
	case r.Checks.Off || !p.regular.Load():
		return 0
	default:
		return r.Checks.Every
	}
}

// check asks once, and books what came of it.
func (p *prober) check(ctx context.Context) {
	ep := p.ep
	reason, warning := p.ask(ctx, &ep.pool.rules.Load().Checks)
	if reason == "" && p.mustWarm() {
		p.warmUp(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	if warning == "" {
		p.warning.Store(nil)
	} else {
		p.warning.Store(&warning)
	}
	reason = shortened(reason)
	now := ep.pool.tick(time.Now())
	ep.change(now, func(r *Rules) {
		ep.health.probed(reason, r, ep.pool.mayEject(ep, &r.Ejection), now, rand.Uint64())
	})
}

// ask makes one check. reason is why the endpoint is not well, empty if it is;
// warning is what an operator should look at although it is.
func (p *prober) ask(ctx context.Context, c *Checks) (reason, warning string) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	nc, err := p.ep.dialer.Dial(ctx, nil)
	if err != nil {
		return reasonOf(err), ""
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() { _ = nc.Close() }()
	p.ep.sawCertificate(nc)
	if c.Path == "" {
		return "", ""
	}
	if _, err := io.WriteString(nc, p.request(c.Path)); err != nil {
		return p.orTimeout(ctx, c, err), ""
	}
	status, err := readStatus(nc)
	switch {
	case err != nil:
		return p.orTimeout(ctx, c, err), ""
	case status >= 500 || status < 200:
		return statusReason(status), ""
	case status >= 400:
		// It lives, and its path or its need of a credential is the operator's
		// doing: a pool must not be lost over that, but it must be seen.
		return "", fmt.Sprintf("health.path %s is answered with %s, which counts as alive", c.Path, statusReason(status))
	}
	return "", ""
}

func (p *prober) orTimeout(ctx context.Context, c *Checks, err error) string {
	if ctx.Err() != nil {
		return "no answer to GET " + c.Path + " within " + c.Timeout.String()
	}
	return reasonOf(err)
}

// request is the text of a check. The path belongs to the server, not to its
// API: of a base URL that ends in /v1 that part is left out.
func (p *prober) request(path string) string {
	ep := p.ep
	address := ep.dialer.address
	target := strings.TrimSuffix(address.Path, "/v1") + path
	auth := ""
	if ep.dialer.AbsoluteForm() {
		target = "http://" + address.HostHeader() + target
		if value := ep.dialer.ProxyAuthorization(); value != "" {
			auth = "Proxy-Authorization: " + value + "\r\n"
		}
	}
	return "GET " + target + " HTTP/1.1\r\nHost: " + address.HostHeader() + "\r\n" + auth +
		"User-Agent: helixflow-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
}

var errNotHTTP = errors.New("its answer is not HTTP/1")

// readStatus reads a status line. What follows is of no interest.
func readStatus(r io.Reader) (int, error) {
	line, err := bufio.NewReaderSize(r, 512).ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, err
	}
	const prefix = "HTTP/1.x "
	if len(line) < len(prefix)+4 || string(line[:7]) != prefix[:7] || line[8] != ' ' || line[12] > ' ' {
		return 0, errNotHTTP
	}
	status := 0
	for _, c := range line[len(prefix) : len(prefix)+3] {
		if c < '0' || c > '9' {
			return 0, errNotHTTP
		}
		status = status*10 + int(c-'0')
	}
	return status, nil
}

func statusReason(status int) string {
	text := http.StatusText(status)
	if text == "" {
		return fmt.Sprintf("HTTP %d", status)
	}
	return fmt.Sprintf("HTTP %d %s", status, text)
}

// reasonOf says in few words why a connection or an exchange failed.
func reasonOf(err error) string {
	var dial *DialError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &certificate):
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return "its certificate is not valid now: from " + invalid.Cert.NotBefore.UTC().Format(time.DateOnly) + " to " + invalid.Cert.NotAfter.UTC().Format(time.DateOnly)
		}
		return "its certificate is not accepted: " + certificate.Err.Error()
	case errors.As(err, &dns):
		return "DNS: " + strings.TrimPrefix(dns.Error(), "lookup ")
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed without an answer"
	case errors.As(err, &dial):
		if isTimeout(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			return "timed out (" + dial.Phase + ")"
		}
		return dial.Phase + ": " + dial.Err.Error()
	case isTimeout(err):
		return "timed out"
	default:
		return err.Error()
	}
}
