package authn

// An issuer of tokens, honest or not, for the tests of this package.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

const idp = "https://id.example.com"

// testKeys are made once: RSA takes a while.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{"RS256": r, "ES256": e, "EdDSA": d}
})

// newEd is a key of a kind that is quick to make.
func newEd(t testing.TB) crypto.Signer {
	t.Helper()
	_, d, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return d
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public half of a key.
func jwk(kid string, key crypto.Signer) string {
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","use":"sig","alg":"RS256","kid":%q,"n":%q,"e":%q}`, kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes()))
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}`, kid, b64(point[1:33]), b64(point[33:]))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, kid, b64(k))
	}
	panic("BUG: a key of another kind")
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func keySet(t testing.TB, keys ...string) *KeySet {
	t.Helper()
	k, err := ParseKeySet([]byte(jwks(keys...)))
	require.NoError(t, err)
	return k
}

// sign signs what it is given, however little sense that makes.
func sign(key crypto.Signer, head, body string) string {
	text := b64([]byte(head)) + "." + b64([]byte(body))
	method := jwt.SigningMethod(jwt.SigningMethodEdDSA)
	switch key.(type) {
	case *rsa.PrivateKey:
		method = jwt.SigningMethodRS256
	case *ecdsa.PrivateKey:
		method = jwt.SigningMethodES256
	}
	signature, err := method.Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
}

// good are claims that let somebody in at now; changes are put over them, nil
// takes a claim away.
func good(changes ...any) string {
	c := map[string]any{
		"iss": idp, "aud": "helixflow", "sub": "user-1", "org": "acme",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(c, changes[i].(string))
		} else {
			c[changes[i].(string)] = changes[i+1]
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

const edHead = `{"alg":"EdDSA","typ":"JWT","kid":"a"}`

// testIssuer is an issuer of the tests' claims with the keys k.
func testIssuer(k *KeySet) Issuer {
	return Issuer{
		Name: idp, Audiences: []string{"helixflow"}, Algorithms: []string{"RS256", "ES256", "EdDSA"},
		TenantClaim: "org", MaxLifetime: 24 * time.Hour, Leeway: time.Minute, Keys: k,
	}
}

// testTenants are the rights of acme, and of globex, which may use everything.
func testTenants() map[string]*Rights {
	tenants := map[string]*Rights{"acme": {Tenant: "acme", Models: ModelGrant{"llama-*", "gpt-4o"}}, "globex": {Tenant: "globex"}}
	for _, r := range tenants {
		testGrant(r)
	}
	return tenants
}

func testGrant(r *Rights) {
	for i, name := range []string{"llama-70b", "llama-8b", "gpt-4o", "other"} {
		if r.MayUse([]byte(name)) {
			r.Allow(i)
		}
	}
}

// testTokens compiles issuers for the tenants of testTenants.
func testTokens(t testing.TB, issuers ...Issuer) *Tokens {
	t.Helper()
	tokens, err := NewTokens(issuers, testTenants(), testGrant)
	require.NoError(t, err)
	return tokens
}

// outcomeOf is who a token stands for, or why for nobody.
func outcomeOf(tokens *Tokens, token string, at time.Time) string {
	p, reason := tokens.Authenticate([]byte(token), at)
	if (p == nil) == (reason == helixflow.AuthAccepted) {
		return "BUG: a principal and a reason"
	}
	if p == nil {
		return reason.String()
	}
	return p.Tenant
}
