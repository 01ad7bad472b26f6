package main

// An explanation as a short report for a person.

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router"
)

// report is x in words, most important first.
func report(x *router.Explanation) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if r := x.Refusal; r != nil {
		line("refused    %s", refusedText(r))
		if r.Hint != "" {
			line("           %s", r.Hint)
		}
	} else {
		line("goes to    %s", chosen(x.Route))
	}
	if x.Model != "" {
		line("request    %s, model %s", x.Operation, quoted(x.Model)+found(x.Route))
	}
	if x.Path != "" {
		line("request    %s", pathText(x))
	}
	line("asked by   %s", whoAsks(x.Principal, x.Refusal))
	if x.Route == nil {
		return b.String()
	}
	t := x.Route.Timeouts
	line("time-outs  connect %s, first token %s, idle %s, total %s", t.Connect, t.FirstToken, t.Idle, t.Total)
	for _, h := range x.Route.Hooks {
		line("hook       %s", hookText(h))
	}
	if h := x.Route.Hold; h != nil {
		line("held       at priority %d until %s, since those before had no backend", h.Priority, h.Until.Format(time.RFC3339))
	}
	for _, l := range x.Limits {
		line("limits     %s", limitsText(&l, x.Live))
	}
	for i := range x.Route.Targets {
		reportTarget(&b, x, &x.Route.Targets[i])
	}
	for _, m := range x.Route.Mirrors {
		line("\nmirror     pool %s gets a copy of %s of the requests, model %s", quoted(m.Pool), percent(m.Share), quoted(m.Model))
	}
	b.WriteByte('\n')
	switch {
	case !x.Live:
		line("This is what the file says: the state of its backends is not looked at. --admin URL asks a router that serves.")
	default:
		line("Plan %d of a router that serves, as of now.", x.Generation)
	}
	if x.AssumedBody {
		line("The request is taken to name the model and nothing else. --body FILE explains a whole one.")
	}
	return b.String()
}

// pathText is a request that no model decides.
func pathText(x *router.Explanation) string {
	text := x.Method + " " + oneLine(x.Path)
	switch {
	case x.Prefix == "":
		return text
	case x.Shared:
		return text + ", below " + x.Prefix + ", which is everybody's"
	case len(x.Objects) == 0:
		return text + ", below " + x.Prefix
	}
	names := make([]string, len(x.Objects))
	for i, id := range x.Objects {
		names[i] = quoted(id)
	}
	return text + ", below " + x.Prefix + "; must be the tenant's: " + strings.Join(names, ", ")
}

// limitsText is a scope and its limits, with what is left of them if the router
// serves.
func limitsText(s *router.LimitedScope, live bool) string {
	text := "of the " + strings.ReplaceAll(s.Scope, "_", " and ")
	if s.Name != "" {
		text += " " + quoted(s.Name)
	}
	for i, l := range s.Limits {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		most, left := strconv.FormatInt(l.Most, 10), strconv.FormatInt(l.Left, 10)
		if l.Limit == "budget" {
			most, left = configs.Money(l.Most).String()+" USD", configs.Money(l.Left).String()
		}
		text += sep + l.Limit + " " + most
		if live {
			text += " (" + left + " left" + sharedText(l.Shared) + ")"
		}
	}
	return text
}

// sharedText says that a limit is shared, and how that stands.
func sharedText(l *router.LimitLease) string {
	switch {
	case l == nil:
		return ""
	case l.Alone:
		return ", shared; Redis is away, so that a share counts"
	default:
		return ", shared"
	}
}

func refusedText(r *router.Refusal) string {
	text := strconv.Itoa(r.Status)
	if r.Code != "" {
		text += " " + r.Code
	}
	text += ": " + oneLine(r.Text)
	if r.RetryAfter != "" {
		text += " (retry after " + r.RetryAfter + ")"
	}
	return text
}

// chosen names the pools that take the request now.
func chosen(r *router.ExplainedRoute) string {
	var pools []string
	for _, t := range r.Targets {
		if t.Priority == r.Chosen && t.Share > 0 {
			name := "pool " + quoted(t.Pool)
			if t.Share < 1 {
				name += " (" + percent(t.Share) + ")"
			}
			pools = append(pools, name)
		}
	}
	return strings.Join(pools, " or ")
}

func found(r *router.ExplainedRoute) string {
	switch {
	case r == nil:
		return ""
	case r.FoundAs == "alias":
		return ", an alias of " + quoted(r.Name)
	case r.FoundAs == "catch_all":
		return `, by the model "*"`
	}
	return ""
}

func whoAsks(p *router.ExplainedPrincipal, r *router.Refusal) string {
	switch {
	case p == nil && r != nil && r.Status == 401:
		return "nobody known"
	case p == nil:
		return "nobody in particular: no right is looked at"
	case p.Anonymous:
		return "anybody without a key, as tenant " + quoted(p.Tenant)
	case p.Key == "":
		return "tenant " + quoted(p.Tenant)
	}
	text := "tenant " + quoted(p.Tenant) + ", key " + quoted(p.Key)
	if !p.Expires.IsZero() {
		text += ", which expires " + p.Expires.UTC().Format(time.RFC3339)
	}
	if len(p.From) > 0 {
		text += ", from " + strings.Join(p.From, ", ") + " only" // which is not looked at
	}
	return text
}

// hookText is what a hook has to say, and what happens without it.
func hookText(h router.ExplainedHook) string {
	sees := "requests"
	switch {
	case h.Requests && h.Answers:
		sees = "requests and answers"
	case h.Answers:
		sees = "answers"
	}
	return fmt.Sprintf("%s at %s sees %s, %s; on_error %s, on_unseen %s", quoted(h.Name), oneLine(h.URL), sees, h.Timeout, h.OnError, h.OnUnseen)
}

// reportTarget is a paragraph: the pool, what it is sent, its backends.
func reportTarget(b *strings.Builder, x *router.Explanation, t *router.ExplainedTarget) {
	fmt.Fprintf(b, "\npriority %d pool %s %s (weight %d), %s, %s\n", t.Priority, quoted(t.Pool),
		part(x.Route, t), t.Weight, t.Policy, count(t.Attempts, "try", "tries"))
	if t.Model != "" {
		fmt.Fprintf(b, "  model    %s\n", quoted(t.Model))
	}
	if text := edits(t); text != "" {
		fmt.Fprintf(b, "  body     %s\n", text)
	}
	if len(t.Headers) > 0 {
		fmt.Fprintf(b, "  headers  %s\n", strings.Join(t.Headers, ", "))
	}
	switch {
	case t.Keys > 0 && x.Live:
		fmt.Fprintf(b, "  sends    %s of its own, %d not resting\n", count(t.Keys, "key", "keys"), t.Ready)
	case t.Keys > 0:
		fmt.Fprintf(b, "  sends    %s of its own\n", count(t.Keys, "key", "keys"))
	}
	if t.Hedge != nil {
		fmt.Fprintf(b, "  hedge    %s\n", hedgeText(t.Hedge, x.Live))
	}
	if t.Panic && x.Live {
		b.WriteString("  panic    so few backends are healthy that ejections are ignored\n")
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i := range t.Backends {
		fmt.Fprintf(w, "  backend\t%s\n", backendText(&t.Backends[i], x.Live))
	}
	_ = w.Flush() // a Builder takes everything
}

// hedgeText is when a second backend would be asked.
func hedgeText(h *router.ExplainedHedge, live bool) string {
	switch {
	case !h.Request:
		return "none: a request like this is not sent twice"
	case h.After != "":
		return "a second backend is asked after " + h.After
	case h.Times > 0:
		return fmt.Sprintf("a second backend is asked after %.1f times what is expected", h.Times)
	case live:
		return "none yet: too few answers are known"
	}
	return "a second backend is asked after longer than most answers take"
}

// part is what the target has to do with requests now.
func part(r *router.ExplainedRoute, t *router.ExplainedTarget) string {
	switch {
	case t.Share == 0:
		return "takes nothing"
	case t.Priority != r.Chosen:
		return "stands by"
	}
	return "takes " + percent(t.Share) + " of the requests"
}

// edits says what the backend reads otherwise than the client wrote it.
func edits(t *router.ExplainedTarget) string {
	var parts []string
	for _, change := range []string{"added", "changed", "removed"} {
		var names []string
		for _, e := range t.Edits {
			if e.Change == change {
				names = append(names, quoted(e.Param))
			}
		}
		if len(names) > 0 {
			parts = append(parts, strings.Join(names, ", ")+" "+change)
		}
	}
	if t.UsageWithheld {
		parts = append(parts, "usage asked for, and kept from the client")
	}
	return strings.Join(parts, "; ")
}

// backendText is tab-separated. Without a router that serves there is no state.
func backendText(e *router.ExplainedBackend, live bool) string {
	text := fmt.Sprintf("%s\tweight %d", oneLine(e.URL), e.Weight)
	if !live {
		if e.MaxInFlight > 0 {
			text += fmt.Sprintf("\tat most %d in flight", e.MaxInFlight)
		}
		return text
	}
	text += fmt.Sprintf("\t%d in flight", e.InFlight)
	switch {
	case e.Limit > 0 && (e.MaxInFlight == 0 || e.Limit < e.MaxInFlight):
		text += fmt.Sprintf(" of %d found out", e.Limit)
	case e.MaxInFlight > 0:
		text += fmt.Sprintf(" of %d", e.MaxInFlight)
	}
	text += "\t" + e.State
	if !e.Usable {
		text += ", takes nothing"
	}
	if e.Reason != "" {
		text += ": " + oneLine(e.Reason)
	}
	if e.BackIn != "" {
		text += ", back in " + e.BackIn + " at the earliest"
	}
	if p := e.Predicted; p != nil {
		text += fmt.Sprintf("\tcosts %.3f s, %.3f s ahead, %d of %d tokens cached", p.Cost, p.Ahead, p.Hit, p.Tokens)
		switch p.Adapter {
		case "absent":
			text += ", the adapter to be loaded"
		case "queued":
			text += ", the adapter waited for"
		}
	}
	return text
}

// printable keeps a router that is not ours from moving a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// oneLine shows what others have written with escapes for what is no letter.
func oneLine(text string) string {
	q := strconv.QuoteToGraphic(text)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quoted is a name as it is, where it cannot be mistaken for something else.
func quoted(name string) string {
	if name != "" && !strings.ContainsAny(name, " ,;()\"'") && oneLine(name) == name {
		return name
	}
	return strconv.QuoteToGraphic(name)
}

func percent(share float64) string {
	return strconv.FormatFloat(share*100, 'g', 4, 64) + "%"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
