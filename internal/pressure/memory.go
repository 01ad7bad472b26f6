package pressure

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// The Go runtime is told to stay below this part of the limit, so that what is
// above it is memory in use and not garbage, and never to squeeze itself into less
// than floor.
const (
	garbageBelow = 0.8
	floor        = 64 << 20
)

// System is the Source of the system that the process runs on.
func System(limit uint64) []Use {
	var uses []Use
	if u, ok := memory(limit); ok {
		uses = append(uses, u)
	}
	if u, ok := descriptors(); ok {
		uses = append(uses, u)
	}
	return uses
}

// memory is the process's own against a limit that was set, and its cgroup's
// against the cgroup's: whichever is worse.
func memory(limit uint64) (worst Use, ok bool) {
	if limit > 0 {
		worst, ok = Use{memoryUse, mapped(), limit}, true
	}
	if used, most, found := cgroupMemory(); found {
		if u := (Use{memoryUse, used, most}); !ok || u.Share() > worst.Share() {
			worst, ok = u, true
		}
	}
	return worst, ok
}

// mapped is what the Go runtime has of the system.
func mapped() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// TellRuntime sets the Go runtime's own limit by that of the process, unless the
// operator has by GOMEMLIMIT, and returns it; 0: none was set.
func TellRuntime(limit uint64) int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	if _, most, ok := cgroupMemory(); ok && (limit == 0 || most < limit) {
		limit = most
	}
	soft := int64(math.MaxInt64)
	if limit > 0 && limit < math.MaxInt64 {
		soft = max(int64(garbageBelow*float64(limit)), floor)
	}
	debug.SetMemoryLimit(soft)
	if soft == math.MaxInt64 {
		return 0
	}
	return soft
}

// tenth is how much of what is kept for long may lie beside it as garbage: one part
// in so many.
const tenth = 10

// Garbage sets how soon garbage is collected. The zero value is ready; not safe for
// concurrent use.
type Garbage struct {
	percent int64 // GOGC as it was set here; 0: not yet
}

// Beside says that so many bytes are kept for long, by a cache. Go lets as much
// garbage lie around as there is alive, so that a full cache would take twice what
// the operator gave it. What else is alive may still be doubled: little is
// collected more often than without a cache. A GOGC that the operator set stays.
// Call it now and then.
func (g *Garbage) Beside(held int64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	percent, now := percentFor(int64(sample[0].Value.Uint64()), held), g.percent
	if now == 0 {
		now = 100
	}
	if diff := percent - now; diff > now/8 || -diff > now/8 { // each change stops the world for a moment
		g.percent = percent
		debug.SetGCPercent(int(percent))
	}
}

// percentFor is GOGC where so many bytes live, so many of them held.
func percentFor(live, held int64) int64 {
	other := max(live-held, 8<<20)
	return 100 * (other + held/tenth) / (other + held)
}
