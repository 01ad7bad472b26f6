package main

// Backends that come and go while the router runs: each pool's sources, and the
// plan that is made anew when they find something else.

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
)

const (
	discoverFirst = 5 * time.Second  // a plan waits so long for the first answers
	discoverGap   = time.Second      // between two plans, at least,
	discoverShare = 20               // and so many times what making one took
	discoverRetry = 10 * time.Second // after a plan that could not be made
)

// discovery is every source of the plan in force. Calls of adopt, retain, into and
// close take turns, under app.reloading.
type discovery struct {
	log     *slog.Logger
	changed chan struct{}

	mu      sync.Mutex // guards the field below
	sources map[where]*source
}

// where is what a source is found again by.
type where struct {
	pool string
	what configs.Discover
}

// source finds the backends of one pool, by DNS or in a file.
type source struct {
	where
	dns   *backends.Discovery
	watch *configs.Watcher

	mu     sync.Mutex // guards the fields below, of a file
	list   []configs.Backend
	status backends.Discovered
}

func newDiscovery(log *slog.Logger) *discovery {
	return &discovery{log: log, changed: make(chan struct{}, 1), sources: map[where]*source{}}
}

// adopt begins to look where cfg says, and waits for the first answers.
func (d *discovery) adopt(cfg *configs.Config) {
	var fresh []*source
	d.mu.Lock()
	for i := range cfg.Pools {
		at := where{cfg.Pools[i].Name, cfg.Pools[i].Discover}
		if at.what.On() && d.sources[at] == nil {
			d.sources[at] = d.open(at)
			fresh = append(fresh, d.sources[at])
		}
	}
	d.mu.Unlock()
	patience := time.After(discoverFirst)
	for _, s := range fresh {
		if s.dns == nil {
			continue
		}
		select {
		case <-s.dns.First():
		case <-patience:
			return
		}
	}
}

// open starts a source.
func (d *discovery) open(at where) *source {
	s := &source{where: at}
	if dns := at.what.DNS; dns.Name != "" {
		s.dns = backends.Discover(backends.DNSName{
			Name: dns.Name, SRV: dns.Type == "srv", Port: dns.Port, Scheme: dns.Scheme, Path: dns.Path, Every: dns.Every,
		}, backends.Lookups{}, func() { d.tell(s) })
		return s
	}
	var err error
	s.watch, err = configs.Watch(at.what.File, func() { s.read(); d.tell(s) }, d.log)
	if err != nil {
		d.log.Warn("cannot watch a file of backends", "file", at.what.File, "error", err)
	}
	s.read()
	d.logTrouble(s)
	return s
}

// tell has the plan made anew, and says what is wrong.
func (d *discovery) tell(s *source) {
	d.logTrouble(s)
	d.wake()
}

func (d *discovery) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

func (d *discovery) logTrouble(s *source) {
	if status := s.now(); status.Err != nil {
		d.log.Warn("backends found before stay in use", "pool", s.pool, "found", len(status.List), "error", configs.FirstProblem(status.Err))
	}
}

// read takes the file in. One that is wrong, or empty, leaves what was known.
func (s *source) read() {
	list, err := configs.ReadBackends(s.what.File)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Err = err; err != nil {
		s.status.Failures++
		return
	}
	s.list, s.status.LastGood, s.status.List = list, time.Now(), make([]backends.Found, len(list))
}

// now is how the source stands.
func (s *source) now() backends.Discovered {
	if s.dns != nil {
		return s.dns.Status()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// backends are what the source knows, for a pool with these settings.
func (s *source) backends(p *configs.Pool) []configs.Backend {
	if s.dns == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.list
	}
	var list []configs.Backend
	for _, f := range s.dns.Status().List {
		b := configs.Backend{URL: f.URL, Weight: f.Weight, Tier: 1, MaxInflight: s.what.DNS.MaxInflight}
		if s.what.DNS.Scheme == "https" && s.what.DNS.Type == "a" && p.TLS.ServerName == "" {
			b.TLS.ServerName = s.what.DNS.Name // an address is in no certificate
		}
		list = append(list, b)
	}
	return list
}

func (s *source) close() {
	if s.dns != nil {
		s.dns.Close()
	}
	if s.watch != nil {
		s.watch.Close()
	}
}

// into returns cfg with what was found among its pools' backends.
func (d *discovery) into(cfg *configs.Config) *configs.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sources) == 0 {
		return cfg
	}
	full := *cfg
	full.Pools = slices.Clone(cfg.Pools)
	for i := range full.Pools {
		p := &full.Pools[i]
		if s := d.sources[where{p.Name, p.Discover}]; s != nil {
			p.Backends = merged(p.Backends, s.backends(p))
		}
	}
	return &full
}

// merged is the configured backends and those found that are not the same again,
// as many as a pool can have.
func merged(own, found []configs.Backend) []configs.Backend {
	list := slices.Clone(own)
	known := make(map[string]bool, len(own)+len(found))
	for _, b := range own {
		known[onePlace(b.URL)] = true
	}
	for _, b := range found {
		if place := onePlace(b.URL); !known[place] && len(list) < configs.MaxBackends {
			known[place] = true
			list = append(list, b)
		}
	}
	return list
}

// onePlace is a URL in its one spelling.
func onePlace(url string) string {
	if a, err := backends.ParseAddress(url); err == nil {
		return a.String()
	}
	return url
}

// retain closes the sources that are not cfg's.
func (d *discovery) retain(cfg *configs.Config) {
	var gone []*source
	d.mu.Lock()
	for at, s := range d.sources {
		if !slices.ContainsFunc(cfg.Pools, func(p configs.Pool) bool { return p.Name == at.pool && p.Discover == at.what }) {
			gone = append(gone, s)
			delete(d.sources, at)
		}
	}
	d.mu.Unlock()
	for _, s := range gone {
		s.close()
	}
}

// close ends every source.
func (d *discovery) close() { d.retain(&configs.Config{}) }

// all is how the sources stand, by pool.
func (d *discovery) all() []*source {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*source, 0, len(d.sources))
	for _, s := range d.sources {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *source) int { return strings.Compare(a.pool, b.pool) })
	return list
}

// figures are what a scrape shows.
func (d *discovery) figures() (list []metric.Discovery) {
	for _, s := range d.all() {
		now := s.now()
		list = append(list, metric.Discovery{Pool: s.pool, Found: len(now.List), LastGood: now.LastGood, Failures: now.Failures})
	}
	return list
}

// report is what the admin API shows.
func (d *discovery) report() (list []admin.Discovery) {
	for _, s := range d.all() {
		now := s.now()
		one := admin.Discovery{Pool: s.pool, Source: "file " + s.what.File, Found: len(now.List), LastGood: now.LastGood}
		if s.dns != nil {
			one.Source = "dns " + s.what.DNS.Name
		}
		if now.Err != nil {
			one.Error = configs.FirstProblem(now.Err)
		}
		list = append(list, one)
	}
	return list
}

// followDiscovery makes the plan anew when other backends were found, until ctx
// ends. However often that is, it takes a twentieth of a processor at most.
func (a *app) followDiscovery(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.discovery.changed:
		}
		began := time.Now()
		if err := a.repopulate(); err != nil {
			a.log.Error("what was found is not in use", "error", err)
			time.AfterFunc(discoverRetry, a.discovery.wake)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(discoverGap, discoverShare*time.Since(began))):
		}
	}
}

// repopulate puts the plan in force once more, with the backends of now.
func (a *app) repopulate() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	old := a.plan.Load()
	changes := changedPools(old.full, a.discovery.into(old.cfg))
	if len(changes) == 0 {
		return nil
	}
	defer a.letGo()
	if err := a.enforce(old.cfg, old.generation); err != nil {
		return fmt.Errorf("cannot change the backends of %s: %w", strings.Join(changes, ", "), err)
	}
	return nil
}

// changedPools names the pools whose backends differ.
func changedPools(old, next *configs.Config) (names []string) {
	for i := range next.Pools {
		if !slices.Equal(old.Pools[i].Backends, next.Pools[i].Backends) {
			names = append(names, next.Pools[i].Name)
		}
	}
	return names
}

// logFound says how the pools of two plans differ that find backends.
func (a *app) logFound(old, next *configs.Config) {
	for i := range next.Pools {
		p := &next.Pools[i]
		if !p.Discover.On() {
			continue
		}
		before := map[string]bool{}
		for j := range old.Pools {
			if old.Pools[j].Name == p.Name {
				for _, b := range old.Pools[j].Backends {
					before[b.URL] = true
				}
			}
		}
		added := 0
		for _, b := range p.Backends {
			if !before[b.URL] {
				added++
			}
			delete(before, b.URL)
		}
		if added+len(before) > 0 {
			a.log.Info("backends found", "pool", p.Name, "backends", len(p.Backends), "added", added, "removed", len(before))
		}
	}
}
