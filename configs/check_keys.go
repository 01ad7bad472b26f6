package configs

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/helixflow/helixflow"
)

// Checks of API keys: their hashes, and what they may do.

// checkKey checks a key at the path, and returns its id; none where it has no hash,
// or a wrong one.
func checkKey(r *reader, k *Key, path []step, peppers []Pepper) (id string) {
	if len(k.Models) > 0 {
		checkPatterns(r, k.Models, below(path, "models"))
	}
	if len(k.Endpoints) > 0 {
		checkEndpoints(r, k.Endpoints, below(path, "endpoints"))
	}
	checkTerm(r, k, path)
	hash := below(path, "hash")
	switch {
	case k.Generate && k.Hash != "":
		r.wrong(hash, "excludes generate: true; a key is either made at start or known by its hash")
		return ""
	case k.Generate && k.Previous.Hash != "":
		r.wrong(below(path, "previous"), "excludes generate: true; a key that is made at start had no secret before")
		return ""
	case k.Generate || r.refused(below(path, "generate")):
		return ""
	case k.Hash == "":
		r.wrong(hash, "is missing: write what `helixflow keys new` prints, or generate: true")
		return ""
	}
	if id = checkHash(r, k.Hash, hash, peppers); id != "" && k.Previous != (PreviousKey{}) {
		checkPrevious(r, k, id, below(path, "previous"), peppers)
	}
	return id
}

// checkHash returns the id in a hash, or nothing for one that is wrong.
func checkHash(r *reader, text string, path []step, peppers []Pepper) (id string) {
	version, id, why := parseHash(text)
	if why != "" {
		if n, there := r.find(path); there {
			r.mask(n) // perhaps the key itself
		}
		r.wrong(path, "is not a key hash: %s", why)
		return ""
	}
	if version > 0 && !hasPepper(peppers, version) && !r.refused(at("auth", "peppers")) {
		r.wrong(path, "needs version %d of auth.peppers, which is not there", version)
	}
	return id
}

// checkPrevious checks the secret that a key had before.
func checkPrevious(r *reader, k *Key, id string, path []step, peppers []Pepper) {
	p := &k.Previous
	switch {
	case p.Hash == "":
		r.wrong(below(path, "hash"), "is missing: the hash of the secret that is replaced")
		return
	case p.Until.IsZero() && !r.refused(below(path, "until")):
		r.wrong(below(path, "until"), "is missing: the moment from which the replaced secret is refused")
	}
	hash := below(path, "hash")
	switch before := checkHash(r, p.Hash, hash, peppers); {
	case before == "":
	case before != id:
		r.wrong(hash, "has another id than the key; `helixflow keys new --id` makes another secret for an id")
	case p.Hash == k.Hash:
		r.wrong(hash, "is the key's present one")
	}
}

// checkTerm checks that there is a time in which the key is good.
func checkTerm(r *reader, k *Key, path []step) {
	if !k.NotBefore.IsZero() && !k.Expires.IsZero() && !k.Expires.After(k.NotBefore) {
		r.wrong(below(path, "expires"), "%s is not after not_before", r.shown(below(path, "expires")))
	}
}

// checkPatterns checks patterns of models.
func checkPatterns(r *reader, patterns []string, path []step) {
	granted := names{}
	for i, pattern := range patterns {
		path := append(slices.Clone(path), step{index: i})
		r.modelName(strings.TrimSuffix(pattern, "*"), pattern == "*", path)
		granted.claim(r, pattern, path)
	}
}

// checkEndpoints checks patterns of operations, of which there are no others than
// the program knows.
func checkEndpoints(r *reader, patterns []string, path []step) {
	granted := names{}
	for i, pattern := range patterns {
		path := append(slices.Clone(path), step{index: i})
		prefix, open := strings.CutSuffix(pattern, "*")
		fits := func(name string) bool { return name == pattern || open && strings.HasPrefix(name, prefix) }
		known := endpointNames()
		if !slices.ContainsFunc(known, fits) {
			n, _ := r.find(path)
			r.wrong(path, "%s is no endpoint%s", n.shown(), n.suggest(known))
		}
		granted.claim(r, pattern, path)
	}
}

// endpointNames are the operations a key may be confined to.
func endpointNames() []string {
	var list []string
	for op := helixflow.OpUnknown + 1; op < helixflow.NumOps; op++ {
		list = append(list, op.String())
	}
	return list
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
