// Applying Params to one request: a second walk over the root's members, for the
// routes that have rules.

package openai

import "github.com/helixflow/helixflow"

// Apply adds to e the edits that make the request body, in which Scan found c,
// obey the rules:
//
//   - a parameter that is missing gets its default, behind the other members.
//     null counts as given: the client asked for what the backend assumes. A
//     default for one of the three limit keys goes only to an operation that has
//     that key, and only when no other limit is left in the request.
//   - a number above its cap is replaced by the cap; null and what is missing
//     stay so. Each of the limit keys has a cap of its own.
//   - a parameter to drop leaves, with one comma beside it.
//
// A ruled parameter that stands twice or in another spelling, or has a cap and is
// neither a number nor null, is refused with a *helixflow.Error; e then means
// nothing. Afterwards c.MaxTokens and c.N are what the backend will read; places
// in c remain those in body. It does not allocate unless it refuses. What the
// edits borrow belongs to p.
func (p *Params) Apply(body []byte, c *Call, e *Edits) error {
	if p == nil {
		return nil
	}
	r := ruling{walker: walker{b: body}, call: c, edits: e}
	if p.figures {
		r.readFigures()
	}
	for more := r.enter('{'); more; more = r.more('{') {
		key := r.key()
		at := r.keyAt
		i, err := p.find(key, at+1)
		if err != nil {
			return err
		}
		v := r.step()
		switch {
		case i < 0:
			r.keep(at, v)
			continue
		case r.seen&(1<<i) != 0:
			return duplicateKey(key, at+1)
		case p.rules[i].drop:
			r.drop(at, v)
			r.figures[p.rules[i].figure] = -1
		default:
			r.keep(at, v)
			if err := r.lower(&p.rules[i], v); err != nil {
				return err
			}
		}
		r.seen |= 1 << i
	}
	if r.bad {
		panic("BUG: rules applied to a body that Scan did not accept")
	}
	r.endRun(r.run.End)
	for i := range p.rules {
		if p.rules[i].insert != nil && r.seen&(1<<i) == 0 {
			r.insert(&p.rules[i])
		}
	}
	if p.figures {
		r.writeFigures()
	}
	return nil
}

// ruling is the application of Params to one body.
type ruling struct {
	walker
	call    *Call
	edits   *Edits
	seen    uint32                // bit i: the parameter of rule i stands in the body
	kept    int32                 // end of the last member that stays; 0: none so far
	run     Span                  // neighbours that leave, with the comma to leave with them; absent between runs
	figures [numFigures + 1]int64 // as the backend will read them, -1 for none; the last is noFigure's, unused
}

// A rule's bit must fit.
const _ uint = 32 - MaxParams

// step steps over a value, in one leap where Scan has been already.
func (r *ruling) step() Span {
	r.peek()
	start, c, end := int32(r.i), r.call, int32(0)
	switch start {
	case c.Messages.Start:
		end = c.Messages.End
	case c.Input.Start:
		end = c.Input.End
	case c.Prompt.Start:
		end = c.Prompt.End
	case c.Tools.Start:
		end = c.Tools.End
	case c.Instructions.Start:
		end = c.Instructions.End
	default:
		return r.value()
	}
	r.i = int(end)
	return Span{start, end}
}

// keep notes that the member from the quote at to its value v stays.
func (r *ruling) keep(at int, v Span) {
	end := r.run.End
	if r.kept == 0 { // the comma to leave is the one behind the run
		end = int32(at)
	}
	r.endRun(end)
	r.kept = v.End
}

// drop notes that the member leaves: one more of the run, or the first of it.
func (r *ruling) drop(at int, v Span) {
	if !r.run.Present() {
		r.run.Start = int32(at)
		if r.kept > 0 { // the comma to leave is the one before the run
			r.run.Start = r.kept
		}
	}
	r.run.End = v.End
}

// endRun deletes the run, if there is one, up to end.
func (r *ruling) endRun(end int32) {
	if r.run.Present() {
		r.edits.Replace(Span{r.run.Start, end}, nil)
		r.run = Span{}
	}
}

// lower holds the value v to the rule's cap.
func (r *ruling) lower(rule *rule, v Span) error {
	if rule.most == nil || r.b[v.Start] == 'n' {
		return nil
	}
	n, ok := number(v.In(r.b))
	if !ok {
		return want(false, string(rule.name), "a number of at most 32 characters", v)
	}
	if n > rule.max {
		r.edits.Replace(v, rule.most)
		r.figures[rule.figure] = int64(rule.max)
	}
	return nil
}

// insert adds the rule's default, unless the request is better without it.
func (r *ruling) insert(rule *rule) {
	if rule.figure < NumLimitKeys && (!rule.figure.in(r.call.Op) || r.smallestLimit() >= 0) {
		return
	}
	with := rule.insert
	if r.kept == 0 {
		with = with[1:] // nothing stands before it
	}
	r.kept = r.call.Close
	r.edits.Insert(r.call.Close, with)
	r.figures[rule.figure] = rule.amount
}

// in reports whether the operation has the limit key.
func (k LimitKey) in(op helixflow.Op) bool {
	switch k {
	case LimitMaxTokens:
		return op == helixflow.OpChatCompletions || op == helixflow.OpCompletions
	case LimitMaxCompletionTokens:
		return op == helixflow.OpChatCompletions
	}
	return op == helixflow.OpResponses
}

func (r *ruling) readFigures() {
	for k := range NumLimitKeys {
		r.figures[k] = -1
		if n, ok := integer(r.call.LimitValues[k].In(r.b)); ok && r.call.LimitValues[k].Present() {
			r.figures[k] = n
		}
	}
	r.figures[figureN] = r.call.N
}

func (r *ruling) writeFigures() {
	r.call.MaxTokens = r.smallestLimit()
	r.call.N = r.figures[figureN]
	if r.call.N < 0 {
		r.call.N = 1
	}
}

// smallestLimit returns the smallest of the limits, -1 when there is none.
func (r *ruling) smallestLimit() int64 {
	smallest := int64(-1)
	for _, n := range r.figures[:NumLimitKeys] {
		if n >= 0 && (smallest < 0 || n < smallest) {
			smallest = n
		}
	}
	return smallest
}
