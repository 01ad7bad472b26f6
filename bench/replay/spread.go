package replay

// What came of runs that differ in nothing but their seed.

// Spread is the means of several runs, and their extremes. A plain value.
type Spread struct {
	Summary         // the means
	Seeds   int     `json:"seeds"`
	Low     Summary `json:"low"` // of each figure by itself
	High    Summary `json:"high"`
}

// figures are the fields of s that are averaged.
func (s *Summary) figures() []*float64 {
	return []*float64{&s.HitRatio, &s.TTFTp50, &s.TTFTp90, &s.TTFTp99, &s.TPOTp50, &s.E2Ep50, &s.Goodput}
}

// SpreadOf sums up results of one policy, at least one.
func SpreadOf(results []*Result) Spread {
	first := results[0].Summary()
	s := Spread{Summary: first, Seeds: len(results), Low: first, High: first}
	for _, r := range results[1:] {
		next := r.Summary()
		for i, v := range next.figures() {
			*s.Summary.figures()[i] += *v
			low, high := s.Low.figures()[i], s.High.figures()[i]
			*low, *high = min(*low, *v), max(*high, *v)
		}
	}
	for _, mean := range s.Summary.figures() {
		*mean = round(*mean / float64(len(results)))
	}
	return s
}
