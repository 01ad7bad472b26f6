package configs

import (
	"slices"
	"strings"
)

// websocketPaths are where passthrough turns on websockets.
var websocketPaths = []string{"/v1/realtime", "/v1/responses"}

func checkPassthrough(r *reader, c *Config) {
	pools := names{}
	for i := range c.Pools {
		pools[c.Pools[i].Name] = at("pools", i, "name")
	}
	taken := [2]names{{}, {}} // the same prefix may stand for requests and for websockets
	for i := range c.Passthrough {
		p, path := &c.Passthrough[i], at("passthrough", i)
		prefix, pool := below(path, "prefix"), below(path, "pool")
		kind := taken[0]
		switch _, known := pools[p.Pool]; {
		case p.IsWebsocket():
			kind = taken[1]
			checkWebsocket(r, p, path)
		case !known && !r.failed["pools"]:
			n, _ := r.find(pool)
			r.wrong(pool, "there is no pool %s%s", n.shown(), n.suggest(pools.written(r)))
		}
		if why := badPrefix(p.Prefix); why != "" {
			r.wrong(prefix, "%s %s", r.shown(prefix), why)
			continue
		}
		kind.claim(r, p.Prefix, prefix)
		checkTimeouts(r, below(path, "timeouts"), &p.Timeouts)
	}
}

// checkWebsocket checks what has no pool.
func checkWebsocket(r *reader, p *Passthrough, path []step) {
	if !slices.Contains(websocketPaths, p.Prefix) {
		prefix := below(path, "prefix")
		n, _ := r.find(prefix)
		r.wrong(prefix, "%s needs a pool: without one it can only be %s, for websockets%s",
			r.shown(prefix), strings.Join(websocketPaths, " or "), n.suggest(websocketPaths))
	}
	for _, key := range []string{"shared", "timeouts"} {
		if r.given(below(path, key)) {
			r.wrong(below(path, key), "has no meaning without a pool; server.websockets bounds websockets")
		}
	}
}

// badPrefix tells what is no path that requests could be below.
func badPrefix(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "is not a path such as /v1/files: it starts with a /"
	case s == "/":
		return "is every path; name them, such as /v1/files"
	case len(s) > 256:
		return "is longer than 256 characters"
	case s == "/openai" || strings.HasPrefix(s, "/openai/"):
		return "is how some clients spell /v1; write that"
	}
	for segment := range strings.SplitSeq(s[1:], "/") {
		switch {
		case segment == "":
			return "has a slash too many"
		case segment == "." || segment == "..":
			return "has a . or .. part"
		}
		for i := range len(segment) {
			if c := segment[i]; !isAlnum(c) && !strings.ContainsRune("-._~", rune(c)) {
				return "has a character that is neither a letter, a digit nor one of - . _ ~"
			}
		}
	}
	return ""
}
