package main

// What running short of memory or descriptors does.

import (
	"runtime/debug"
	"time"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/pressure"
)

// setMemory puts the limit of a plan into force.
func (a *app) setMemory(m configs.Memory) {
	limit := uint64(m.Limit)
	if m.Off {
		limit = 0
	}
	if soft := pressure.TellRuntime(limit); soft != a.soft {
		a.soft = soft
		if soft > 0 {
			a.log.Info("the Go runtime is to stay below a part of the memory", "bytes", soft)
		}
	}
	a.memory.Limit(limit, m.Off)
}

// resources is how much of what is used up. It is asked a few times a second, or more
// often where little memory is left, and tells the runtime of the cache on the way.
func (a *app) resources(limit uint64) []pressure.Use {
	if s, ok := a.edge.CacheStats(); ok {
		a.garbage.Beside(s.Bytes)
	}
	return pressure.System(limit)
}

// pressed acts on a level, and tells the operator.
func (a *app) pressed(before, now pressure.State) {
	if now.Level == before.Level {
		a.giveUp(&now)
		return
	}
	a.edge.SetPressure(now.Level)
	for _, f := range a.onPressure {
		f(now.Level)
	}
	worst, log := now.Worst(), a.log.Info
	if now.Level > before.Level {
		log = a.log.Warn
		a.fleet.DropIdle()
		debug.FreeOSMemory()
	}
	log("pressure", "from", before.Level.String(), "to", now.Level.String(), "resource", worst.Resource, "used", worst.Used, "limit", worst.Limit)
}

const (
	giveUpPause = 250 * time.Millisecond // from one time to the next
	giveUpTime  = 20 * time.Millisecond  // for what is given up to end
)

// giveUp ends the requests that hold most memory, where even refusing all others
// does not help.
func (a *app) giveUp(now *pressure.State) {
	excess := now.Excess()
	if excess <= 0 || time.Since(a.gaveUp) < giveUpPause {
		return
	}
	n, bytes := a.edge.GiveUp(excess)
	if n == 0 {
		return
	}
	a.log.Warn("gave up requests for the memory that they held", "requests", n, "bytes", bytes)
	time.Sleep(giveUpTime)
	debug.FreeOSMemory()
	a.gaveUp = time.Now()
}

// pressure is what a scrape shows.
func (a *app) pressure() metric.Pressure {
	s := a.memory.State()
	p := metric.Pressure{Level: int(s.Level)}
	for _, u := range s.Uses {
		p.Uses = append(p.Uses, metric.ResourceUse{Name: u.Resource, Used: u.Used, Limit: u.Limit})
	}
	return p
}
