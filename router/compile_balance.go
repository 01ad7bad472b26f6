package router

import (
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/accesslog"
)

// This file turns how a pool balances into what its policies need.

// A line of the access log has room for all shadows.
var _ [accesslog.MaxShadows]struct{} = [configs.MaxShadows]struct{}{}

// addShadows gives the pool its shadows, and has it find out what they go by.
func (p *Pool) addShadows(c *configs.Pool) error {
	t := tuningOf(&c.Adaptive)
	p.coster = balancer.NewCoster(t)
	series := p.series.Shadows(c.Shadow)
	for i, name := range c.Shadow {
		policy, err := balancer.New(name, t)
		if err != nil {
			return err
		}
		p.shadows = append(p.shadows, shadow{policy, series[i]})
		p.wants |= balancer.WantsOf(policy) | balancer.WantsSize
	}
	return nil
}

// addIndex gives the pool its prefix index, if anybody asks it.
func (p *Pool) addIndex(c *configs.PrefixIndex, known *Indexes) {
	p.ordered, p.seed = true, balancer.Salt(0, []byte(p.name)) // several routers agree
	p.series.Index(nil)
	if len(p.endpoints) < 2 { // there is nothing to choose
		p.wants &= balancer.WantsSize
	}
	if known == nil || c.Off || p.wants&balancer.WantsIndex == 0 {
		return
	}
	var places []int
	p.index, places = known.of(p.name, p.endpoints, c.Memory)
	for i, place := range places {
		p.candidates[i].Place = place
		p.ordered = p.ordered && place == i
	}
	p.seed = p.index.seed
	p.series.Index(p.index.figures)
}

// tuningOf is what the pool's policy runs by.
func tuningOf(c *configs.Adaptive) balancer.Tuning {
	return balancer.Tuning{
		Surcharge: float64(c.Surcharge), Popularity: float64(c.Popularity), AffinityMaxWait: c.AffinityMaxWait,
		Interference: c.Interference.Float(), PerRequest: c.PerRequest, PerKVToken: c.PerKVToken,
		KVPressure: c.KVPressure, Home: c.Home.Float(), Probe: c.Probe.Float(),
	}
}
