package replay

// What a run is made of.

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/bench/sim"
)

// Config is one run. A plain value; New has the defaults.
type Config struct {
	Trace    *Trace
	Policy   string // one of Policies
	Tuning   balancer.Tuning
	Backends int
	Engine   sim.Preset
	Routers  int           // each with books and an index of its own
	Scrape   time.Duration // between two readings of a backend's metrics; 0: none
	Gossip   time.Duration // until other routers hear of a placement; below 0: never, so they go by homes
	Seed     uint64

	Speeds []float64 // of the backends; missing ones are 1
	Faults []Fault
	Leave  float64 // part of the clients that leave before their answer is whole
	Batch  float64 // part of the requests that stand back for the others

	IndexScale   float64 // the index's horizon over what engines can hold; 2 is the router's own
	Noise        float64 // sigma of the logarithm of what is believed of a prompt's length
	Rate         float64 // prompt tokens a second that a backend is configured to read; 0: the default
	ReleaseAtEnd bool    // prompts stay on the books until the answer is whole: for ablation
	NoReports    bool    // engines do not tell what was cached
	MaxInflight  int     // requests a backend gets at once; 0: no bound
	FindLimits   bool    // how many a backend can take at once is found out, as pools[].concurrency does
	Queue        Queue
	Hedge        Hedge
}

// Hedge is when a second backend is asked too, as pools[].hedge says.
type Hedge struct {
	Percentile float64 // of the answers that are not late; 0: no second tries
	Budget     float64 // part of the requests that may have one
}

// Queue is where requests wait while all backends have MaxInflight of them.
type Queue struct {
	Wait time.Duration // at most; 0: they are refused at once
	Size int
}

// FaultKind is what befalls a backend.
type FaultKind uint8

// The faults.
const (
	Crash FaultKind = iota // everything on it is lost, and connections are refused
	Slow                   // it works at Fault.Speed
	Heal                   // it is well again; after a crash with an empty cache
)

// Fault is something that befalls a backend.
type Fault struct {
	At      time.Duration // since the first arrival
	Backend int
	Kind    FaultKind
	Speed   float64 // of Slow; 1 is as before
}

// New returns a run of a trace under a policy with everything else at its default.
func New(t *Trace, policy string) Config {
	return Config{
		Trace: t, Policy: policy, Tuning: balancer.DefaultTuning(), Backends: 8, Routers: 1, Scrape: time.Second,
		Engine: mustPreset("h100-70b-tp4").WithKVTokens(307_000), Gossip: -1, IndexScale: 2,
	}
}

func mustPreset(name string) sim.Preset {
	p, err := sim.PresetNamed(name)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return p
}

const maxRouters = 64

// Check says what is wrong with c.
func (c *Config) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("cannot run the replay: "+format, args...)
	}
	switch {
	case c.Trace == nil || len(c.Trace.Requests) == 0:
		return errors.New("cannot run the replay: the trace has no requests")
	case c.Backends < 1 || c.Backends > balancer.MaxBackends:
		return bad("there can be 1 to %d backends, not %d", balancer.MaxBackends, c.Backends)
	case c.Routers < 1 || c.Routers > maxRouters:
		return bad("there can be 1 to %d routers, not %d", maxRouters, c.Routers)
	case c.MaxInflight < 0 || c.MaxInflight > math.MaxInt32 || c.Queue.Wait < 0 || c.Queue.Size < 0:
		return bad("a bound below 0 makes no sense")
	case !(c.Hedge.Percentile >= 0 && c.Hedge.Percentile < 1) || !(c.Hedge.Budget >= 0 && c.Hedge.Budget <= 1):
		return bad("a percentile and a budget of second tries are from 0 to 1")
	case c.Scrape < 0 || c.Scrape > 0 && c.Scrape < time.Millisecond:
		return bad("metrics can be read each millisecond at most")
	case c.Engine.Blocks < 1 || c.Engine.MaxSeqs < 1 || c.Engine.MaxBatchTokens < 1:
		return bad("the engine has no room for a sequence")
	case !(c.IndexScale >= 0) || !(c.Noise >= 0 && c.Noise <= 3) || !(c.Leave >= 0 && c.Leave <= 1) || !(c.Batch >= 0 && c.Batch <= 1):
		return bad("IndexScale, Noise, Leave or Batch makes no sense")
	}
	if _, err := newPolicy(c.Policy, c.Tuning); err != nil {
		return err
	}
	for _, f := range c.Faults {
		if f.Backend < 0 || f.Backend >= c.Backends || f.Kind == Slow && !(f.Speed > 0 && f.Speed < math.Inf(1)) {
			return bad("a fault of backend %d with speed %v makes no sense", f.Backend, f.Speed)
		}
	}
	return nil
}

// speed is how fast a backend is that nothing has befallen.
func (c *Config) speed(backend int) float64 {
	if backend < len(c.Speeds) && c.Speeds[backend] > 0 {
		return c.Speeds[backend]
	}
	return 1
}
