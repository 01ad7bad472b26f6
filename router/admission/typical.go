package admission

// Typical is how many tokens an answer has, as often fewer as more.
func (e *Estimator) Typical() int64 {
	var counts [len(e.outputs)]uint32
	total := uint32(0)
	for i := range e.outputs {
		counts[i] = e.outputs[i].Load()
		total += counts[i]
	}
	if total < enough {
		return coldOutput
	}
	below := uint32(0)
	for i, n := range counts {
		if below += n; below*2 >= total {
			return largest(i)
		}
	}
	return coldOutput
}
