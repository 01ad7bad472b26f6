package main

// The life of a serving process: start, wait, drain, close.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router"
)

const adminGrace = 2 * time.Second // for the admin listener's last answers

// app is everything a serving process holds.
type app struct {
	cfg     *configs.Config
	log     *slog.Logger
	metrics *metric.Metrics
	fleet   *backends.Fleet
	engines map[string]*sim.Running // simulated backends, by name
	edge    *router.Server
	admin   *admin.Server

	clients *net.TCPListener
	control net.Listener
	failed  chan error // what a listener died of
}

// newApp puts the parts together; nothing listens yet but simulated engines.
func newApp(cfg *configs.Config, log *slog.Logger) (*app, error) {
	a := &app{
		cfg: cfg, log: log,
		metrics: metric.New(),
		engines: make(map[string]*sim.Running),
		failed:  make(chan error, 2),
	}
	v := build.Info()
	a.metrics.SetBuild(v.Version, v.Commit, v.Go)
	a.fleet = backends.NewFleet(a.metrics)
	if err := a.wire(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// start listens, and serves in the background.
func (a *app) start() error {
	ln, err := net.Listen("tcp", a.cfg.Server.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen for clients: %w", err)
	}
	a.clients = ln.(*net.TCPListener)
	if a.control, err = net.Listen("tcp", a.cfg.Server.Admin); err != nil {
		_ = ln.Close()
		return fmt.Errorf("cannot listen for the admin API: %w", err)
	}
	go func() { a.failed <- a.edge.Serve(a.clients) }()
	go func() { a.failed <- a.admin.Serve(a.control) }()
	a.log.Info("serving", "clients", a.clients.Addr().String(), "admin", a.control.Addr().String(), "version", build.Info().Version)
	return nil
}

// wait serves until ctx ends or a listener dies, then drains and closes.
func (a *app) wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-a.failed:
		a.failed <- err
	}
	a.log.Info("draining", "at_most", a.cfg.Server.DrainTimeout.String())
	a.edge.Drain(context.Background())
	a.close()
	a.log.Info("stopped")
	return err
}

// close ends what newApp and start began, in the reverse order.
func (a *app) close() {
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
	a.fleet.Close()
	for _, e := range a.engines {
		_ = e.Close()
	}
}

// baseURL is what an OpenAI client is given.
func (a *app) baseURL() string {
	scheme := "http"
	if a.cfg.Server.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(a.clients.Addr()) + "/v1"
}
