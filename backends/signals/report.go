package signals

// What a text told.

// Trouble is why a meaning has no value.
type Trouble uint8

// The troubles.
const (
	Fine       Trouble = iota
	NotTold            // no such name in the text
	NoNumber           // NaN, an infinity, None, or no number at all
	Negative           // below zero
	OutOfRange         // more than there can be
	Twice              // one series stands there twice
	TooMany            // more series than there are engines behind one backend
	Malformed          // the line is not understood
)

var troubleTexts = [...]string{
	"", "not told", "not a number", "below zero", "more than there can be", "the same series twice",
	"more than 64 series", "a line that is not understood",
}

// String says it in words.
func (t Trouble) String() string { return troubleTexts[t] }

// Report is what one text told.
type Report struct {
	values  [numMeanings]float64
	trouble [numMeanings]Trouble
}

// Get returns the value of m; ok is false when there is none.
func (r *Report) Get(m Meaning) (v float64, ok bool) { return r.values[m], r.trouble[m] == Fine }

// Trouble is why m has no value; Fine when it has one.
func (r *Report) Trouble(m Meaning) Trouble { return r.trouble[m] }

// SameTroubles reports whether the same meanings have values, and the others none
// for the same reasons.
func (r *Report) SameTroubles(o *Report) bool { return r.trouble == o.trouble }

// Report ends the text and sums it up.
func (s *Scanner) Report() (r Report) {
	if len(s.line) > 0 {
		s.endLine()
	}
	for m := range numMeanings {
		r.values[m], r.trouble[m] = s.meaning(m)
	}
	s.derive(&r)
	return r
}

// meaning is the value of the first family of m that the text has.
func (s *Scanner) meaning(m Meaning) (float64, Trouble) {
	for i := range s.preset.families {
		f, t := &s.preset.families[i], &s.sums[i]
		switch {
		case f.meaning != m || t.n == 0 && t.trouble == Fine:
			continue
		case t.trouble != Fine:
			return 0, t.trouble
		case f.combine == mean:
			return min(t.value/float64(t.n), most[m]), Fine
		case t.value > most[m]:
			return 0, OutOfRange
		default:
			return t.value, Fine
		}
	}
	return 0, NotTold
}

// derive fills in what follows from the rest.
func (s *Scanner) derive(r *Report) {
	blocks, ok := r.Get(KVBlocks)
	size, sized := r.Get(BlockTokens)
	if ok && sized && r.trouble[KVTokens] == NotTold {
		r.values[KVTokens], r.trouble[KVTokens] = blocks*size, Fine
		if blocks*size > most[KVTokens] {
			r.values[KVTokens], r.trouble[KVTokens] = 0, OutOfRange
		}
	}
	if asked, found := r.values[Asked], r.values[Found]; found > asked && r.trouble[Found] == Fine && r.trouble[Asked] == Fine {
		r.values[Found], r.trouble[Found] = 0, OutOfRange
	}
	for _, m := range [...]Meaning{KVUse, HitShare} { // a hair above 1 is rounding
		r.values[m] = min(r.values[m], 1)
	}
}
