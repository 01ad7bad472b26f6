package pressure

import "time"

// Level is how short the process is of something, and so what is done about it.
// Each level does what those below it do.
type Level uint8

// The levels.
const (
	Calm   Level = iota
	Trim         // idle connections and spare memory are let go
	Lean         // connections close behind their answers, large bodies are refused, caches take in nothing
	Shed         // all but urgent requests are refused
	Refuse       // all requests are refused, and those that hold most memory ended
	NumLevels
)

// String is the level as logs, metrics and the admin API write it.
func (l Level) String() string {
	return [NumLevels]string{"calm", "trim", "lean", "shed", "refuse"}[l]
}

// MarshalText is String, for encoders.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// from is the share in use that begins a level. It ends below that by slack, when
// that has been so for calmFor.
var from = [NumLevels]float64{Trim: 0.85, Lean: 0.92, Shed: 0.95, Refuse: 0.98}

const (
	slack   = 0.05
	calmFor = 2 * time.Second
)

// Ladder is a level that rises at once and falls step by step. The zero Ladder is
// calm.
type Ladder struct {
	level  Level
	easing time.Time // since when it could fall; zero: it could not
}

// Step notes how large a share is in use at now, and returns the level.
func (l *Ladder) Step(used float64, now time.Time) Level {
	up := l.level
	for up+1 < NumLevels && used >= from[up+1] {
		up++
	}
	switch {
	case up > l.level:
		l.level, l.easing = up, time.Time{}
	case l.level == Calm || used >= from[l.level]-slack:
		l.easing = time.Time{}
	case l.easing.IsZero():
		l.easing = now
	case now.Sub(l.easing) >= calmFor:
		l.level--
		l.easing = now
	}
	return l.level
}
