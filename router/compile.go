package router

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/backends/signals"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/clientaddr"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router/admission"
)

// This file turns a checked configuration into a Snapshot. Config types go no
// further than here.

// World is what a plan is compiled against, and what outlives it.
type World struct {
	Fleet     *backends.Fleet
	Metrics   *metric.Metrics
	Fallbacks *Fallbacks
	Limits    *admission.Book
	Lots      *Lots
	Indexes   *Indexes       // nil: nothing is remembered of prompts
	KeySets   *authn.KeySets // nil: no issuer is asked for its keys, and no token of one that would be is believed
	// Sim returns the base URL of the simulated engine with this name, started
	// if need be.
	Sim func(name string) (string, error)
}

// Compile makes the plan of cfg. Endpoints that the fleet has already are
// adopted. Every key must have its hash: serve fills in those it generates.
func Compile(cfg *configs.Config, w World, generation uint64) (*Snapshot, error) {
	s := &Snapshot{
		generation: generation,
		names:      make(map[string]*publicName),
		maxBody:    cfg.Server.MaxBody,
		maxUpload:  cfg.Server.MaxUpload,
		maxSpool:   cfg.Server.MaxSpool,
		origins:    origins{any: slices.Contains(cfg.Server.CORS.Origins, "*"), list: cfg.Server.CORS.Origins},
		trusted:    clientaddr.New(cfg.Server.TrustedProxies),
		created:    time.Now().Unix(),

		answersLimit: cfg.Server.IdempotencyMemory,
		authFailures: cfg.Auth.FailuresPerMinute,
	}
	s.compileWebsockets(cfg)
	pools := make(map[string]*Pool, len(cfg.Pools))
	var problems []error
	for i := range cfg.Pools {
		p, err := compilePool(&cfg.Pools[i], w)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		pools[p.name] = p
		s.pools = append(s.pools, p)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := s.addHooks(cfg.Hooks, w); err != nil {
		return nil, err
	}
	s.addCache(cfg)
	s.addSalts(cfg)
	s.addPrefixes(cfg, pools, w)
	for i := range cfg.Models {
		if err := s.addModel(&cfg.Models[i], pools, w); err != nil {
			return nil, err
		}
	}
	s.book, s.lots, s.indexes = w.Limits, w.Lots, w.Indexes
	s.addLimits(cfg, w.Limits)
	if err := s.addTenants(cfg); err != nil {
		return nil, err
	}
	s.addStandings(cfg)
	return s, s.addIdentity(cfg, w)
}

func (s *Snapshot) compileWebsockets(cfg *configs.Config) {
	w := cfg.Server.Websockets
	s.websockets = websockets{max: int64(w.Max), idle: w.Idle, total: w.Total}
	for _, p := range cfg.Passthrough {
		for _, op := range []helixflow.Op{helixflow.OpRealtime, helixflow.OpResponsesSocket} {
			if p.IsWebsocket() && p.Prefix == op.Path() {
				s.websockets.ops = append(s.websockets.ops, op)
			}
		}
	}
}

// addPrefixes adds the passthrough list, and what it makes of pools.
func (s *Snapshot) addPrefixes(cfg *configs.Config, pools map[string]*Pool, w World) {
	for i := range cfg.Pools {
		p := pools[cfg.Pools[i].Name]
		if p.owner = cfg.Pools[i].Tenant; p.owner == "" && len(cfg.Tenants) == 1 {
			p.owner = cfg.Tenants[0].Name
		}
	}
	for i := range cfg.Passthrough {
		c := &cfg.Passthrough[i]
		if c.IsWebsocket() {
			continue
		}
		pool := pools[c.Pool]
		pool.keeps = pool.keeps || !c.Shared
		r := &Route{
			model: metric.NoModel, targets: []target{{pool: pool, weight: 1}}, groups: []group{{0, 1}},
			fallback: new(fallback), series: w.Metrics.Model(metric.NoModel), held: holdBelow,
			estimator: w.Limits.Estimator(metric.NoModel),
		}
		r.setTimeouts(&c.Timeouts)
		s.prefixes = append(s.prefixes, &prefix{
			path: c.Prefix, pool: pool, shared: c.Shared, admin: administrative([]byte(c.Prefix)),
			name: &publicName{name: metric.NoModel, index: -1, route: r},
		})
	}
	slices.SortStableFunc(s.prefixes, func(a, b *prefix) int { return len(b.path) - len(a.path) })
}

func (r *Route) setTimeouts(c *configs.Timeouts) {
	r.connect, r.firstToken, r.idle, r.total, r.keepalive = c.Connect, c.FirstToken, c.Idle, c.Total, c.Keepalive
	if r.keepalive == 0 { // never
		r.keepalive = r.total
	}
}

func compilePool(c *configs.Pool, w World) (*Pool, error) {
	policy, err := balancer.New(c.Balance, tuningOf(&c.Adaptive))
	if err != nil {
		return nil, fmt.Errorf("cannot make pool %s: %w", c.Name, err)
	}
	p := &Pool{
		name: c.Name, policy: policy, wants: balancer.WantsOf(policy), salted: c.PrefixIndex.Salt == "tenant" || c.CacheSalt == "tenant", saltsCache: c.CacheSalt == "tenant", sessionHeader: c.SessionHeader, static: staticHeader(c), injectUsage: c.Usage == "inject",
		listed: c.AsksModels(), quota: c.Engine == "openai" && !c.Signals.Off,
		adapters: !c.Signals.Off && signals.Of(c.Engine) != nil && signals.Of(c.Engine).TellsAdapters(),
		attempts: c.Retry.Attempts, budget: w.Fleet.Budget(c.Name),
	}
	p.series = w.Metrics.Picks(c.Name, balancer.ReasonNames())
	p.budget.Set(c.Retry.Budget.Float(), backends.BudgetPerSecond)
	if p.credentials, err = w.Fleet.Credentials(c.Name, c.Credentials()); err != nil {
		return nil, err
	}
	if !c.Hedge.Off {
		p.hedging = &hedging{after: c.Hedge.After, percentile: c.Hedge.Percentile.Float(), book: w.Fleet.Hedges(c.Name), series: w.Metrics.Hedges(c.Name)}
		p.hedging.book.Set(c.Hedge.Budget.Float())
	}
	if !c.Queue.Off {
		p.lot, p.queue = w.Lots.of(c.Name), queueRules{size: c.Queue.Size, wait: c.Queue.Wait}
	}
	for name := range c.Headers {
		p.replaced = append(p.replaced, []byte(name))
	}
	for i := range c.Backends {
		b := &c.Backends[i]
		spec, err := endpointSpec(c, b, w)
		if err != nil {
			return nil, fmt.Errorf("cannot make backend %s of pool %s: %w", b.URL, c.Name, err)
		}
		ep := w.Fleet.Adopt(spec)
		ep.Load.SetPrefillRate(float64(c.Adaptive.PrefillRate))
		ep.Load.SetInterference(c.Adaptive.PerRequest.Seconds(), c.Adaptive.PerKVToken.Seconds())
		concurrency := &ep.Concurrency
		if c.Concurrency.Off {
			concurrency = nil
		}
		p.endpoints = append(p.endpoints, ep)
		p.candidates = append(p.candidates, balancer.Candidate{
			Load: &ep.Load, Weight: int32(b.Weight), Limit: int32(b.MaxInflight), ID: uint64(ep.Mark()), Tier: int32(b.Tier),
			Concurrency: concurrency, Signals: &ep.Signals,
		})
	}
	if err := p.addShadows(c); err != nil {
		return nil, fmt.Errorf("cannot make the shadows of pool %s: %w", c.Name, err)
	}
	p.addIndex(&c.PrefixIndex, w.Indexes)
	p.members = w.Fleet.Members(c.Name, rulesOf(c), p.endpoints)
	return p, nil
}

// rulesOf is how the pool's endpoints are looked after.
func rulesOf(c *configs.Pool) backends.Rules {
	h, e := c.Health, c.Ejection
	return backends.Rules{
		Checks: backends.Checks{Off: h.Off, Path: h.Path, Every: h.Every, Timeout: h.Timeout, Unhealthy: h.Unhealthy, Healthy: h.Healthy},
		Ejection: backends.Ejection{
			Off: e.Off, Consecutive: e.Consecutive, Rate: e.Rate.Float(), Samples: e.Samples,
			Base: e.Base, Max: e.Max, MaxShare: e.MaxShare.Float(), Panic: e.Panic.Float(),
		},
		Concurrency:  backends.Concurrency{Off: c.Concurrency.Off, Min: c.Concurrency.Min, Max: c.Concurrency.Max},
		Watching:     watchingOf(c),
		Warmup:       warmupOf(c),
		SlowStart:    c.SlowStart,
		DrainTimeout: c.DrainTimeout,
	}
}

// warmupOf is what a backend of the pool is asked first.
func warmupOf(c *configs.Pool) backends.Warmup {
	w := &c.Warmup
	if w.Model == "" {
		return backends.Warmup{}
	}
	body := openai.AppendJSONString([]byte(`{"model":`), w.Model)
	body = openai.AppendJSONString(append(body, `,"messages":[{"role":"user","content":`...), w.Prompt)
	body = fmt.Appendf(body, `}],"max_tokens":%d}`, w.MaxTokens)
	return backends.Warmup{Body: string(body), Timeout: w.Timeout}
}

// watchingOf is what is read of the pool's engines. Whoever has a key for
// requests needs it for that too.
func watchingOf(c *configs.Pool) backends.Watching {
	w := backends.Watching{Every: c.Signals.Every, Path: c.Signals.Path}
	header := staticHeader(c)
	if keys := c.Credentials(); len(keys) > 0 {
		header = appendHeader(header, "Authorization", []byte("Bearer "+keys[0].Reveal()))
	}
	w.Header = secret.New(string(header))
	if !c.Signals.Off {
		w.Metrics = signals.Of(c.Engine)
		w.Props = c.Engine == "llamacpp"
	}
	if c.Signals.Port != 0 {
		w.Port = strconv.Itoa(c.Signals.Port)
	}
	if c.AsksModels() {
		ollama := c.Engine == "ollama"
		w.Models = backends.ModelLists{Served: true, Loaded: ollama, Ollama: ollama}
	}
	return w
}

// staticHeader is what every request to the pool carries besides its own.
func staticHeader(c *configs.Pool) []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		b = appendHeader(b, name, []byte(c.Headers[name]))
	}
	return b
}

// endpointSpec resolves a backend's URL and reads the files of its TLS.
func endpointSpec(c *configs.Pool, b *configs.Backend, w World) (backends.Spec, error) {
	real, t := b.URL, c.TLSOf(b)
	if name, ok := strings.CutPrefix(b.URL, "sim:"); ok {
		var err error
		if real, err = w.Sim(name); err != nil {
			return backends.Spec{}, err
		}
	}
	spec := backends.Spec{
		Pool: c.Name, URL: b.URL, Warm: c.Warmup.Model != "",
		Identity: identity(t, c.Proxy),
	}
	var err error
	if spec.Address, err = backends.ParseAddress(real); err != nil {
		return spec, err
	}
	if spec.Address.Scheme == "https" {
		if spec.TLS, err = backends.NewTLSConfig(t.CA, t.Cert, t.Key, t.ServerName, spec.Address.Host, nil); err != nil {
			return spec, err
		}
	}
	if !c.Proxy.Empty() {
		spec.Proxy, err = backends.ParseProxy(c.Proxy.Reveal())
	}
	return spec, err
}

// identity tells endpoints apart whose connections must not be shared. It goes
// by what the files hold, so that a renewed certificate makes new connections.
func identity(t configs.ClientTLS, proxy secret.Text) string {
	h := sha256.New()
	for _, file := range []string{t.CA, t.Cert, t.Key} {
		data, _ := os.ReadFile(file) // whoever loads it complains
		fmt.Fprintf(h, "%s\x00%d\x00", file, len(data))
		h.Write(data)
	}
	fmt.Fprintf(h, "%s\x00%s", t.ServerName, proxy.Reveal())
	return string(h.Sum(nil))
}

// addModel adds a model's route under its name and its aliases.
func (s *Snapshot) addModel(c *configs.Model, pools map[string]*Pool, w World) error {
	r := &Route{
		model: c.Name, fallback: w.Fallbacks.of(c.Name), hold: c.FallbackHold, series: w.Metrics.Model(c.Name),
		estimator: w.Limits.Estimator(c.Name), price: priceOf(&c.Price), held: holdBelow, cache: cachingOf(c),
	}
	r.setTimeouts(&c.Timeouts)
	r.addTargets(c.Targets, pools)
	r.addHooks(c.Hooks, s.hooks)
	var err error
	if r.params, err = compileParams(&c.Params); err != nil {
		return fmt.Errorf("cannot use the params of model %s: %w", c.Name, err)
	}
	if c.Name == "*" {
		s.catchAll = &publicName{name: c.Name, index: -1, route: r}
		return nil
	}
	for _, name := range append([]string{c.Name}, c.Aliases...) {
		n := &publicName{name: name, index: len(s.listed), route: r}
		if name != c.Name {
			n.content, n.plain = jsonContent(c.Name), []byte(c.Name)
		}
		s.names[name] = n
		s.listed = append(s.listed, n)
	}
	return nil
}

// abilitiesOf is what the target is said to be able to do.
func abilitiesOf(c *configs.Target) abilities {
	can := abilities{noTools: slices.Contains(c.Lacks, "tools"), noImages: slices.Contains(c.Lacks, "images")}
	if c.Context != nil {
		can.context = *c.Context
	}
	return can
}

// addTargets sorts the targets by priority and sets the mirrors apart.
func (r *Route) addTargets(list []configs.Target, pools map[string]*Pool) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b configs.Target) int { return a.Priority - b.Priority })
	last := 0
	for _, c := range list {
		t := target{pool: pools[c.Pool], content: jsonContent(c.Model), weight: c.Weight}
		t.abilities = abilitiesOf(&c)
		if c.Model != "" {
			t.plain = []byte(c.Model)
		}
		switch {
		case c.IsMirror():
			r.mirrors = append(r.mirrors, mirror{target: t, share: c.Mirror.Float()})
			continue
		case c.Weight == 0:
			continue
		case len(r.groups) == 0 || c.Priority != last:
			r.groups = append(r.groups, group{first: len(r.targets)})
		}
		last = c.Priority
		model := c.Model
		if model == "" && r.model != "*" {
			model = r.model
		}
		t.askLists(model)
		r.listed = r.listed || t.pool.listed
		r.able = r.able || t.abilities != abilities{}
		r.targets = append(r.targets, t)
		r.keeps = r.keeps || t.pool.keeps
		r.groups[len(r.groups)-1].end = len(r.targets)
	}
}

func compileParams(c *configs.Params) (*openai.Params, error) {
	var defaults, caps []openai.Member
	for _, d := range c.Default {
		defaults = append(defaults, openai.Member{Name: d.Name, Value: d.Value})
	}
	for _, m := range c.Cap {
		caps = append(caps, openai.Member{Name: m.Name, Value: m.Value})
	}
	return openai.CompileParams(defaults, caps, c.Drop)
}

// jsonContent is a name as the inside of a JSON string; nil for none.
func jsonContent(name string) []byte {
	if name == "" {
		return nil
	}
	quoted := openai.AppendJSONString(nil, name)
	return quoted[1 : len(quoted)-1]
}
