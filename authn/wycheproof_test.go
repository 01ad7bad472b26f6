package authn

// Wycheproof's vectors for JSON Web Signature, Key and Encryption: nothing that
// they call invalid may pass, and of what they call valid exactly that which is
// within policy.

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment         string
		Public, Private json.RawMessage
		Tests           []struct {
			TCID     int `json:"tcId"`
			Comment  string
			JWS, JWE json.RawMessage
			Result   string
		}
	}
}

// outside are the valid vectors that policy refuses, by file and number: what is
// not RS256, ES256 or EdDSA, and key ids with characters that none needs.
var outside = map[string]map[string][]int{
	"json_web_signature_test.json": {
		"HS256":        {1, 348, 352, 357, 358, 359, 372, 373, 376, 377},
		"RS384":        {264, 265, 266, 267},
		"RS512":        {268, 269, 270, 271},
		"PS256":        {272, 273, 274, 275, 287, 288},
		"PS384":        {320, 321, 322, 323, 346, 350},
		"PS512":        {325, 326, 327, 328},
		"ES512":        {347, 351},
		"a kid with @": {345, 349},
	},
	"json_web_key_test.json":    {"HS256": {2}, "a secret longer than its hash": {13, 14, 15}},
	"json_web_crypto_test.json": {"HS256": {1, 48}, "encryption": {50, 67}},
	"json_web_encryption_test.json": {"encryption": {
		1, 23, 28, 29, 30, 31, 32, 33, 34, 35, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 66, 67, 68, 69, 70, 71, 72,
		73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 100, 101, 102, 103, 104, 105,
		112, 121, 128, 129, 130, 131, 132, 133, 134, 135,
	}},
}

func TestWycheproof(t *testing.T) {
	// f wants so many vectors accepted: a suite that refuses all proves nothing.
	f := func(name string, want int) {
		t.Helper()
		raw, err := fs.ReadFile(wycheproof.TestVectors, name)
		require.NoError(t, err)
		var file vectors
		require.NoError(t, json.Unmarshal(raw, &file))
		refused := map[int]string{}
		for why, numbers := range outside[name] {
			for _, n := range numbers {
				refused[n] = why
			}
		}
		seen, accepted := 0, 0
		for _, g := range file.TestGroups {
			set := g.Public
			if set == nil {
				set = g.Private
			}
			for _, v := range g.Tests {
				seen++
				text := v.JWS
				if text == nil {
					text = v.JWE
				}
				passes := passesVector(set, text)
				if passes {
					accepted++
				}
				why, no := refused[v.TCID]
				delete(refused, v.TCID)
				if no {
					assert.Equal(t, "valid", v.Result, "%s %d is not valid to begin with", name, v.TCID)
				}
				assert.Equal(t, v.Result == "valid" && !no, passes, "%s %d: %s: %s %s", name, v.TCID, g.Comment, v.Comment, why)
			}
		}
		assert.Empty(t, refused, name)
		assert.Equal(t, file.NumberOfTests, seen, name)
		assert.Equal(t, want, accepted, name)
	}
	f("json_web_signature_test.json", 8)
	f("json_web_key_test.json", 1)
	f("json_web_crypto_test.json", 2)
	f("json_web_encryption_test.json", 0)
}

// passesVector is Authenticate as far as to the claims, which vectors lack.
func passesVector(set, text json.RawMessage) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal(set, &m) == nil && m["keys"] == nil {
		set = json.RawMessage(`{"keys":[` + string(set) + `]}`)
	}
	keys, err := ParseKeySet(set)
	if err != nil {
		return false
	}
	var token string
	if json.Unmarshal(text, &token) != nil {
		token = string(text) // JSON serialization
	}
	p, ok := parseToken([]byte(token))
	if !ok {
		return false
	}
	key, reason := keys.find(p.header.keyID, p.header.algorithm, now)
	return reason == helixflow.AuthAccepted && key.verifies(p.signed, p.signature)
}
