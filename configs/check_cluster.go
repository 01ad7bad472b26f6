package configs

import "net"

// Checks of cluster: addresses, and a secret that is one.

const (
	minClusterSecret = 32 // characters, as of an admin token
	maxPeers         = 256
)

func checkCluster(r *reader, c *Cluster) {
	listen, advertise := at("cluster", "listen"), at("cluster", "advertise")
	if c.Listen == "" {
		alone := c.Routers == 0 || c.Advertise != "" || len(c.Peers) > 0
		if alone && r.given(at("cluster")) && !r.refused(listen) {
			r.wrong(at("cluster"), "lacks listen: an address such as :7946 for the other replicas; or routers alone, how many there are")
		}
		checkClusterSecret(r, c)
		return
	}
	if why := badListen(c.Listen); why != "" {
		r.wrong(listen, "%s is not an address such as :7946: %s", r.shown(listen), why)
	}
	if why := badPeer(c.Advertise); c.Advertise != "" && why != "" {
		r.wrong(advertise, "%s is not an address such as 10.0.0.5:7946: %s", r.shown(advertise), why)
	}
	if len(c.Peers) > maxPeers {
		r.wrong(at("cluster", "peers"), "has %d addresses, more than %d; a few are enough, the others are heard of", len(c.Peers), maxPeers)
	}
	for i, peer := range c.Peers {
		if path := at("cluster", "peers", i); badPeer(peer) != "" {
			r.wrong(path, "%s is not an address such as 10.0.0.5:7946: %s", r.shown(path), badPeer(peer))
		}
	}
	if c.Secret.Empty() && !r.refused(at("cluster", "secret")) {
		r.wrong(at("cluster"), "lacks secret: what replicas know each other by; openssl rand -hex 32 makes one")
	}
	checkClusterSecret(r, c)
}

func checkClusterSecret(r *reader, c *Cluster) {
	secret := at("cluster", "secret")
	if !r.refused(secret) && !c.Secret.Empty() && len(c.Secret.Reveal()) < minClusterSecret {
		r.wrong(secret, "is shorter than %d characters; openssl rand -hex 32 makes one", minClusterSecret)
	}
}

// badPeer says why s is no address that one can connect to.
func badPeer(s string) string {
	if why := badListen(s); why != "" {
		return why
	}
	host, port, _ := net.SplitHostPort(s)
	switch {
	case host == "":
		return "it must have a host"
	case !validPort(port, 1):
		return "its port must be a number from 1 to 65535"
	}
	return ""
}
