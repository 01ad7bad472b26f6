package configs

// Backends that are found while the router runs: what the configuration says of
// that, and the files that have them.

import (
	"errors"
	"strings"
)

const maxBackendsFile = 1 << 20 // bytes

// MaxBackends is how many backends a pool can have, found ones among them.
const MaxBackends = 256

// checkDiscover checks where pool i finds backends, and tells whether they are
// https.
func checkDiscover(r *reader, i int, p *Pool) (encrypted bool) {
	d, path := &p.Discover, at("pools", i, "discover")
	dns := below(path, "dns")
	asked := r.given(dns)
	switch {
	case asked && d.File != "":
		r.wrong(below(path, "file"), "excludes dns: write one or the other")
	case !asked && d.File == "" && !r.given(at("pools", i, "backends")):
		r.wrong(at("pools", i, "backends"), "is missing, and there is no discover that finds some")
	case !asked && d.File == "" && r.given(path):
		r.wrong(path, "finds nothing: it needs dns or file")
	}
	if !asked {
		return d.File != "" // the file may have any
	}
	if name := below(dns, "name"); !validHost(d.DNS.Name) || strings.Contains(d.DNS.Name, ":") {
		r.wrong(name, "%s is not a name that DNS knows", r.shown(name))
	}
	port := below(dns, "port")
	switch {
	case d.DNS.Type == "a" && d.DNS.Port == 0:
		r.wrong(port, "is missing: an address has none")
	case d.DNS.Type == "srv" && d.DNS.Port != 0:
		r.wrong(port, "has no use: SRV records have the ports")
	}
	if at := below(dns, "path"); d.DNS.Path != "" {
		if _, why := backendIdentity("http://host:1" + d.DNS.Path); why != "" || d.DNS.Path[0] != '/' {
			r.wrong(at, "%s is not a path such as /v1", r.shown(at))
		}
	}
	return d.DNS.Scheme == "https"
}

// ReadBackends reads a file of pools[].discover.file: one key, backends, as a
// pool's; JSON is YAML too. Neither variables nor secret files are known there.
// The error is a Problems with everything that is wrong, among it that there is
// not one backend.
func ReadBackends(path string) ([]Backend, error) {
	r := newReader(path, nil, nil)
	data, err := readUpTo(path, maxBackendsFile)
	switch {
	case err != nil:
		r.add(&Problem{Message: "cannot read the file: " + reason(err)})
		return nil, r.problems
	case len(data) > maxBackendsFile:
		r.add(&Problem{Message: "is bigger than " + formatSize(maxBackendsFile)})
		return nil, r.problems
	}
	list := r.readBackends(data)
	if len(r.problems) > 0 {
		return nil, r.problems.finish(r.src)
	}
	return list, nil
}

func (r *reader) readBackends(data []byte) (found []Backend) {
	text := strings.TrimPrefix(string(data), "\uFEFF")
	r.src = newSource(text)
	if p := checkBytes(text); p != nil {
		r.add(p)
		return nil
	}
	body, p := parseYAML(text)
	if p == nil && body == nil {
		p = problemAt(place{}, "is empty: it needs backends")
	}
	if p != nil {
		r.add(p)
		return nil
	}
	resolve := resolver{r: r, anchors: map[string]*node{}}
	r.root = resolve.node(body)
	if resolve.broken {
		return nil
	}
	r.src.unread = false
	object{
		{name: "backends", value: list[Backend]{&found, "backend", backendID, defaultBackend, backendKeys, 1, MaxBackends}, required: true},
	}.decode(r, r.root)
	checkBackends(r, at("backends"), found)
	return found
}

// FirstProblem is the first of the problems in err, without the excerpt; err's own
// text if it has none.
func FirstProblem(err error) string {
	var list Problems
	if errors.As(err, &list) && len(list) > 0 {
		p := list[0]
		p.Excerpt = ""
		return p.String()
	}
	return err.Error()
}
