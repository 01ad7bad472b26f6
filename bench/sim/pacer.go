package sim

// The order in which paced jobs get their tokens.

// pacer is a heap of paced jobs, the earliest token first; by tag where equal.
type pacer []*job

func (p pacer) Len() int { return len(p) }

func (p pacer) Less(i, j int) bool {
	if p[i].due != p[j].due {
		return p[i].due < p[j].due
	}
	return p[i].request.Tag < p[j].request.Tag
}

func (p pacer) Swap(i, j int) {
	p[i], p[j] = p[j], p[i]
	p[i].position, p[j].position = i, j
}

// Push is for container/heap.
func (p *pacer) Push(x any) {
	j := x.(*job)
	j.position = len(*p)
	*p = append(*p, j)
}

// Pop is for container/heap.
func (p *pacer) Pop() any {
	last := len(*p) - 1
	j := (*p)[last]
	(*p)[last] = nil
	*p = (*p)[:last]
	j.position = -1
	return j
}
