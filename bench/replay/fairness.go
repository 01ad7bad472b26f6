package replay

// How evenly tenants were served while they waited.

import "github.com/helixflow/helixflow/router/admission"

// mostCompared is how many tenants of a router are compared with each other.
const mostCompared = 64

// fairness watches what tenants are served: tokens, as the queue counts them. The
// gap is the most by which one of them got more than another of its class over any
// time in which both had requests waiting all along.
type fairness struct {
	tenants map[tenancy]*service
	list    []*service
	gap     float64

	longest, running, most float64 // tokens: of a prompt; of the requests on backends, now and at most
}

// tenancy is a tenant in a class.
type tenancy struct {
	tenant string
	class  admission.Class
}

// service is what a tenant got.
type service struct {
	tenancy
	place   int // in the list
	served  float64
	waiting int
	leads   []lead // over those before it in the list
}

// lead is by how much a tenant got more than another, since both wait.
type lead struct{ low, high float64 }

// of is the tenant of w; nil: there are too many.
func (f *fairness) of(w *admission.Waiter) *service {
	key := tenancy{w.Tenant, w.Class}
	s := f.tenants[key]
	if s == nil && len(f.list) < mostCompared {
		if f.tenants == nil {
			f.tenants = make(map[tenancy]*service)
		}
		s = &service{tenancy: key, place: len(f.list), leads: make([]lead, len(f.list))}
		f.tenants[key] = s
		f.list = append(f.list, s)
	}
	return s
}

// others calls each for every tenant but s that waits with it, and its lead of one
// over the other.
func (f *fairness) others(s *service, each func(l *lead, over float64)) {
	for _, o := range f.list {
		if o == s || o.class != s.class || o.waiting == 0 {
			continue
		}
		if o.place < s.place {
			each(&s.leads[o.place], s.served-o.served)
		} else {
			each(&o.leads[s.place], o.served-s.served)
		}
	}
}

// waits notes that a request waits, and goes that it does no more.
func (f *fairness) waits(w *admission.Waiter) {
	s := f.of(w)
	if s == nil {
		return
	}
	if s.waiting++; s.waiting == 1 {
		f.others(s, func(l *lead, over float64) { *l = lead{over, over} })
	}
}

func (f *fairness) goes(w *admission.Waiter) {
	if s := f.of(w); s != nil {
		s.waiting--
	}
}

// serve notes that a request was given so many tokens.
func (f *fairness) serve(w *admission.Waiter, tokens float64) {
	s := f.of(w)
	if s == nil {
		return
	}
	if s.served += tokens; s.waiting > 0 {
		f.others(s, func(l *lead, over float64) {
			l.low, l.high = min(l.low, over), max(l.high, over)
			f.gap = max(f.gap, l.high-l.low)
		})
	}
}

// begin notes that a request goes to a backend, and end that it is over there.
func (f *fairness) begin(w *admission.Waiter, t *Request, prompt float64) {
	f.longest = max(f.longest, prompt)
	f.running += float64(t.Prompt + t.Output)
	f.most = max(f.most, f.running)
	f.serve(w, prompt)
}

func (f *fairness) end(t *Request) { f.running -= float64(t.Prompt + t.Output) }

// bound is what the gap stays below by theory (Sheng et al., OSDI 2024, theorem
// 4.4): twice a prompt, or what is on the backends at once, as outputs count.
func (f *fairness) bound() float64 { return 2 * max(f.longest, outputWeight*f.most) }
