package replay

// What no router can do better: the hit ratio of one cache.

// Oracle returns the part of all prompts' tokens that one cache of so many tokens
// would have, which throws out what was used longest ago; 0 tokens is a cache
// without bounds. It reads a prompt in no time, so that even the next request finds
// it, and its answers take room too.
func (t *Trace) Oracle(tokens int64) float64 {
	var hit, all int64
	t.spare(tokens, func(r *Request, spared int64) {
		hit, all = hit+spared, all+int64(r.Prompt)
	})
	return ratio(hit, all)
}

// Spared returns the trace without what that cache would have of its prompts: what
// is left is computed whoever gets it.
func (t *Trace) Spared(tokens int64) *Trace {
	spared := &Trace{Skipped: t.Skipped, sizes: t.sizes}
	t.spare(tokens, func(r *Request, hit int64) {
		left := *r
		left.Prompt, left.Pieces = r.Prompt-int32(hit), nil
		spared.Requests = append(spared.Requests, left)
	})
	return spared
}

// spare tells for each request how many tokens of its prompt that cache has.
func (t *Trace) spare(tokens int64, tell func(r *Request, hit int64)) {
	o := oracle{capacity: tokens, entries: make(map[uint64]*kept)}
	p := newPrompts(t, 0)
	o.head.next, o.head.before = &o.head, &o.head
	for i := range t.Requests {
		r := &t.Requests[i]
		known, found := true, int64(0)
		p.each(i, func(name uint64, tokens int) {
			if e := o.entries[name]; e == nil {
				known = false
				o.add(name, int64(tokens))
			} else {
				o.touch(e)
				if known {
					found += int64(tokens)
				}
			}
		})
		o.add(mix(uint64(i)<<1), int64(r.Output))
		tell(r, min(found, int64(r.Prompt)-1))
	}
}

// oracle is the cache.
type oracle struct {
	capacity, used int64
	entries        map[uint64]*kept
	head           kept // of a ring, the latest first
}

type kept struct {
	name         uint64
	tokens       int64
	before, next *kept
}

func (o *oracle) add(name uint64, tokens int64) {
	e := &kept{name: name, tokens: tokens}
	o.entries[name] = e
	o.link(e)
	o.used += tokens
	for o.capacity > 0 && o.used > o.capacity && o.head.before != &o.head {
		last := o.head.before
		last.unlink()
		delete(o.entries, last.name)
		o.used -= last.tokens
	}
}

func (o *oracle) touch(e *kept) {
	e.unlink()
	o.link(e)
}

func (o *oracle) link(e *kept) {
	e.before, e.next = &o.head, o.head.next
	e.before.next, e.next.before = e, e
}

func (e *kept) unlink() { e.before.next, e.next.before = e.next, e.before }
