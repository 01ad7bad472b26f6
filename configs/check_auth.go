package configs

import (
	"strconv"
)

// Checks of auth and tenants: who may call, with which keys.

// minPepper is the least a pepper holds, in bytes: the size of the hash it
// keys (RFC 2104 section 3).
const minPepper = 32

func checkAuth(r *reader, c *Config) {
	versions := names{}
	for i, pepper := range c.Auth.Peppers {
		path := at("auth", "peppers", i, "version")
		if pepper.Version > 0 {
			versions.claim(r, strconv.Itoa(pepper.Version), path)
		}
		if path := at("auth", "peppers", i, "secret"); len(pepper.Secret.Reveal()) < minPepper {
			r.wrong(path, "is shorter than %d bytes", minPepper)
		}
	}
	checkKeyFiles(r, c.Auth.KeyFiles)
	checkTenant(r, c, c.Auth.Anonymous, at("auth", "anonymous"))
	for i := range c.Pools {
		checkTenant(r, c, c.Pools[i].Tenant, at("pools", i, "tenant"))
	}
}

// checkTenant tells when a tenant that is named at the path does not exist.
func checkTenant(r *reader, c *Config, name string, path []step) {
	if name == "" || r.failed["tenants"] {
		return
	}
	known := names{}
	for i, t := range c.Tenants {
		known[t.Name] = at("tenants", i, "name")
	}
	if _, ok := known[name]; !ok {
		n, _ := r.find(path)
		r.wrong(path, "there is no tenant %s%s", n.shown(), n.suggest(known.written(r)))
	}
}

func checkTenants(r *reader, c *Config) {
	tenants, ids := names{}, names{}
	for i, t := range c.Tenants {
		path := at("tenants", i, "name")
		r.identifier(t.Name, path)
		tenants.claim(r, t.Name, path)
		checkPatterns(r, t.Models, at("tenants", i, "models"))
		keys := names{}
		for j := range t.Keys {
			path := at("tenants", i, "keys", j, "name")
			r.identifier(t.Keys[j].Name, path)
			keys.claim(r, t.Keys[j].Name, path)
			if id := checkKey(r, &t.Keys[j], at("tenants", i, "keys", j), c.Auth.Peppers); id != "" {
				hash := at("tenants", i, "keys", j, "hash")
				if first, taken := ids[id]; taken {
					r.wrong(hash, "has the key id of %s", pathText(first[:len(first)-1]))
				} else {
					ids[id] = hash
				}
			}
		}
	}
}
