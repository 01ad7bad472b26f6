package configs

import (
	"net/url"
	"strconv"
	"strings"
)

// Checks of redis. Its url may hold a password, so no message repeats it.

func checkRedis(r *reader, c *Redis) {
	path := at("redis", "url")
	u, why := parseRedis(c.URL.Reveal())
	if why != "" && !r.refused(path) {
		r.wrong(path, "is not a URL such as redis://redis.example.com:6379: %s", why)
	}
	r.identifier(c.Prefix, at("redis", "prefix"))
	r.clientTLS(at("redis", "tls"), &c.TLS)
	if r.refused(path) {
		return
	}
	checkRedisCluster(r, c, u)
	switch _, hasPassword := u.User.Password(); {
	case c.URL.Empty() && r.given(at("redis")) && !c.Password.Empty():
		r.wrong(at("redis", "password"), "has no use without url")
	case hasPassword && !c.Password.Empty():
		r.wrong(at("redis", "password"), "excludes the one in url: write one or the other")
	}
	if c.TLS != (ClientTLS{}) && u.Scheme != "rediss" {
		r.wrong(at("redis", "tls"), "has no use: url does not start with rediss://")
	}
}

func checkRedisCluster(r *reader, c *Redis, u *url.URL) {
	for i, node := range c.Nodes {
		if path := at("redis", "nodes", i); badPeer(node) != "" {
			r.wrong(path, "%s is not an address such as 10.0.0.5:6379: %s", r.shown(path), badPeer(node))
		}
	}
	switch db := strings.TrimPrefix(u.Path, "/"); {
	case c.Cluster && c.URL.Empty():
		r.wrong(at("redis", "cluster"), "has no use without url")
	case len(c.Nodes) > 0 && !c.Cluster:
		r.wrong(at("redis", "nodes"), "has no use without cluster: true")
	case c.Cluster && db != "" && db != "0":
		r.wrong(at("redis", "url"), "names a database, and a cluster has none but 0")
	}
}

// parseRedis reads the URL of a Redis, or says what is wrong with it. An empty one
// is right.
func parseRedis(s string) (u *url.URL, why string) {
	if s == "" {
		return new(url.URL), ""
	}
	u, err := url.Parse(s)
	switch {
	case !strings.HasPrefix(s, "redis://") && !strings.HasPrefix(s, "rediss://"):
		return nil, "it starts with neither redis:// nor rediss://"
	case err != nil:
		return nil, "it is not a URL; a password is percent-encoded there, or stands in the key password"
	case !validHost(u.Hostname()), strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port(), 1):
		return nil, "it has no valid host and port"
	case strings.ContainsAny(s, "?#"):
		return nil, "it has a query or fragment, which nothing reads"
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if n, err := strconv.ParseUint(db, 10, 16); err != nil || strconv.FormatUint(n, 10) != db {
			return nil, "what follows the host is not the number of a database"
		}
	}
	return u, ""
}
