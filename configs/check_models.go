package configs

import (
	"strings"
	"time"
	"unicode"
)

// Checks of models: names, aliases, where they lead, and their times.

func checkModels(r *reader, c *Config) {
	pools := names{}
	allPools := !r.failed["pools"]
	for i := range c.Pools {
		path := at("pools", i, "name")
		pools[c.Pools[i].Name] = path
		allPools = allPools && !r.refused(path)
	}
	taken := names{}
	for i := range c.Models {
		taken.claimModel(r, c.Models[i].Name, c.Models[i].Name == "*", at("models", i, "name"))
	}
	for i := range c.Models {
		m := &c.Models[i]
		for j, alias := range m.Aliases {
			taken.claimModel(r, alias, false, at("models", i, "aliases", j))
		}
		for j, target := range m.Targets {
			if path := at("models", i, "targets", j, "model"); target.Model != "" {
				r.modelName(target.Model, false, path)
			}
			path := at("models", i, "targets", j, "pool")
			if _, ok := pools[target.Pool]; ok && target.Pool != "" || !allPools {
				continue
			}
			n, there := r.find(path)
			if there {
				r.wrong(path, "there is no pool %s%s", n.shown(), n.suggest(pools.written(r)))
			}
		}
		checkTimeouts(r, i, &m.Timeouts)
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
func checkTimeouts(r *reader, i int, t *Timeouts) {
	for _, phase := range []struct {
		name string
		time time.Duration
	}{{"connect", t.Connect}, {"first_token", t.FirstToken}, {"idle", t.Idle}} {
		path := at("models", i, "timeouts", phase.name)
		if phase.time > t.Total && r.given(path) && !r.refused(at("models", i, "timeouts", "total")) {
			r.wrong(path, "%s is longer than total, %s", r.shown(path), r.shownOr(at("models", i, "timeouts", "total"), formatDuration(t.Total)))
		}
	}
}
