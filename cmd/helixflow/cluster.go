package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/gossip"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router"
)

const clusterRetry = time.Second // the process that hands over may still hold the port

// cluster is this process among the other replicas. The zero value is by itself.
type cluster struct {
	node    atomic.Pointer[gossip.Node]
	hints   *router.Hints
	stop    chan struct{}
	running sync.WaitGroup
}

// share has placements of prompts told to the other replicas, as soon as there are
// any, and backends of the fleet that go out; until then it goes by homes. It comes
// before the first plan.
func (c *cluster) share(cfg *configs.Cluster, indexes *router.Indexes, fleet *backends.Fleet, metrics *metric.Metrics) {
	if cfg.Listen == "" && cfg.Routers < 2 {
		return
	}
	metrics.Cluster(func() metric.ClusterFigures { return c.figures(indexes) })
	indexes.Scatter(cfg.Routers > 1)
	if cfg.Listen == "" {
		indexes.Agree(cfg.Secret)
		return
	}
	c.stop = make(chan struct{})
	send := func(packet []byte) {
		if n := c.node.Load(); n != nil {
			n.Send(packet)
		}
	}
	indexes.Share(cfg.Secret, send)
	c.hints = router.NewHints(cfg.Secret, fleet, send)
}

// join looks for the other replicas, in the background: what it finds is a gain,
// and nothing waits for it.
func (c *cluster) join(cfg *configs.Cluster, indexes *router.Indexes, log *slog.Logger) {
	if c.stop == nil {
		return
	}
	c.running.Go(func() { indexes.Tell(c.stop) })
	c.running.Go(func() { c.hints.Tell(c.stop) })
	c.running.Go(func() { c.keepStarting(cfg, indexes, log) })
}

// note has the other replicas told of a backend that goes out.
func (c *cluster) note(t backends.Transition) {
	if c.hints != nil {
		c.hints.Note(t)
	}
}

func (c *cluster) keepStarting(cfg *configs.Cluster, indexes *router.Indexes, log *slog.Logger) {
	o := gossip.Options{
		Listen: cfg.Listen, Advertise: cfg.Advertise, Peers: cfg.Peers, Secret: cfg.Secret,
		Routers: cfg.Routers, Alone: indexes.Scatter, Log: log,
		Receive: func(packet []byte) {
			if !c.hints.Hear(packet, time.Now()) {
				indexes.Hear(packet)
			}
		},
	}
	for told := false; ; told = true {
		n, err := gossip.Start(o)
		if err == nil {
			c.node.Store(n)
			log.Info("listening for other replicas", "address", n.Address())
			return
		}
		if !told {
			log.Warn("by itself for now; trying on", "error", err)
		}
		select {
		case <-c.stop:
			return
		case <-time.After(clusterRetry):
		}
	}
}

func (c *cluster) figures(indexes *router.Indexes) metric.ClusterFigures {
	s := indexes.PlacementCounts()
	f := metric.ClusterFigures{Members: 1, Scattered: indexes.Scattered(), Told: s.Told, Heard: s.Heard, Dropped: s.Dropped, Refused: s.Refused}
	if c.hints != nil {
		t := c.hints.Counts()
		f.HintsTold, f.HintsHeard, f.HintsChecked, f.HintsDropped = t.Told, t.Heard, t.Checked, t.Dropped
		f.Refused += t.Refused
	}
	if n := c.node.Load(); n != nil {
		counts := n.Counts()
		f.Members, f.Sent, f.Received, f.Failed = counts.Members, counts.Sent, counts.Received, counts.Failed
	}
	return f
}

// leave ends what join began.
func (c *cluster) leave() {
	if c.stop == nil {
		return
	}
	close(c.stop)
	c.running.Wait()
	c.node.Load().Close()
}
