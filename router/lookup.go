package router

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/router/admission"
)

// This file looks whether the answer to a request is known (ADR 25). A model
// without a rule for it pays for a look at one field.

// caching is what is kept of a route's answers; nil: nothing.
type caching struct {
	cache.Rule
	route    cache.Digest // all of the route that can change an answer
	coalesce bool         // who asks the same at once shares a flight
}

// known is what the cache has to do with an exchange.
type known struct {
	result     metric.CacheResult // none: no rule is about it
	keeps      bool               // its answer may be kept
	usageChunk openai.Span        // of what is recorded
	key        cache.Key
	answer     *cache.Answer // of a hit
	form       *buf.Buffer   // the answer of a hit as the asker wants it, where that is otherwise; else nil
	recording  *cache.Recording
	usage      helixflow.Usage // of an answer that another one's flight brought
}

// setCache makes room for so many bytes of answers, and a cache if it is the first
// time that there is to be one; 0 forgets all.
func (s *Server) setCache(limit int64) {
	c := s.known.Load()
	switch {
	case c != nil && limit == 0:
		c.Drop()
	case c != nil:
		c.SetLimit(limit)
	case limit > 0:
		c, err := cache.New(limit)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		c.Share(s.knownThrough.Swap(nil))
		s.metrics.Cache(func() metric.CacheStats { return cacheFigures(c.Stats()) })
		s.metrics.Flights(s.flights.stats)
		s.known.Store(c)
	}
}

// cacheFigures is what a scrape shows.
func cacheFigures(s cache.Stats) metric.CacheStats {
	f := metric.CacheStats{Limit: s.Limit, Bytes: s.Bytes, Answers: s.Answers, Evicted: s.Evicted, Refused: s.Refused}
	if s.Shared != nil {
		f.Shared, f.SharedHits, f.SharedDropped, f.SharedForeign = true, s.Shared.Hits, s.Shared.Dropped, s.Shared.Foreign
	}
	return f
}

// CacheStats are figures of the cache of answers; none where no model ever had
// one.
func (s *Server) CacheStats() (stats cache.Stats, ok bool) {
	c := s.known.Load()
	if c == nil {
		return stats, false
	}
	return c.Stats(), true
}

// PurgeCache forgets answers, and those that are under way. It returns how many
// were in memory.
func (s *Server) PurgeCache(which cache.Selection) (deleted int, err error) {
	if c := s.known.Load(); c != nil {
		deleted, err = c.Purge(which, time.Now())
		s.flights.seal()
	}
	return deleted, err
}

// ShareCache has the cache find the answers of other replicas through a Redis, and
// give them its own; nil ends that. It owns the client, and may wait for what runs
// through the one before.
func (s *Server) ShareCache(r *redisx.Client) {
	if c := s.known.Load(); c != nil {
		c.Share(r)
		return
	}
	if old := s.knownThrough.Swap(r); old != nil {
		old.Close()
	}
}

// lookup finds the answer to the same request of before. An error is one that the
// client is to read.
func (e *Exchange) lookup() error {
	c := e.name.route.cache
	if c == nil {
		if e.client.cache.onlyIfCached {
			return errNotCached
		}
		return nil
	}
	if e.client.cache.noStore || !e.keyed(c) {
		e.known.result = metric.CacheBypass
	} else {
		e.known.keeps, e.known.result = true, metric.CacheMiss
		if !e.client.cache.noCache {
			e.findOrBoard(c)
		}
	}
	e.name.route.series.Cache(e.known.result)
	if e.client.cache.onlyIfCached && e.known.answer == nil {
		return errNotCached
	}
	return nil
}

// streams reports whether the answer of a hit is given as a stream.
func (k *known) streams() bool { return k.answer != nil && k.answer.Stream == (k.form == nil) }

// body is the answer of a hit as the asker gets it, but for the usage chunk.
func (k *known) body() []byte {
	if k.form != nil {
		return k.form.B
	}
	return k.answer.Body
}

// contentType is that of the answer of a hit.
func (k *known) contentType() []byte {
	switch {
	case k.form == nil:
		return []byte(k.answer.ContentType)
	case k.answer.Stream:
		return jsonMedia
	}
	return eventsMedia
}

// question is the scratch of making a key.
type question struct {
	cache.Question
	view openai.View
}

var questions = sync.Pool{New: func() any { return new(question) }}

// keyed makes the key that the request's answer is found by; false where it is none
// to keep.
func (e *Exchange) keyed(c *caching) bool {
	if e.body == nil || e.socket != nil || e.reach.narrowed || !openai.PlainOptions(e.body.B, &e.call) {
		return false
	}
	p := e.principal
	if c.Sharing == cache.ByKey && p.KeyID == "" {
		return false // nobody to keep it for
	}
	q := questions.Get().(*question)
	defer questions.Put(q)
	body := e.body.B
	if !q.view.Read(body, &e.call) || c.Judge(e.op, body, &e.call, &q.view) != cache.Keeps {
		return false
	}
	header := buf.Get(256)
	header.B = e.appendTelling(header.B)
	q.Question = cache.Question{
		Op: e.op, Model: e.name.route.model, Route: c.route, Query: e.client.query,
		Header: header.B, Body: body, Call: &e.call, View: &q.view,
	}
	if e.name == e.snap.catchAll {
		q.Asked = e.wanted()
	}
	e.known.key = e.srv.keys.Of(cache.NewScope(c.Sharing, p.Tenant, p.KeyID), &q.Question)
	q.Question = cache.Question{}
	header.Free()
	return true
}

// appendTelling appends the header lines that can change an answer, in the order
// of the plan.
func (e *Exchange) appendTelling(dst []byte) []byte {
	for _, name := range e.snap.cacheHeaders {
		for lines := e.header.B; len(lines) > 0; {
			line, rest, _ := bytes.Cut(lines, []byte("\r\n"))
			lines = rest
			if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], name) {
				dst = append(append(append(dst, name...), line[len(name):]...), '\n')
			}
		}
	}
	return dst
}

// find looks for the answer, and makes it the exchange's if it is there, is young
// enough, and can be given in the form that the asker wants.
func (e *Exchange) find(c *caching) {
	now := e.bodyRead
	a := e.srv.known.Load().Get(&e.known.key, now)
	if a == nil || e.client.cache.aged && a.Age(now) > e.client.cache.maxAge || !e.suits(a) {
		return
	}
	e.known.answer, e.known.result, e.known.keeps = a, metric.CacheHit, false
	e.status = statusOK
	e.freeRequest()
	r := e.name.route
	r.series.Saved(a.Usage, r.price.of(a.Usage))
}

// findOrBoard finds the answer, or the flight that it comes with.
func (e *Exchange) findOrBoard(c *caching) {
	for again := false; ; again = true {
		e.find(c)
		if e.known.answer != nil || !c.coalesce || e.client.cache.onlyIfCached || e.board(again) {
			return
		}
	}
}

// suits reports whether the answer can be given as the asker wants it, and makes it
// that.
func (e *Exchange) suits(a *cache.Answer) bool {
	stream := e.call.Stream && e.op.CanStream()
	switch {
	case stream && e.call.IncludeUsage && reportsApart(e.op) && !a.Usage.Reported:
		return false // a backend that is asked may say
	case stream == a.Stream:
		return true
	case !stream && reportsApart(e.op) && !a.Usage.Reported:
		return false // whole answers have it
	}
	form, ok := buf.Get(len(a.Body)+512), false
	if stream {
		form.B, ok = openai.AppendSplit(form.B, a.Body, e.op, e.call.IncludeUsage)
	} else {
		form.B, ok = openai.AppendAssembled(form.B, a.Body, e.op)
	}
	if !ok {
		form.Free()
		return false
	}
	e.known.form = form
	return true
}

// reportsApart reports whether a stream of the operation has its usage in a chunk
// of its own, for those who ask for it.
func reportsApart(op helixflow.Op) bool {
	return op == helixflow.OpChatCompletions || op == helixflow.OpCompletions
}

// hitDemand is what a hit counts as against limits.
func (e *Exchange) hitDemand() admission.Demand {
	r := e.name.route
	return r.cache.charged(r.demandOf(e.known.answer.Usage))
}

// charged is what of a demand counts that no backend was asked for.
func (c *caching) charged(d admission.Demand) admission.Demand {
	switch c.Charge {
	case cache.ChargeAll:
	case cache.ChargeTokens:
		d.MicroUSD = 0
	default:
		d = admission.Demand{}
	}
	return d
}

// appendKnown appends what the cache had to do with the answer: to those only who
// learn nothing of others by it.
func (e *Exchange) appendKnown(dst []byte, now time.Time) []byte {
	k := &e.known
	a := k.answer
	switch {
	case k.result == metric.CacheUnused:
		return dst
	case k.result != metric.CacheBypass && !k.key.Scope.Private() && (a == nil || a.Tenant != e.principal.Tenant):
		return dst // else whoever is told of a miss knows of the hits that it is not told of
	}
	dst = append(append(append(dst, helixflow.HeaderCache+": "...), k.result.String()...), "\r\n"...)
	if a != nil {
		dst = append(dst, "Age: "...)
		dst = strconv.AppendInt(dst, int64(a.Age(now)/time.Second), 10)
		dst = append(dst, "\r\n"...)
	}
	return dst
}
