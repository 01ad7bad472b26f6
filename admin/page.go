package admin

// GET /: the status page. Rendered here and whole without a script; the script
// only fetches it again. No inline style or script, so that the policy can
// forbid them, and html/template escapes what backends and clients made up.

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"math/bits"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';" +
	" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageTemplate takes a view.
var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"cut": cut, "grouped": grouped,
}).ParseFS(pageFiles, "page/page.html"))

// pageAssets are the files that the page asks for.
func pageAssets() map[string]http.HandlerFunc {
	routes := make(map[string]http.HandlerFunc)
	for name, contentType := range map[string]string{
		"page.css": "text/css; charset=utf-8",
		"page.js":  "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml",
	} {
		content, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		routes["/-/"+name] = func(w http.ResponseWriter, _ *http.Request) {
			setHeader(w, contentType)
			_, _ = w.Write(content)
		}
	}
	return routes
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	var text strings.Builder // whole before the first byte goes out, so that a failure is still a 500
	if err := pageTemplate.Execute(&text, view{s.observe(now), now}); err != nil {
		panic("BUG: cannot render the status page: " + err.Error())
	}
	setHeader(w, "text/html; charset=utf-8")
	_, _ = io.WriteString(w, printable(text.String()))
}

// view is what the template reads: the report, and its texts for people.
type view struct {
	report
	Now time.Time
}

// Uptime is how long the process has run.
func (v view) Uptime() string { return span(v.Now.Sub(v.Started)) }

// Stamp is a moment of the report as the page tells it; nil for none.
func (v view) Stamp(t time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	s := &stamp{Exact: t.Format(time.RFC3339), Clock: t.Format("2006-01-02 15:04:05 UTC"), For: "for " + span(v.Now.Sub(t)), Ago: "just now"}
	if d := v.Now.Sub(t); d >= 2*time.Second {
		s.Ago = span(d) + " ago"
	}
	return s
}

// Until is how long it takes to a moment; nothing when that has passed.
func (v view) Until(t time.Time) string {
	if !t.After(v.Now) {
		return ""
	}
	return span(t.Sub(v.Now) + time.Second - 1)
}

type stamp struct{ Exact, Clock, For, Ago string }

// Rows are the backends of a pool.
func (v view) Rows(p pool) []row {
	rows := make([]row, len(p.members))
	for i, b := range p.members {
		rows[i] = row{Backend: b, scale: scaleOf(b, p.members)}
	}
	return rows
}

// Backends and Usable count over all pools.
func (v view) Backends() (n int) {
	for _, p := range v.Pools {
		n += p.Backends
	}
	return n
}

// Usable counts the backends that take new requests.
func (v view) Usable() (n int) {
	for _, p := range v.Pools {
		n += p.Usable
	}
	return n
}

// row is one backend of the page.
type row struct {
	Backend
	scale int // requests at which the bar is full
}

// Class is the style of the state, which is always told in words too.
func (r row) Class() string {
	switch r.State {
	case StateHealthy:
		return "good"
	case StateSlowStart, StateProbing, StateDraining:
		return "fair"
	case StateUnhealthy, StateEjected:
		return "bad"
	}
	return "unknown"
}

// Words is the state without underscores.
func (r row) Words() string {
	if r.State == "" {
		return "unknown"
	}
	return cut(strings.ReplaceAll(string(r.State), "_", " "))
}

// Percent is how full the bar is.
func (r row) Percent() int { return min(100, max(0, r.InFlight)*100/r.scale) }

// Full reports that the backend has nearly all that it may have.
func (r row) Full() bool { return r.Bound() > 0 && r.InFlight*10 >= r.Bound()*9 }

// Bound is how much it may have in flight now; 0: no bound.
func (b Backend) Bound() int {
	if b.Limit > 0 && (b.MaxInFlight == 0 || b.Limit < b.MaxInFlight) {
		return b.Limit
	}
	return b.MaxInFlight
}

// scaleOf is the backend's own bound, or without one a round number above what
// the busiest of its pool has, so that bars can be compared.
func scaleOf(b Backend, members []Backend) int {
	if bound := b.Bound(); bound > 0 {
		return bound
	}
	busiest := 7
	for _, m := range members {
		busiest = max(busiest, m.InFlight)
	}
	return 1 << bits.Len(uint(busiest))
}

// span is a duration in its two largest units, or one when the other is zero.
func span(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	const minute, hour, day = 60, 3600, 86400
	switch {
	case s < minute:
		return fmt.Sprintf("%d s", s)
	case s < hour:
		return fmt.Sprintf("%d min", s/minute)
	case s < day:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", s/hour, s%hour/minute), " 0 min")
	}
	return strings.TrimSuffix(fmt.Sprintf("%d d %d h", s/day, s%day/hour), " 0 h")
}

// grouped is a count with a comma between thousands.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// cutMax bounds a text of somebody else's, in characters.
const cutMax = 600

func cut(text string) string {
	n := 0
	for i := range text {
		if n++; n > cutMax {
			return text[:i] + "…"
		}
	}
	return text
}

// printable writes out what would change how its surroundings read: control
// characters, changes of direction, characters without width. It goes over the
// whole page, so that no place is forgotten; the template holds none of them,
// and the escapes mean nothing in HTML.
func printable(page string) string {
	var b strings.Builder
	b.Grow(len(page))
	for _, r := range page {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
