package authn

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

func TestTokens(t *testing.T) {
	keys := testKeys()
	set := keySet(t, jwk("r", keys["RS256"]), jwk("e", keys["ES256"]), jwk("a", keys["EdDSA"]))
	tokens := testTokens(t, testIssuer(set))
	f := func(key crypto.Signer, head, body, want string) {
		t.Helper()
		assert.Equal(t, want, outcomeOf(tokens, sign(key, head, body), now), "%s %s", head, body)
	}
	ed := keys["EdDSA"]
	claims := func(want string, changes ...any) { t.Helper(); f(ed, edHead, good(changes...), want) }
	head := func(head, want string) { t.Helper(); f(ed, head, good(), want) }

	// Every algorithm, with and without a key id.
	f(keys["RS256"], `{"alg":"RS256","kid":"r"}`, good(), "acme")
	f(keys["ES256"], `{"alg":"ES256","kid":"e"}`, good(), "acme")
	f(keys["EdDSA"], `{"alg":"EdDSA","kid":"a"}`, good(), "acme")
	head(`{"alg":"EdDSA"}`, "acme")

	// The header.
	head(`{"alg":"EdDSA","kid":"b"}`, "signer")
	head(`{"alg":"EdDSA","kid":"r"}`, "signer")
	head(`{"alg":"EdDSA","kid":""}`, "malformed")
	head(`{"alg":"EdDSA","kid":7}`, "malformed")
	head(`{"alg":"EdDSA","kid":null}`, "malformed")
	head(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 128)+`"}`, "signer")
	head(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 129)+`"}`, "malformed")
	head(`{"kid":"a"}`, "malformed")
	head(`{"alg":["EdDSA"],"kid":"a"}`, "malformed")
	head(`[{"alg":"EdDSA","kid":"a"}]`, "malformed")
	head(`{"alg":"EdDSA","kid":"a"} {}`, "malformed")
	head(`{"alg":"EdDSA","kid":"a","x5t":"AA","nonsense":{"a":1}}`, "acme")
	head(`{"alg":"EdDSA","kid":"a","typ":"at+jwt"}`, "acme")
	head(`{"alg":"EdDSA","kid":"a","typ":"application/at+JWT"}`, "acme")
	head(`{"alg":"EdDSA","kid":"a","typ":"dpop+jwt"}`, "type")
	head(`{"alg":"EdDSA","kid":"a","typ":"logout+jwt"}`, "type")
	head(`{"alg":"EdDSA","kid":"a","typ":1}`, "malformed")
	for _, name := range refusedMembers {
		head(fmt.Sprintf(`{"alg":"EdDSA","kid":"a",%q:null}`, name), "malformed")
		head(fmt.Sprintf(`{"alg":"EdDSA","kid":"a",%q:["x"]}`, name), "malformed")
	}
	head(`{"alg":"EdDSA","alg":"EdDSA","kid":"a"}`, "malformed")
	head(`{"alg":"none","\u0061lg":"EdDSA","kid":"a"}`, "malformed")
	head(`{"alg":"EdDSA","kid":"a","Alg":"none","KID":"b"}`, "acme") // names are exact: these are nobody's
	head("{\"alg\":\"EdDSA\",\"kid\":\"a\",\"x\":\"\xff\"}", "malformed")

	// Whose it is, and for whom.
	claims("issuer", "iss", "https://id.example.org")
	claims("issuer", "iss", idp+"/")
	claims("issuer", "iss", nil)
	claims("malformed", "iss", []string{idp})
	claims("audience", "aud", "somebody")
	claims("audience", "aud", []string{"helix", "flow"})
	claims("claim", "aud", nil)
	claims("claim", "aud", []string{})
	claims("malformed", "aud", map[string]any{"helixflow": true})
	claims("malformed", "aud", []any{"helixflow", 7})
	claims("acme", "aud", []string{"somebody", "helixflow"})

	// Which tenant.
	claims("globex", "org", "globex")
	claims("tenant", "org", "initech")
	claims("tenant", "org", "")
	claims("tenant", "org", nil)
	claims("tenant", "org", []string{"acme"})
	claims("tenant", "org", 7)
	claims("tenant", "org", "ACME")

	// When. A clock may be a minute off, either way.
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	claims("acme", "exp", at(-59*time.Second))
	claims("expired", "exp", at(-60*time.Second))
	claims("acme", "nbf", at(60*time.Second))
	claims("not_yet_valid", "nbf", at(61*time.Second))
	claims("acme", "iat", at(60*time.Second))
	claims("not_yet_valid", "iat", at(61*time.Second))
	claims("acme", "iat", nil)
	claims("claim", "exp", nil)
	claims("acme", "exp", at(24*time.Hour))
	claims("lifetime", "exp", at(24*time.Hour+time.Second))
	claims("lifetime", "exp", at(24*time.Hour+2*time.Minute), "iat", nil)
	claims("lifetime", "exp", at(time.Hour), "iat", at(-24*time.Hour))
	for _, bad := range []any{"soon", true, -1, 1e400 > 0, []int{1}, maxDate + 1} {
		claims("malformed", "exp", bad)
		claims("malformed", "nbf", bad)
		claims("malformed", "iat", bad)
	}
	f(ed, edHead, strings.Replace(good(), `"exp":`, `"exp":1e400,"x":`, 1), "malformed")
	f(ed, edHead, strings.Replace(good(), `"exp":`, `"exp":null,"x":`, 1), "malformed")
	claims("acme", "exp", float64(at(time.Minute))+0.5)

	// What is no object of single members.
	f(ed, edHead, strings.Replace(good(), "{", `{"org":"globex",`, 1), "malformed")
	f(ed, edHead, strings.Replace(good(), "{", `{"\u006frg":"globex",`, 1), "malformed")
	f(ed, edHead, strings.Replace(good(), "{", `{"Exp":1,"ORG":"globex",`, 1), "acme")
	f(ed, edHead, "["+good()+"]", "malformed")
	f(ed, edHead, good()+"{}", "malformed")
	f(ed, edHead, good()[1:], "malformed")
	f(ed, edHead, "", "malformed")
	f(ed, edHead, "null", "malformed")
}

// What attackers send, from the playbook of jwt_tool and its like.
func TestForgedTokens(t *testing.T) {
	keys := testKeys()
	r := keys["RS256"]
	set := keySet(t, jwk("r", r), jwk("e", keys["ES256"]), jwk("a", keys["EdDSA"]))
	tokens := testTokens(t, testIssuer(set))
	f := func(token, want string) {
		t.Helper()
		assert.Equal(t, want, outcomeOf(tokens, token, now), "%.300s", token)
	}
	honest := sign(r, `{"alg":"RS256","kid":"r"}`, good())
	parts := strings.Split(honest, ".")
	text, signature := parts[0]+"."+parts[1], parts[2]

	// No algorithm, in every casing.
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		head := b64([]byte(fmt.Sprintf(`{"alg":%q,"kid":"r"}`, none)))
		f(head+"."+parts[1]+"."+signature, "algorithm")
		f(head+"."+parts[1]+".", "malformed")
	}
	f(text+".", "malformed")
	f(text, "malformed")

	// The public key as an HMAC secret, in the forms it is had in.
	der, err := x509.MarshalPKIXPublicKey(r.Public())
	require.NoError(t, err)
	for _, secret := range [][]byte{
		der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), []byte(jwk("r", r)),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(r.Public().(*rsa.PublicKey))}),
		r.Public().(*rsa.PublicKey).N.Bytes(),
		{},
	} {
		for _, alg := range []string{"HS256", "RS256"} {
			forged := b64([]byte(`{"alg":"`+alg+`","kid":"r"}`)) + "." + parts[1]
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(forged))
			want := "algorithm"
			if alg == "RS256" {
				want = "signature"
			}
			f(forged+"."+b64(mac.Sum(nil)), want)
		}
	}

	// A key the attacker brings, or says where to find.
	mallory := newEd(t)
	f(sign(mallory, edHead, good()), "signature")
	f(sign(mallory, `{"alg":"EdDSA","kid":"a","jwk":`+jwk("a", mallory)+`}`, good()), "malformed")
	for _, where := range []string{"https://evil.example.com/jwks", "http://127.0.0.1/", "file:///etc/passwd"} {
		f(sign(mallory, fmt.Sprintf(`{"alg":"EdDSA","kid":"a","jku":%q}`, where), good()), "malformed")
		f(sign(mallory, fmt.Sprintf(`{"alg":"EdDSA","kid":"a","x5u":%q}`, where), good()), "malformed")
	}
	for _, kid := range []string{"../../../dev/null", "a' OR '1'='1", "a\x00", "$(id)", "a|b", "https://evil/", "a b", "ä"} {
		want := "malformed"
		if kid == "../../../dev/null" { // harmless to us: an id is compared, never opened
			want = "signer"
		}
		f(sign(mallory, fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, kid), good()), want)
	}

	// A genuine signature over something else, by another key, of another kind.
	f(b64([]byte(edHead))+"."+parts[1]+"."+signature, "signature")
	f(parts[0]+"."+b64([]byte(good("org", "globex")))+"."+signature, "signature")
	f(sign(keys["ES256"], `{"alg":"RS256","kid":"r"}`, good()), "signature")
	f(sign(r, `{"alg":"ES256","kid":"e"}`, good()), "signature")
	f(text+"."+b64(make([]byte, 256)), "signature")
	f(sign(keys["ES256"], `{"alg":"ES256","kid":"e"}`, good())[:0]+b64([]byte(`{"alg":"ES256","kid":"e"}`))+"."+parts[1]+"."+b64(make([]byte, 64)), "signature")

	// Expired and forged is forged, not merely expired.
	expired := good("exp", now.Add(-time.Hour).Unix())
	f(sign(r, `{"alg":"RS256","kid":"r"}`, expired), "expired")
	f(sign(mallory, edHead, expired), "signature")

	// Another spelling of the same token.
	f(honest, "acme")
	for _, changed := range []string{
		honest + "=", parts[0] + "=." + parts[1] + "." + signature, honest + "\n", honest[:40] + "\n" + honest[40:], honest + ".", "." + honest,
		strings.ReplaceAll(strings.ReplaceAll(honest, "-", "+"), "_", "/"), honest[:len(honest)-1] + string(nextSpelling(honest[len(honest)-1])),
		parts[0] + ".." + signature, ".." + signature, "..", "{}." + honest[3:], honest + " ", " " + honest,
	} {
		f(changed, "malformed")
	}
}

// nextSpelling is another character of base64 with the same leading bits: 256
// bytes leave four bits of the last character unused.
func nextSpelling(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// A forged token that shares its beginning with one that was just verified
// (CVE-2026-35030), of every length.
func TestTokenPrefixesAreNotRemembered(t *testing.T) {
	key := newEd(t)
	tokens := testTokens(t, testIssuer(keySet(t, jwk("a", key))))
	honest := sign(key, edHead, good())
	require.Equal(t, "acme", outcomeOf(tokens, honest, now))
	for n := range len(honest) - 1 {
		forged := []byte(honest)
		for i := n + 1; i < len(forged); i++ {
			if forged[i] != '.' {
				forged[i] = 'A' + byte(rand.IntN(26))
			}
		}
		if string(forged) == honest {
			continue
		}
		p, reason := tokens.Authenticate(forged, now)
		require.Nil(t, p, "%d bytes shared: %s", n+1, reason)
		p, _ = tokens.Authenticate([]byte(honest[:n+1]), now)
		require.Nil(t, p)
	}
	require.Equal(t, "acme", outcomeOf(tokens, honest, now))
}

// 1 MiB of dots costs nothing (CVE-2025-30204), nor do 8 KiB.
func TestDotsAreCheap(t *testing.T) {
	tokens := testTokens(t, testIssuer(keySet(t, jwk("a", newEd(t)))))
	for _, token := range [][]byte{
		[]byte(strings.Repeat(".", 1<<20)), []byte(strings.Repeat(".", maxToken)), []byte(strings.Repeat("a", maxToken)),
		[]byte(strings.Repeat("A", maxToken-2) + ".."), []byte(strings.Repeat("eyJ", 1<<18)),
	} {
		const rounds = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fastest := time.Hour // the others are as cheap, but the machine is busy
		for range rounds {
			began := time.Now()
			if p, _ := tokens.Authenticate(token, now); p != nil {
				t.Fatal("let in")
			}
			fastest = min(fastest, time.Since(began))
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, fastest, time.Millisecond, "%d bytes", len(token))
		assert.Less(t, (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(16<<10), "%d bytes", len(token))
	}
}

// Two issuers may call their keys alike, and neither speaks for the other's
// tenants.
func TestIssuersAreApart(t *testing.T) {
	one, two := newEd(t), newEd(t)
	first, second := testIssuer(keySet(t, jwk("a", one))), testIssuer(keySet(t, jwk("a", two)))
	first.Tenants = []ClaimTenant{{Value: "org-1", Tenant: "acme"}, {Value: "acme", Tenant: "acme"}}
	second.Name, second.TenantClaim, second.Tenant = "https://other.example.com", "", "globex"
	tokens := testTokens(t, first, second)
	f := func(key crypto.Signer, want string, changes ...any) {
		t.Helper()
		assert.Equal(t, want, outcomeOf(tokens, sign(key, edHead, good(changes...)), now))
	}
	f(one, "acme", "org", "acme")
	f(one, "acme", "org", "org-1")
	f(one, "tenant", "org", "globex")
	f(one, "tenant", "org", "")
	f(one, "signature", "iss", second.Name)
	f(two, "globex", "iss", second.Name, "org", "acme")
	f(two, "signature")
}

func TestTokenRoles(t *testing.T) {
	key := newEd(t)
	i := testIssuer(keySet(t, jwk("a", key)))
	i.RolesClaim = "realm_access.roles"
	i.Roles = []Role{{Name: "small", Models: ModelGrant{"llama-8b", "other"}}, {Name: "all"}, {Name: "ops", Models: ModelGrant{"gpt-*"}, Debug: true}}
	f := func(roles any, want string) {
		t.Helper()
		p, reason := testTokens(t, i).Authenticate([]byte(sign(key, edHead, good("realm_access", roles))), now)
		got := reason.String()
		if p != nil {
			got = fmt.Sprint(p.Allowed(0), p.Allowed(1), p.Allowed(2), p.Allowed(3), p.MayUse([]byte("llama-70b")), p.MayUse([]byte("other")), p.Debug)
		}
		assert.Equal(t, want, got)
	}
	in := func(roles ...string) any { return map[string]any{"roles": roles} }
	f(in("small"), "false true false false false false false") // "other" is not the tenant's
	f(in("all"), "true true true false true false false")
	f(in("small", "all"), "true true true false true false false")
	f(in("ops"), "false false true false false false true")
	f(in("small", "ops", "nobody"), "false true true false false false true")
	f(map[string]any{"roles": "nobody ops"}, "false false true false false false true")
	f(in("nobody"), "role")
	f(in(), "role")
	f(map[string]any{"roles": []any{"ops", 7}}, "role")
	f("ops", "role")
	f(nil, "role")

	i.RolesClaim = "https://example.com/roles"
	tokens := testTokens(t, i)
	p, _ := tokens.Authenticate([]byte(sign(key, edHead, good(i.RolesClaim, []string{"ops"}))), now)
	require.NotNil(t, p)
	assert.True(t, p.Debug)
	q, _ := tokens.Authenticate([]byte(sign(key, edHead, good(i.RolesClaim, []string{"nobody", "ops"}, "sub", "user-2"))), now)
	require.NotNil(t, q)
	assert.Same(t, p.Rights, q.Rights)
	assert.NotEqual(t, p.KeyName, q.KeyName)
}

func TestTokenNames(t *testing.T) {
	key := newEd(t)
	i := testIssuer(keySet(t, jwk("a", key)))
	f := func(claim, want string, changes ...any) {
		t.Helper()
		i.NameClaim = claim
		p, reason := testTokens(t, i).Authenticate([]byte(sign(key, edHead, good(changes...))), now)
		require.Equal(t, helixflow.AuthAccepted, reason)
		assert.Equal(t, want, p.KeyName)
	}
	p, _ := testTokens(t, i).Authenticate([]byte(sign(key, edHead, good())), now)
	require.NotNil(t, p)
	assert.Regexp(t, `^jwt:[\w-]{16}$`, p.KeyName)
	assert.NotContains(t, p.KeyName, "user-1")
	f("", p.KeyName, "aud", []string{"helixflow"})
	f("email", "jwt:a@example.com", "email", "a@example.com")
	f("email", "jwt:a__b______", "email", "a\n b\x1b\"ä\u00a0")
	f("email", "jwt:"+strings.Repeat("x", 64), "email", strings.Repeat("x", 65))
	f("email", "jwt:", "email", 7)
	f("email", "jwt:")

	i.Required = []string{"email_verified", "act.sub"}
	token := func(changes ...any) string {
		return outcomeOf(testTokens(t, i), sign(key, edHead, good(changes...)), now)
	}
	assert.Equal(t, "claim", token())
	assert.Equal(t, "claim", token("email_verified", true))
	assert.Equal(t, "acme", token("email_verified", true, "act", map[string]string{"sub": "x"}))
}

// Names with dots lead into objects, or are names with dots.
func TestClaimNames(t *testing.T) {
	f := func(body, name, want string) {
		t.Helper()
		c, ok := parseClaims([]byte(body))
		require.True(t, ok)
		assert.Equal(t, want, string(c.value(name)), name)
	}
	const body = `{"a":{"b":{"c":1},"b.c":2},"a.b":{"x":3},"https://e.com/o":"o","k.io":{"ns":"n","p.q":{"r":4}},"s":"t","":5,"dup":{"x":1,"x":2}}`
	f(body, "a", `{"b":{"c":1},"b.c":2}`)
	f(body, "a.b", `{"x":3}`)
	f(body, "a.b.x", "3")
	f(body, "a.b.c", "") // a.b is a claim, and has no c
	f(body, "https://e.com/o", `"o"`)
	f(body, "https://e.com/p", "")
	f(body, "k.io.ns", `"n"`)
	f(body, "k.io.p.q.r", "4")
	f(body, "k.io.p.q.s", "")
	f(body, "s.t", "")
	f(body, "", "")
	f(body, ".", "")
	f(body, ".a", "")
	f(body, "a.", "")
	f(body, "dup.x", "")
	f(body, "x", "")
}

// A token seen before is checked again for all that may have changed.
func TestSeenTokens(t *testing.T) {
	key, other := newEd(t), newEd(t)
	set := keySet(t, jwk("a", key))
	tokens := testTokens(t, testIssuer(set))
	body := good("exp", now.Add(30*time.Second).Unix())
	token := sign(key, edHead, body)
	require.Equal(t, "acme", outcomeOf(tokens, token, now))

	// It expires, leeway and all, while it is remembered.
	first, _ := tokens.Authenticate([]byte(token), now.Add(59*time.Second))
	again, _ := tokens.Authenticate([]byte(token), now.Add(59*time.Second))
	assert.Same(t, first, again)
	assert.Equal(t, "acme", outcomeOf(tokens, token, now.Add(89*time.Second)))
	assert.Equal(t, "expired", outcomeOf(tokens, token, now.Add(90*time.Second)))

	// Its key is withdrawn, or another takes its name; the same key again is no news.
	long := sign(key, edHead, good())
	require.Equal(t, "acme", outcomeOf(tokens, long, now))
	adopt := func(keys ...string) {
		parsed, err := parseKeys([]byte(jwks(keys...)))
		require.NoError(t, err)
		set.adopt(parsed, now)
	}
	before, _ := tokens.Authenticate([]byte(long), now)
	adopt(jwk("a", key), jwk("b", other))
	after, _ := tokens.Authenticate([]byte(long), now)
	assert.Same(t, before, after)
	adopt(jwk("a", other))
	assert.Equal(t, "signature", outcomeOf(tokens, long, now))
	adopt(jwk("b", key))
	assert.Equal(t, "signer", outcomeOf(tokens, long, now))
	adopt(jwk("a", key))
	assert.Equal(t, "acme", outcomeOf(tokens, long, now))
}

func TestSeenIsBounded(t *testing.T) {
	key := newEd(t)
	tokens := testTokens(t, testIssuer(keySet(t, jwk("a", key))))
	k, _ := tokens.issuers[idp].Keys.find("a", "EdDSA", now)
	who := Anonymous("acme", nil)
	held := func() (n int) {
		for i := range tokens.seen.sets {
			for j := range tokens.seen.sets[i] {
				if tokens.seen.sets[i][j].Load() != nil {
					n++
				}
			}
		}
		return n
	}
	add := func(i int) [sha256.Size]byte {
		digest := sha256.Sum256([]byte(fmt.Sprint(i)))
		at := now.Add(time.Duration(i) * time.Millisecond)
		tokens.seen.add(&verified{digest: digest, who: who, key: k, expires: now.Add(time.Hour), until: at.Add(seenFor)}, at)
		return digest
	}
	for i := range 10000 {
		add(i)
	}
	found := 0
	for i := range 10000 {
		digest := sha256.Sum256([]byte(fmt.Sprint(i)))
		if tokens.seen.find(&digest, now.Add(10*time.Second)) != nil {
			found++
		}
	}
	assert.Greater(t, found, 9500, "ten thousand tokens fit")
	for i := 10000; i < 50000; i++ {
		digest := add(i)
		require.NotNil(t, tokens.seen.find(&digest, now.Add(time.Duration(i)*time.Millisecond)), "the newest is remembered")
	}
	assert.LessOrEqual(t, held(), seenSets*seenWays)
}

func TestAuthenticateTokenDoesNotAllocate(t *testing.T) {
	key := testKeys()["RS256"]
	tokens := testTokens(t, testIssuer(keySet(t, jwk("r", key))))
	token := []byte(sign(key, `{"alg":"RS256","kid":"r"}`, good()))
	_, reason := tokens.Authenticate(token, now)
	require.Equal(t, helixflow.AuthAccepted, reason)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { tokens.Authenticate(token, now) }))
}

func TestNewTokensRefuses(t *testing.T) {
	set := keySet(t, jwk("a", newEd(t)))
	f := func(change func(*Issuer), want string) {
		t.Helper()
		i := testIssuer(set)
		change(&i)
		_, err := NewTokens([]Issuer{i}, testTenants(), testGrant)
		assert.ErrorContains(t, err, want)
	}
	f(func(i *Issuer) { i.Audiences = nil }, "audiences")
	f(func(i *Issuer) { i.Algorithms = nil }, "algorithms")
	f(func(i *Issuer) { i.Keys = nil }, "keys")
	f(func(i *Issuer) { i.Tenant = "acme" }, "either a tenant")
	f(func(i *Issuer) { i.TenantClaim = "" }, "either a tenant")
	f(func(i *Issuer) { i.Algorithms = []string{"HS256"} }, `"HS256" is not supported`)
	f(func(i *Issuer) { i.Tenants = []ClaimTenant{{"x", "nobody"}} }, `no tenant "nobody"`)
	_, err := NewTokens([]Issuer{testIssuer(set), testIssuer(set)}, nil, nil)
	assert.ErrorContains(t, err, "stands twice")
}

// FuzzToken never panics, and never lets anybody in.
func FuzzToken(f *testing.F) {
	key, mallory := newEd(f), newEd(f)
	tokens := testTokens(f, testIssuer(keySet(f, jwk("a", key))))
	f.Add(edHead, good(), []byte("x"))
	f.Add(`{"alg":"none"}`, "{}", []byte{})
	f.Add(`{"alg":"EdDSA","kid":"a","crit":["b64"]}`, good("exp", 1), make([]byte, 64))
	f.Fuzz(func(t *testing.T, head, body string, signature []byte) {
		for _, token := range []string{
			head + "." + body + "." + string(signature), b64([]byte(head)) + "." + b64([]byte(body)) + "." + b64(signature),
			sign(mallory, head, body),
		} {
			if p, _ := tokens.Authenticate([]byte(token), now); p != nil {
				t.Fatalf("let in: %q", token)
			}
		}
	})
}

func BenchmarkAuthenticateToken(b *testing.B) {
	for name, key := range testKeys() {
		token := []byte(sign(key, fmt.Sprintf(`{"alg":%q,"kid":"k"}`, name), good("scope", "openid profile email", "azp", "console", "jti", strings.Repeat("0", 36))))
		tokens := testTokens(b, testIssuer(keySet(b, jwk("k", key))))
		b.Run(name+"/seen", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(token)))
			for range b.N {
				if p, _ := tokens.Authenticate(token, now); p == nil {
					b.Fatal("refused")
				}
			}
		})
		b.Run(name+"/new", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if v, _ := tokens.verify(token, now); v == nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
