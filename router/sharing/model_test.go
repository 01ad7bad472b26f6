package sharing

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/helixflow/helixflow/router/admission"
)

// model is what lease.lua does, in Go, with a clock of its own: the reference that
// the script is held against, and the Redis of the simulations.
type model struct {
	now    int64 // microseconds
	limits map[string]*modelLimit
}

type modelLimit struct {
	level   float64
	born    int64
	holders map[string]modelLease
}

type modelLease struct{ holds, used, ends int64 }

func newModel(now int64) *model { return &model{now: now, limits: map[string]*modelLimit{}} }

func (m *model) exchange(key, me string, b *admission.Bid) admission.Grant {
	at := 0.0
	if b.Mode == admission.Flow {
		at = float64(m.now)
	}
	l := m.limits[key]
	if l == nil {
		l = &modelLimit{level: at, born: m.now, holders: map[string]modelLease{}}
		m.limits[key] = l
	}
	mine, isThere := l.holders[me]
	others, replicas, lost := int64(0), int64(1), int64(0)
	for id, h := range l.holders {
		switch {
		case id == me:
		case h.ends <= m.now && (h.holds == 0 || b.Mode == admission.Slots):
			delete(l.holders, id)
		case h.ends <= m.now:
			lost += h.holds
			l.holders[id] = modelLease{used: h.used + h.holds, ends: m.now + 2e6}
		case h.holds > 0:
			others, replicas = others+h.holds, replicas+1
		}
	}
	if b.Mode != admission.Slots {
		fresh := b.Charge - b.Acked
		if isThere {
			fresh = b.Charge - mine.used
		}
		apart := max(0, min(b.Apart, fresh))
		fresh -= apart
		if l.born != b.Born {
			l.level, apart = math.Max(l.level, at+float64(b.Seed)), 0
		} else if !isThere {
			fresh = max(0, fresh-b.Held)
		}
		if fresh += lost; fresh+apart > 0 {
			l.level = math.Max(l.level, at)
		}
		l.level += float64(fresh) * b.Unit
		l.level = math.Max(l.level, math.Min(l.level+float64(apart)*b.Unit, at+float64(b.Size)*b.Unit+5e6))
	}
	if b.Mode == admission.Flow {
		l.level = math.Min(l.level, at+100*float64(b.Size)*b.Unit)
	}
	total := l.grant(b, float64(b.Size)-math.Max(0, l.level-at)/b.Unit-float64(others), float64(replicas))
	ends := m.now + 8e5
	if total == 0 {
		ends = m.now + 1e7
	}
	l.holders[me] = modelLease{holds: total, used: b.Charge, ends: ends}
	g := admission.Grant{Total: total, Level: int64(math.Ceil(math.Max(0, l.level-at))), Leased: others + total, Replicas: replicas, Born: l.born}
	l.level, _ = strconv.ParseFloat(strconv.FormatFloat(l.level, 'f', 3, 64), 64) // as it is kept
	return g
}

func (l *modelLimit) grant(b *admission.Bid, free, replicas float64) int64 {
	lot := 1.0
	switch b.Mode {
	case admission.Flow:
		lot = math.Ceil(150000 / b.Unit / replicas)
	case admission.Sum:
		lot = math.Ceil(float64(b.Size) / 4096 / replicas)
	}
	keep, total := float64(b.Keep), float64(b.Keep)
	if float64(b.Need) > free {
		total = math.Min(lot, free)
	} else if b.Want >= 0 {
		share := keep + math.Min(float64(b.Want)-keep, (free-keep)/(2*replicas))
		total = math.Min(free, max(float64(b.Need), share, lot))
	}
	return int64(math.Max(keep, math.Floor(total)))
}

// String is all that is known of a limit, for messages.
func (l *modelLimit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "level %.3f born %d", l.level, l.born)
	for id, h := range l.holders {
		fmt.Fprintf(&b, " %s:%+v", id, h)
	}
	return b.String()
}
