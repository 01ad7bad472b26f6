package main

// The life of a serving process: start, wait, drain, close.

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/handover"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/pressure"
	"github.com/helixflow/helixflow/router"
	"github.com/helixflow/helixflow/router/admission"
	"github.com/helixflow/helixflow/router/sharing"
)

const adminGrace = 2 * time.Second // for the admin listener's last answers

// app is everything a serving process holds.
type app struct {
	settings  ServeCmd // what the command line says
	log       *slog.Logger
	level     *slog.LevelVar
	began     time.Time
	metrics   *metric.Metrics
	fleet     *backends.Fleet
	fallbacks router.Fallbacks
	keySets   *authn.KeySets
	limits    admission.Book
	sharing   *sharing.Broker
	lots      router.Lots
	indexes   router.Indexes
	cluster   cluster
	engines   map[string]*sim.Running // simulated backends, by name
	discovery *discovery
	edge      *router.Server
	garbage   pressure.Garbage // the watch's
	memory    *pressure.Watch
	gaveUp    time.Time // when requests were ended for their memory; the watch's
	soft      int64     // what the Go runtime was told

	// onPressure is who else has memory to let go of, told of each level; not
	// changed once wire is done.
	onPressure []func(pressure.Level)

	admin *admin.Server

	plan       atomic.Pointer[plan]
	certs      atomic.Pointer[certificate]
	lastReload atomic.Pointer[admin.LastReload]
	reloading  sync.Mutex // one reload at a time; guards the fields below
	snapshot   *router.Snapshot
	watcher    *configs.Watcher
	access     *accesslog.Log
	redisFiles [sha256.Size]byte // digest of what the TLS towards Redis was made of

	clients *net.TCPListener
	control net.Listener
	offer   *handover.Handler
	manager *handover.Notifier
	hup     chan os.Signal
	failed  chan error // what a listener died of
	stop    chan struct{}
	stopped sync.Once
}

// newApp puts the parts together; nothing listens yet but simulated engines.
func newApp(cfg *configs.Config, settings ServeCmd, log *slog.Logger, level *slog.LevelVar) (*app, error) {
	a := &app{
		settings: settings, log: log, level: level,
		began:   time.Now(),
		metrics: metric.New(),
		engines: make(map[string]*sim.Running),
		failed:  make(chan error, 2),
		hup:     make(chan os.Signal, 1),
		stop:    make(chan struct{}),

		discovery: newDiscovery(log),
	}
	a.metrics.Discoveries(a.discovery.figures)
	v := build.Info()
	a.metrics.SetBuild(v.Version, v.Commit, v.Go)
	a.metrics.Queues(a.lots.QueueCounts)
	a.metrics.Limits(func() []metric.Rejections { return router.LimitRejections(&a.limits) })
	a.sharing = sharing.NewBroker(&a.limits)
	a.metrics.Redis(func() *metric.Redis { return redisFigures(a.sharing) })
	a.fleet = backends.NewFleet(a.metrics)
	a.fleet.OnTransition(a.transition)
	a.keySets = authn.NewKeySets(log)
	a.metrics.Issuers(func() []metric.Issuer { return issuerFigures(a.keySets) })
	a.cluster.share(&cfg.Cluster, &a.indexes, a.fleet, a.metrics)
	if err := a.wire(cfg); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// start opens or takes the listeners, serves on them in the background, and only
// then lets go whoever served on them before.
func (a *app) start() error {
	signal.Notify(a.hup, syscall.SIGHUP) // before Ready: systemd may send it from then on
	var err error
	if a.manager, err = handover.NewNotifier(); err != nil {
		return err
	}
	s := a.plan.Load().cfg.Server
	opened, err := openSockets(s, a.settings.Takeover, a.log)
	if err != nil {
		return err
	}
	a.clients, a.control = opened.clients, opened.admin
	go func() { a.failed <- a.edge.Serve(a.clients) }()
	go func() { a.failed <- a.admin.Serve(a.control) }()
	if err := opened.commit(); err != nil {
		return err
	}
	if s.Handover != "" {
		both := map[string]net.Listener{clientsName: a.clients, adminName: a.control}
		if a.offer, err = handover.Serve(s.Handover, both, a.log); err != nil {
			return err
		}
	}
	a.cluster.join(&a.plan.Load().cfg.Cluster, &a.indexes, a.log)
	a.watch()
	a.log.Info("serving", "clients", a.clients.Addr().String(), "admin", a.control.Addr().String(), "version", build.Info().Version)
	a.told(a.manager.Ready("serving"))
	return nil
}

// watch reloads when the file changes. Without a watch SIGHUP still works.
func (a *app) watch() {
	if a.settings.Config == "" {
		return
	}
	w, err := configs.Watch(a.settings.Config, func() { _, _ = a.reload(context.Background()) }, a.log)
	if err != nil {
		a.log.Warn("cannot watch the configuration; SIGHUP and POST /-/reload still work", "error", err)
		return
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.watcher = w
	w.SetPaths(configs.Inspect(a.settings.Config).Files)
}

// told logs that the service manager could not be told something.
func (a *app) told(err error) {
	if err != nil {
		a.log.Warn("the service manager does not hear", "error", err)
	}
}

// wait serves until it is told to stop, a new process has taken over or a
// listener dies; then it drains and closes.
func (a *app) wait(ctx context.Context) error {
	defer signal.Stop(a.hup)
	watching, stop := context.WithCancel(context.Background())
	var watched sync.WaitGroup
	watched.Go(func() { a.manager.Watch(watching, func() bool { return true }) })
	following, unfollow := context.WithCancel(context.Background())
	var followed sync.WaitGroup
	followed.Go(func() { a.followDiscovery(following) })
	defer watched.Wait()
	defer stop()
	lameDuck, err := a.untilEnd(ctx)
	unfollow()
	followed.Wait()
	s := a.plan.Load().cfg.Server
	if !lameDuck {
		s.LameDuck = 0
	}
	a.told(a.manager.Stopping("draining"))
	a.log.Info("draining", "at_most", s.DrainTimeout.String())
	a.edge.Drain(context.Background(), s.LameDuck, s.DrainTimeout)
	a.close()
	a.log.Info("stopped")
	return err
}

// untilEnd waits for the end of serving. Whoever balances load in front needs a
// lame duck to notice, but not where another process serves the same address.
func (a *app) untilEnd(ctx context.Context) (lameDuck bool, err error) {
	for {
		select {
		case <-a.hup:
			_, _ = a.reload(ctx)
			a.reopenAccess()
		case <-ctx.Done():
			return true, nil
		case <-a.stop:
			return true, nil
		case <-a.offer.Given():
			_ = a.control.Close() // health is the new process's to tell
			return false, nil
		case err := <-a.failed:
			a.failed <- err
			return true, err
		}
	}
}

// drain begins what SIGTERM begins.
func (a *app) drain() { a.stopped.Do(func() { close(a.stop) }) }

// close ends what newApp and start began, in the reverse order.
func (a *app) close() {
	a.reloading.Lock()
	w := a.watcher
	a.watcher = nil
	a.reloading.Unlock()
	if w != nil {
		w.Close()
	}
	a.offer.Close()
	a.cluster.leave()
	if a.edge != nil {
		a.edge.Close()
	}
	if a.clients != nil {
		<-a.failed
	}
	if a.control != nil {
		grace, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		if err := a.admin.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			a.log.Warn("cannot close the admin listener", "error", err)
		}
		<-a.failed
	}
	if a.memory != nil {
		a.memory.Close()
	}
	if err := a.access.Close(); err != nil {
		a.log.Warn("cannot close the access log", "error", err)
	}
	a.sharing.Close()
	a.keySets.Close()
	a.discovery.close()
	a.fleet.Close()
	for _, e := range a.engines {
		_ = e.Close()
	}
}

// baseURL is what an OpenAI client is given.
func (a *app) baseURL() string {
	scheme := "http"
	if a.plan.Load().cfg.Server.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(a.clients.Addr()) + "/v1"
}
