package configs

import (
	"strings"
	"time"
	"unicode"
)

// Checks of models: names, aliases, where they lead, and their times.

func checkModels(r *reader, c *Config) {
	pools, allPools := r.declared("pools", len(c.Pools), func(i int) string { return c.Pools[i].Name })
	hooks, allHooks := r.declared("hooks", len(c.Hooks), func(i int) string { return c.Hooks[i].Name })
	taken := names{}
	for i := range c.Models {
		taken.claimModel(r, c.Models[i].Name, c.Models[i].Name == "*", at("models", i, "name"))
	}
	for i := range c.Models {
		m := &c.Models[i]
		for j, alias := range m.Aliases {
			taken.claimModel(r, alias, false, at("models", i, "aliases", j))
		}
		for j := range m.Targets {
			if path := at("models", i, "targets", j, "model"); m.Targets[j].Model != "" {
				r.modelName(m.Targets[j].Model, false, path)
			}
			path := at("models", i, "targets", j, "pool")
			if _, ok := pools[m.Targets[j].Pool]; ok && m.Targets[j].Pool != "" || !allPools {
				continue
			}
			n, there := r.find(path)
			if there {
				r.wrong(path, "there is no pool %s%s", n.shown(), n.suggest(pools.written(r)))
			}
		}
		if allHooks {
			checkModelHooks(r, i, m.Hooks, hooks)
		}
		checkTargets(r, i, m.Targets)
		checkParams(r, i, &m.Params)
		checkTimeouts(r, at("models", i, "timeouts"), &m.Timeouts)
	}
}

// declared is the names that the elements of a list have; all tells whether none
// of them was refused, so that what is not there is missing.
func (r *reader) declared(list string, n int, name func(i int) string) (ns names, all bool) {
	ns, all = names{}, !r.failed[list]
	for i := range n {
		path := at(list, i, "name")
		ns[name(i)] = path
		all = all && !r.refused(path)
	}
	return ns, all
}

// checkTargets checks the targets of model i against each other.
func checkTargets(r *reader, i int, targets []Target) {
	taken := names{}
	used := false
	for j := range targets {
		t, path := &targets[j], at("models", i, "targets", j)
		if t.IsMirror() {
			for _, key := range []string{"priority", "weight"} {
				if r.given(below(path, key)) {
					r.wrong(below(path, key), "has no meaning for a mirror")
				}
			}
			t.Priority, t.Weight = 0, 0
		}
		used = used || t.Weight > 0
		id := targetID(t)
		if first, again := taken[id]; again && t.Pool != "" {
			n, _ := r.find(first)
			r.wrong(below(path, "pool"), "is the target of line %d once more; give that one a bigger weight instead", n.at.line)
		}
		taken[id] = path
	}
	if path := at("models", i, "targets"); !used && len(targets) > 0 && !r.failedBelow(path) {
		r.wrong(path, "none of the targets gets a request: each is a mirror or has the weight 0")
	}
}

func (ns names) claimModel(r *reader, name string, all bool, path []step) {
	r.modelName(name, all, path)
	ns.claim(r, name, path)
}

// modelName checks a model's name; all allows the one that stands for every
// other.
func (r *reader) modelName(s string, all bool, path []step) {
	bad := func(c rune) bool {
		return unicode.IsSpace(c) || !unicode.IsPrint(c) || c == '"' || c == '\\' || c == unicode.ReplacementChar
	}
	switch {
	case all:
	case s == "":
		r.wrong(path, "is empty")
	case strings.Contains(s, "*"):
		r.wrong(path, "%s has a * where none can be: it stands alone as a model's name, or at the end of a tenant's pattern", r.shown(path))
	case len(s) > 256, strings.ContainsFunc(s, bad):
		r.wrong(path, "%s is not a model name: at most 256 bytes, no spaces, quotes, backslashes or control characters", r.shown(path))
	}
}

// checkTimeouts tells when a phase the file sets is longer than the whole.
func checkTimeouts(r *reader, timeouts []step, t *Timeouts) {
	total := below(timeouts, "total")
	for _, phase := range []struct {
		name string
		time time.Duration
	}{{"connect", t.Connect}, {"first_token", t.FirstToken}, {"idle", t.Idle}} {
		path := below(timeouts, phase.name)
		if phase.time > t.Total && r.given(path) && !r.refused(total) {
			r.wrong(path, "%s is longer than total, %s", r.shown(path), r.shownOr(total, formatDuration(t.Total)))
		}
	}
}
