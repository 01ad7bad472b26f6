package configs

import (
	"encoding/base64"
	"strconv"
	"strings"
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
	if c.Auth.Anonymous == "" || r.failed["tenants"] {
		return
	}
	known := names{}
	for i, t := range c.Tenants {
		known[t.Name] = at("tenants", i, "name")
	}
	if _, ok := known[c.Auth.Anonymous]; !ok {
		path := at("auth", "anonymous")
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
		granted := names{}
		for j, pattern := range t.Models {
			path := at("tenants", i, "models", j)
			r.modelName(strings.TrimSuffix(pattern, "*"), pattern == "*", path)
			granted.claim(r, pattern, path)
		}
		keys := names{}
		for j := range t.Keys {
			path := at("tenants", i, "keys", j, "name")
			r.identifier(t.Keys[j].Name, path)
			keys.claim(r, t.Keys[j].Name, path)
			checkKey(r, &t.Keys[j], at("tenants", i, "keys", j), c.Auth.Peppers, ids)
		}
	}
}

func checkKey(r *reader, k *Key, path []step, peppers []Pepper, ids names) {
	hash := below(path, "hash")
	switch {
	case k.Generate && k.Hash != "":
		r.wrong(hash, "excludes generate: true; a key is either made at start or known by its hash")
		return
	case k.Generate || r.refused(below(path, "generate")):
		return
	case k.Hash == "":
		r.wrong(hash, "is missing: write what `helixflow keys new` prints, or generate: true")
		return
	}
	version, id, why := parseHash(k.Hash)
	if why != "" {
		if n, there := r.find(hash); there {
			r.mask(n) // perhaps the key itself
		}
		r.wrong(hash, "is not a key hash: %s", why)
		return
	}
	if version > 0 && !hasPepper(peppers, version) && !r.refused(at("auth", "peppers")) {
		r.wrong(hash, "needs version %d of auth.peppers, which is not there", version)
	}
	if first, taken := ids[id]; taken {
		r.wrong(hash, "has the key id of %s", pathText(first[:len(first)-1]))
	} else {
		ids[id] = hash
	}
}

func hasPepper(peppers []Pepper, version int) bool {
	for _, p := range peppers {
		if p.Version == version {
			return true
		}
	}
	return false
}

const (
	idLength     = 12 // base62
	digestLength = 43 // base64url of 32 bytes, unpadded
)

// parseHash reads sha256:<id>:<digest>, version 0, or
// hmac-sha256:<version>:<id>:<digest>; why says what is wrong.
func parseHash(s string) (version int, id, why string) {
	parts := strings.Split(s, ":")
	switch {
	case strings.HasPrefix(s, "sk-") || strings.HasPrefix(s, "hfx_"):
		return 0, "", "it looks like a key; `helixflow keys hash` makes its hash"
	case parts[0] == "hmac-sha256" && len(parts) == 4:
		n, err := strconv.ParseUint(parts[1], 10, 31)
		if err != nil || n == 0 {
			return 0, "", "the pepper version after hmac-sha256: must be a number from 1"
		}
		version, parts = int(n), parts[1:]
	case parts[0] == "sha256" && len(parts) == 3:
	default:
		return 0, "", "it must be sha256:<id>:<digest> or hmac-sha256:<pepper version>:<id>:<digest>"
	}
	id = parts[1]
	for i := range len(id) {
		if !isAlnum(id[i]) {
			why = "bad"
		}
	}
	if why != "" || len(id) != idLength {
		return 0, "", "its id must be 12 letters and digits"
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil || len(parts[2]) != digestLength {
		return 0, "", "its digest must be 32 bytes in unpadded base64url, 43 characters"
	}
	return version, id, ""
}
