package main

// The life of a serving process: start, wait, drain, close.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router"
)

const adminGrace = 2 * time.Second // for the admin listener's last answers

// app is everything a serving process holds.
type app struct {
	file    string // the configuration's; empty with --backend
	flags   overrides
	log     *slog.Logger
	level   *slog.LevelVar
	began   time.Time
	metrics *metric.Metrics
	fleet   *backends.Fleet
	engines map[string]*sim.Running // simulated backends, by name
	edge    *router.Server
	admin   *admin.Server
	watcher *configs.Watcher

	plan       atomic.Pointer[plan]
	certs      atomic.Pointer[certificates]
	lastReload atomic.Pointer[admin.LastReload]
	reloading  sync.Mutex // one reload at a time; guards access
	access     *accesslog.Log

	clients *net.TCPListener
	control net.Listener
	failed  chan error // what a listener died of
	stop    chan struct{}
	stopped sync.Once
}

// newApp puts the parts together; nothing listens yet but simulated engines.
func newApp(cfg *configs.Config, file string, flags overrides, log *slog.Logger, level *slog.LevelVar) (*app, error) {
	a := &app{
		file: file, flags: flags, log: log, level: level,
		began:   time.Now(),
		metrics: metric.New(),
		engines: make(map[string]*sim.Running),
		failed:  make(chan error, 2),
		stop:    make(chan struct{}),
	}
	v := build.Info()
	a.metrics.SetBuild(v.Version, v.Commit, v.Go)
	a.fleet = backends.NewFleet(a.metrics)
	if err := a.wire(cfg); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// start listens, and serves in the background.
func (a *app) start() error {
	s := a.plan.Load().cfg.Server
	ln, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen for clients: %w", err)
	}
	a.clients = ln.(*net.TCPListener)
	if a.control, err = net.Listen("tcp", s.Admin); err != nil {
		_ = ln.Close()
		a.clients = nil
		return fmt.Errorf("cannot listen for the admin API: %w", err)
	}
	go func() { a.failed <- a.edge.Serve(a.clients) }()
	go func() { a.failed <- a.admin.Serve(a.control) }()
	a.watch()
	a.log.Info("serving", "clients", a.clients.Addr().String(), "admin", a.control.Addr().String(), "version", build.Info().Version)
	return nil
}

// watch reloads when the file changes. Without a watch SIGHUP still works.
func (a *app) watch() {
	if a.file == "" {
		return
	}
	w, err := configs.Watch(a.file, func() { _, _ = a.reload(context.Background()) }, a.log)
	if err != nil {
		a.log.Warn("cannot watch the configuration; SIGHUP and POST /-/reload still work", "error", err)
		return
	}
	a.reloading.Lock()
	a.watcher = w
	a.reloading.Unlock()
	w.SetPaths(configs.Inspect(a.file).Files)
}

// wait serves until it is told to stop or a listener dies, then drains and closes.
func (a *app) wait(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, reloadSignals...)
	defer signal.Stop(hup)
	a.notify("READY=1")
	var err error
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-a.stop:
			running = false
		case err = <-a.failed:
			a.failed <- err
			running = false
		case <-hup:
			_, _ = a.reload(ctx)
			a.reopenAccess()
		}
	}
	a.notify("STOPPING=1")
	s := a.plan.Load().cfg.Server
	a.log.Info("draining", "at_most", s.DrainTimeout.String())
	a.edge.Drain(context.Background(), s.LameDuck, s.DrainTimeout)
	a.close()
	a.log.Info("stopped")
	return err
}

// drain begins what SIGTERM begins.
func (a *app) drain() { a.stopped.Do(func() { close(a.stop) }) }

// close ends what newApp and start began, in the reverse order.
func (a *app) close() {
	if a.watcher != nil {
		a.watcher.Close()
	}
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
	if err := a.access.Close(); err != nil {
		a.log.Warn("cannot close the access log", "error", err)
	}
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
