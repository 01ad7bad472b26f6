package main

// The Redis that limits are shared through: opened by a plan, shown to operators.

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router/sharing"
)

// redisChange is another Redis, opened; the zero value is no change.
type redisChange struct {
	files   [sha256.Size]byte // digest of those that its TLS is made of
	next    *redisx.Client    // nil for none
	cache   *redisx.Client    // the same Redis, with time-outs and a breaker for the cache alone
	changed bool
}

// openRedis opens the Redis that c wants, unless it is the present one. It
// connects to it later: one that is away keeps no plan from being enforced.
func (a *app) openRedis(c configs.Redis) (redisChange, error) {
	p, files := a.plan.Load(), digestOf(&c.TLS)
	if p != nil && sameRedis(p.cfg.Redis, c) && files == a.redisFiles || p == nil && c.URL.Empty() {
		return redisChange{}, nil
	}
	if c.URL.Empty() {
		return redisChange{changed: true, files: files}, nil
	}
	o := redisx.Options{
		URL: c.URL, Password: c.Password, Cluster: c.Cluster, Nodes: c.Nodes, Timeout: c.Timeout, ConnectTimeout: c.ConnectTimeout,
		PoolSize: c.PoolSize, Prefix: c.Prefix, Log: a.log,
	}
	if u, err := url.Parse(c.URL.Reveal()); err == nil && strings.EqualFold(u.Scheme, "rediss") {
		if o.TLS, err = backends.NewTLSConfig(c.TLS.CA, c.TLS.Cert, c.TLS.Key, c.TLS.ServerName, u.Hostname(), nil); err != nil {
			return redisChange{}, fmt.Errorf("cannot use redis.tls: %w", err)
		}
		o.TLS.NextProtos = nil // it does not speak HTTP
		if c.Cluster && c.TLS.ServerName == "" {
			o.TLS.ServerName = "" // each node's certificate has its own
		}
	}
	next, err := redisx.Open(o)
	if err != nil {
		return redisChange{}, err
	}
	o.Timeout, o.Prefix = cache.SharedTimeout, o.Prefix+":cache"
	answers, err := redisx.Open(o)
	if err != nil {
		next.Close()
	}
	return redisChange{files: files, next: next, cache: answers, changed: true}, err
}

// digestOf goes by what the files hold, so that a renewed certificate makes new
// connections.
func digestOf(t *configs.ClientTLS) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, file := range []string{t.CA, t.Cert, t.Key} {
		data, _ := os.ReadFile(file) // whoever loads it complains
		fmt.Fprintf(h, "%d\x00", len(data))
		h.Write(data)
	}
	h.Sum(sum[:0])
	return sum
}

func sameRedis(a, b configs.Redis) bool {
	same := a.URL.Reveal() == b.URL.Reveal() && a.Password.Reveal() == b.Password.Reveal()
	a.URL, a.Password, b.URL, b.Password = secret.Text{}, secret.Text{}, secret.Text{}, secret.Text{}
	return same && reflect.DeepEqual(a, b)
}

// adopt shares the limits through it, and no longer through the one before.
func (c redisChange) adopt(a *app) {
	if c.changed {
		a.redisFiles = c.files
		a.sharing.Use(c.next)
		a.edge.ShareCache(c.cache)
	}
}

// drop closes what was opened for nothing.
func (c redisChange) drop() {
	if c.next != nil {
		c.next.Close()
		c.cache.Close()
	}
}

// sharingStatus is how the limits are shared, as /-/limits shows it.
type sharingStatus struct {
	Redis    string `json:"redis"`    // host:port
	Breaker  string `json:"breaker"`  // closed, half_open or open
	Replicas int64  `json:"replicas"` // this one included
	Leases   int64  `json:"leases"`   // that this one holds
	Alone    int64  `json:"alone"`    // of them, for which a share of the limit counts
}

// sharingNow is how the limits are shared; nil: not at all.
func (a *app) sharingNow() any {
	client := a.sharing.Client()
	if client == nil {
		return nil
	}
	s := a.sharing.Status()
	return sharingStatus{
		Redis: client.Address(), Breaker: s.Redis.State.String(), Replicas: s.Replicas, Leases: s.Leases, Alone: s.Alone,
	}
}

// redisFigures is what a scrape shows of it; nil: nothing is shared.
func redisFigures(b *sharing.Broker) *metric.Redis {
	if b.Client() == nil {
		return nil
	}
	s := b.Status()
	return &metric.Redis{
		Operations: s.Redis.Operations, Failed: s.Redis.Failed, Breaker: s.Redis.State.String(), Opened: s.Redis.Opened,
		Replicas: s.Replicas, Leases: s.Leases, Alone: s.Alone,
	}
}
