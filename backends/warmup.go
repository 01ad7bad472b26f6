package backends

// The warm-up: one request before a backend that is new, or back, gets others.

import (
	"context"
	"errors"
	"time"
)

// Warmup is the request that a backend gets first. Whatever comes of it, the
// backend is taken in afterwards: it is a favour, not a check.
type Warmup struct {
	Body    string // JSON, for /v1/chat/completions; empty: none
	Timeout time.Duration
}

const (
	warmingUp   = "is to be warmed up"
	warmupBytes = 1 << 20 // of its answer
)

var errWarmupLong = errors.New("its answer is longer than 1 MiB")

// mustWarm reports whether the endpoint is to be warmed up before it is taken in:
// once in each life that it begins outside.
func (p *prober) mustWarm() bool {
	ep := p.ep
	if ep.pool.rules.Load().Warmup.Body == "" {
		return false
	}
	ep.pool.mu.Lock()
	defer ep.pool.mu.Unlock()
	return ep.health.state() == Unhealthy && p.warmed != ep.health.life()
}

// warmUp sends the request and waits for its answer.
func (p *prober) warmUp(ctx context.Context) {
	ep, r := p.ep, p.ep.pool.rules.Load()
	e := errand{dialer: ep.dialer, ctx: ctx}
	defer e.close()
	request := e.text("POST", "/v1/chat/completions", r.Watching.Header.Reveal(), []byte(r.Warmup.Body))
	size := 0
	err := e.do(request, r.Warmup.Timeout, func(piece []byte) error {
		if size += len(piece); size > warmupBytes {
			return errWarmupLong
		}
		return nil
	})
	if ctx.Err() != nil {
		return
	}
	p.warmed = ep.health.life()
	ep.Series.Warmup(err == nil)
	if err == nil {
		p.coldBecause.Store(nil)
		return
	}
	why := "it was not warmed up: " + reasonOfErrand(err, r.Warmup.Timeout)
	p.coldBecause.Store(&why)
}
