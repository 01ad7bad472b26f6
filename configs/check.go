package configs

import (
	"fmt"
	"slices"
	"strings"
)

// The checks that need more than one field, or more than a field's type. They
// run on what decoding left, and say nothing about what it already refused.

func check(r *reader, c *Config) {
	checkServer(r, &c.Server)
	checkAuth(r, c)
	checkIdentity(r, c)
	checkTenants(r, c)
	checkPools(r, c.Pools)
	checkHooks(r, c.Hooks)
	checkModels(r, c)
	checkCache(r, c)
	checkLimits(r, c)
	checkPassthrough(r, c)
	checkRedis(r, &c.Redis)
	checkCluster(r, &c.Cluster)
	checkLog(r, &c.Log)
}

// at makes a path from keys and indexes: at("pools", 0, "name").
func at(parts ...any) []step {
	path := make([]step, len(parts))
	for i, part := range parts {
		switch part := part.(type) {
		case string:
			path[i] = keyStep(part)
		case int:
			path[i] = step{index: part}
		default:
			panic(fmt.Sprintf("BUG: a %T in a path", part))
		}
	}
	return path
}

// below is the path of a key in what path leads to.
func below(path []step, key string) []step {
	return append(slices.Clone(path), keyStep(key))
}

// find returns the node at the path, or the nearest one above it; there tells
// which.
func (r *reader) find(path []step) (n *node, there bool) {
	n = r.root
	for _, s := range path {
		switch {
		case s.index >= 0 && s.index < len(n.items):
			n = n.items[s.index]
		case s.index < 0 && n.child(s.key) != nil:
			n = n.child(s.key).value
		default:
			return n, false
		}
	}
	return n, true
}

// given reports whether the file has the path.
func (r *reader) given(path []step) bool {
	_, there := r.find(path)
	return there
}

// shown is the value at the path for a message.
func (r *reader) shown(path []step) string {
	if n, there := r.find(path); there {
		return n.shown()
	}
	return "the default"
}

// refused reports whether the path, or something above it, has a problem.
func (r *reader) refused(path []step) bool {
	for i := 1; i <= len(path); i++ {
		if r.failed[pathText(path[:i])] {
			return true
		}
	}
	return false
}

// failedBelow reports whether the path, or anything below it, has a problem.
func (r *reader) failedBelow(path []step) bool {
	text := pathText(path)
	for failed := range r.failed {
		if strings.HasPrefix(failed, text) {
			return true
		}
	}
	return r.refused(path)
}

// wrong tells of a problem at the path unless one is known there.
func (r *reader) wrong(path []step, format string, args ...any) {
	if len(r.problems) > 0 && r.refused(path) {
		return
	}
	n, _ := r.find(path)
	p := problemAt(n.at, format, args...)
	p.Path = pathText(path)
	r.add(p)
}

// names are the names taken so far in one name space, and by what.
type names map[string][]step

// claim takes a name for the path, and tells when it is taken.
func (ns names) claim(r *reader, name string, path []step) {
	if name == "" {
		return
	}
	first, taken := ns[name]
	if !taken {
		ns[name] = path
		return
	}
	n, _ := r.find(first)
	r.wrong(path, "%s is already %s, on line %d", r.shown(path), pathText(first), n.at.line)
}

// written returns the names as the file spells them, for suggestions: those
// that come from the environment stay unsaid.
func (ns names) written(r *reader) []string {
	var list []string
	for name, path := range ns {
		if n, there := r.find(path); there && n.text == name && !n.masked {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// identifier checks a name that will stand in logs and metrics.
func (r *reader) identifier(s string, path []step) {
	good := s != "" && len(s) <= 64
	for i := range len(s) {
		c := s[i]
		good = good && (isAlnum(c) || i > 0 && (c == '.' || c == '-' || c == '_'))
	}
	switch {
	case s == "":
		r.wrong(path, "is empty")
	case looksLikeKey(s):
		if n, there := r.find(path); there {
			r.mask(n)
		}
		r.wrong(path, "the value looks like an API key")
	case !good:
		r.wrong(path, "%s is not a name: 1 to 64 letters, digits, dots, dashes and underscores, first a letter or digit", r.shown(path))
	}
}
