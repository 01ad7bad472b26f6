package router

import (
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file lets other policies decide beside a pool's own: what they would have
// done is counted and logged, and nothing else comes of it.

// shadow is a policy that decides without effect.
type shadow struct {
	policy balancer.Policy
	series *metric.ShadowSeries
}

// shadowed is what the shadows of a pool decided about one request.
type shadowed struct {
	pool   *Pool // nil: there are none
	picks  [accesslog.MaxShadows]int16
	better [accesslog.MaxShadows]float32 // seconds, than what was done
}

// consult asks the pool's shadows where they would send r, for which endpoint j is
// chosen; before that is booked.
func (p *Pool) consult(r *balancer.Request, j int) (s shadowed) {
	if len(p.shadows) == 0 {
		return s
	}
	s.pool = p
	decided := r.Decision
	cost := p.coster.Cost(r, p.candidates, j).Cost
	for i := range p.shadows {
		pick := balancer.Choose(p.shadows[i].policy, r, p.candidates)
		s.picks[i] = int16(pick)
		if pick >= 0 && pick != j {
			s.better[i] = float32(cost - p.coster.Cost(r, p.candidates, pick).Cost)
		}
	}
	r.Decision = decided
	return s
}

// count counts what the shadows decided beside endpoint j.
func (s *shadowed) count(j int) {
	if s.pool == nil {
		return
	}
	for i, shadow := range s.pool.shadows {
		shadow.series.Choice(int(s.picks[i]) == j, float64(s.better[i]))
	}
}

// record puts what they decided into the access log's line.
func (s *shadowed) record(r *accesslog.Record) {
	if s.pool == nil {
		return
	}
	for i, shadow := range s.pool.shadows {
		r.Shadows[i].Policy = shadow.policy.Name()
		if pick := s.picks[i]; pick >= 0 {
			r.Shadows[i].Backend = s.pool.endpoints[pick].URL()
		}
	}
}
