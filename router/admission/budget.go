package admission

import (
	"sync/atomic"
	"time"
)

// Per is how long a budget lasts. Days and months are those of UTC.
type Per uint8

// The periods.
const (
	PerDay Per = iota
	PerMonth
	PerTotal // for as long as the process lives
)

// Budget is an amount of money for a period.
type Budget struct {
	MicroUSD int64
	Per      Per
}

// purse is what was spent and reserved in the running period. The zero purse has
// begun none.
type purse struct{ window atomic.Pointer[window] }

// window is one period of a purse.
type window struct {
	per      Per
	from, to int64        // Unix seconds
	used     atomic.Int64 // by this process alone
	lease    atomic.Pointer[Lease]
}

// now is the window that t falls in. What was spent in an earlier one is gone,
// and so it is when the budget's period is another one since a reload.
func (p *purse) now(per Per, t time.Time) *window {
	for {
		w := p.window.Load()
		if w != nil && w.per == per && t.Unix() < w.to {
			return w // a clock that steps back stays in the later window
		}
		from, to := bounds(per, t)
		p.window.CompareAndSwap(w, &window{per: per, from: from, to: to})
	}
}

func bounds(per Per, t time.Time) (from, to int64) {
	t = t.UTC()
	y, m, d := t.Date()
	switch per {
	case PerDay:
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC).Unix()
	case PerMonth:
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Unix()
	default:
		return 0, 1<<63 - 1
	}
}

// take reserves cost if the budget holds it.
func (w *window) take(b *Budget, cost int64) bool {
	for {
		old := w.used.Load()
		if old >= b.MicroUSD || old+cost > b.MicroUSD {
			return false
		}
		if w.used.CompareAndSwap(old, old+cost) {
			return true
		}
	}
}

// untilEnd is how long the window lasts yet; negative: it has no end.
func (w *window) untilEnd(t time.Time) time.Duration {
	if w.per == PerTotal {
		return -1
	}
	return max(time.Unix(w.to, 0).Sub(t), 0)
}
