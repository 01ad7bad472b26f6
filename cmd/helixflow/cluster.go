package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/gossip"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router"
)

const clusterRetry = time.Second // the process that hands over may still hold the port

// cluster is this process among the other replicas. The zero value is by itself.
type cluster struct {
	node    atomic.Pointer[gossip.Node]
	stop    chan struct{}
	running sync.WaitGroup
}

// share has placements of prompts told to the other replicas, as soon as there are
// any, and until then goes by homes. It comes before the first plan.
func (c *cluster) share(cfg *configs.Cluster, indexes *router.Indexes, metrics *metric.Metrics) {
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
	indexes.Share(cfg.Secret, func(packet []byte) {
		if n := c.node.Load(); n != nil {
			n.Send(packet)
		}
	})
}

// join looks for the other replicas, in the background: what it finds is a gain,
// and nothing waits for it.
func (c *cluster) join(cfg *configs.Cluster, indexes *router.Indexes, log *slog.Logger) {
	if c.stop == nil {
		return
	}
	c.running.Go(func() { indexes.Tell(c.stop) })
	c.running.Go(func() { c.keepStarting(cfg, indexes, log) })
}

func (c *cluster) keepStarting(cfg *configs.Cluster, indexes *router.Indexes, log *slog.Logger) {
	o := gossip.Options{
		Listen: cfg.Listen, Advertise: cfg.Advertise, Peers: cfg.Peers, Secret: cfg.Secret,
		Routers: cfg.Routers, Receive: indexes.Hear, Alone: indexes.Scatter, Log: log,
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
