package router

// Keys, tokens and client certificates side by side: which of them counts, and
// what those are told who are not let in.

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testtiming"
)

// idp signs tokens; its keys are in a file.
type idp struct {
	key  ed25519.PrivateKey
	file string
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	i := &idp{key: key, file: filepath.Join(t.TempDir(), "jwks")}
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	require.NoError(t, os.WriteFile(i.file, []byte(set), 0o600))
	return i
}

// config is the issuer in auth.jwt, with more keys of its own.
func (i *idp) config(more string) string {
	return "{issuer: https://id, audience: hf, algorithms: [EdDSA], jwks_file: " + i.file + ", " + more + "}"
}

// token is good for an hour; changes are put over its claims.
func (i *idp) token(changes ...any) string {
	claims := map[string]any{"iss": "https://id", "aud": "hf", "sub": "user", "exp": time.Now().Add(time.Hour).Unix()}
	for n := 0; n < len(changes); n += 2 {
		claims[changes[n].(string)] = changes[n+1]
	}
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"a"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text)))
}

func TestTokensBesideKeys(t *testing.T) {
	issuer := newIDP(t)
	key, hash := newKey(t)
	top := "auth: {failures_per_minute: 0, jwt: [" + issuer.config(`tenant_claim: org, roles_claim: scope, roles: [{name: llm}, {name: small, models: ["m-*"]}]`) + "]}\n"
	w := newWorld(t, tenantOf(t, top, fmt.Sprintf("{name: k, hash: %q}", hash)))
	f := func(line, model string, status int, code string) answer {
		t.Helper()
		a := w.ask(t, chat(`{"model":"`+model+`","messages":[]}`, line))
		require.Equal(t, status, a.status, "%s: %s", line, a.body)
		if code != "" {
			requireError(t, a, status, code)
		}
		return a
	}
	good := issuer.token("org", "acme", "scope", "openid llm")
	small := issuer.token("org", "acme", "scope", "small")
	f(bearerLine(key), "m", 200, "")
	f(bearerLine(good), "m", 200, "")
	f(bearerLine(good), "m", 200, "")
	f("api-key: "+good, "m", 200, "")
	f(bearerLine(good), "other", 403, "model_not_allowed")
	f(bearerLine(small), "m-2", 200, "")
	f(bearerLine(small), "m", 403, "model_not_allowed")

	challenge := func(a answer, want string) {
		t.Helper()
		assert.Equal(t, want, a.header.Get("WWW-Authenticate"))
	}
	for _, bad := range []string{
		good + "x", good[:len(good)-4], "a.b.c", strings.Repeat(".", 8000), "..",
		issuer.token("org", "acme"), issuer.token("scope", "llm"), issuer.token("org", "globex", "scope", "llm"),
		issuer.token("org", "acme", "scope", "llm", "aud", "other"), issuer.token("org", "acme", "scope", "llm", "exp", time.Now().Add(-time.Hour).Unix()),
		newIDP(t).token("org", "acme", "scope", "llm"),
	} {
		a := f(bearerLine(bad), "m", 401, "invalid_api_key")
		assert.Contains(t, a.body, "The access token is not valid.", "all of them read the same")
		challenge(a, `Bearer realm="helixflow", error="invalid_token"`)
	}
	challenge(f(bearerLine("sk-nonsense"), "m", 401, "invalid_api_key"), `Bearer realm="helixflow", error="invalid_token"`)
	challenge(f(bearerLine("sk-with.two.dots"), "m", 401, "invalid_api_key"), `Bearer realm="helixflow", error="invalid_token"`)
	challenge(f("X-Nothing: y", "m", 401, "invalid_api_key"), `Bearer realm="helixflow"`)
	f(bearerLine(key)+"\r\napi-key: "+good, "m", 400, "")
	assert.NotContains(t, w.log.String(), good)

	// 1 MiB of dots never gets as far as to be a token.
	f(bearerLine(strings.Repeat(".", 1<<20)), "m", 431, "header_too_large")

	// One way alone.
	only := func(order string) *world {
		return newWorld(t, tenantOf(t, strings.Replace(top, "auth: {", "auth: {order: "+order+", ", 1), fmt.Sprintf("{name: k, hash: %q}", hash)))
	}
	w = only("[jwt]")
	f(bearerLine(key), "m", 401, "invalid_api_key")
	f(bearerLine(good), "m", 200, "")
	w = only("[key]")
	f(bearerLine(key), "m", 200, "")
	f(bearerLine(good), "m", 401, "invalid_api_key")
}

// Where nobody knows an issuer's keys, that is not the caller's fault.
func TestIssuerWithoutKeys(t *testing.T) {
	issuer := newIDP(t)
	_, hash := newKey(t)
	w := newWorld(t, tenantOf(t, "auth: {failures_per_minute: 1, jwt: [{issuer: https://id, audience: hf, algorithms: [EdDSA], tenant: acme}]}\n", fmt.Sprintf("{name: k, hash: %q}", hash)))
	for range 3 {
		a := w.ask(t, chat(simple, bearerLine(issuer.token())))
		requireError(t, a, 503, "identity_unavailable")
		assert.Equal(t, "true", a.header.Get("X-Should-Retry"))
		assert.Equal(t, "1", a.header.Get("Retry-After"))
		assert.Empty(t, a.header.Get("WWW-Authenticate"))
	}
}

func TestExplainTokens(t *testing.T) {
	issuer := newIDP(t)
	_, hash := newKey(t)
	w := newWorld(t, tenantOf(t, "auth: {jwt: ["+issuer.config(`tenant: acme, name_claim: sub`)+"]}\n", fmt.Sprintf("{name: k, hash: %q}\n  - name: globex", hash)))
	f := func(token string) Explanation {
		t.Helper()
		x, err := w.srv.Explain(Question{Model: "m", Credential: secret.New(token), Now: time.Now()})
		require.NoError(t, err)
		return x
	}
	x := f(issuer.token())
	require.Nil(t, x.Refusal)
	assert.Equal(t, "jwt:user", x.Principal.Key)
	assert.WithinDuration(t, time.Now().Add(time.Hour+time.Minute), x.Principal.Expires, 2*time.Second)
	x, err := w.srv.Explain(Question{Model: "m", Tenant: "globex", Now: time.Now()})
	require.NoError(t, err)
	require.Nil(t, x.Refusal)
	assert.Equal(t, "globex", x.Principal.Tenant)
	x = f(issuer.token("aud", "other"))
	require.NotNil(t, x.Refusal)
	assert.Equal(t, 401, x.Refusal.Status)
	assert.Equal(t, "it is for another audience", x.Refusal.Hint)
	assert.Contains(t, f("a.b.c").Refusal.Hint, "malformed")
}

// certs is an authority of clients and the router's own certificate.
type certs struct {
	ca     *x509.Certificate
	key    crypto.Signer
	file   string
	server tls.Certificate
}

func newCerts(t testing.TB) *certs {
	t.Helper()
	c := &certs{file: filepath.Join(t.TempDir(), "ca.pem")}
	own, pair := c.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "ca"}})
	c.ca, c.key = own, pair.PrivateKey.(crypto.Signer)
	require.NoError(t, os.WriteFile(c.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Raw}), 0o600))
	_, c.server = c.issue(t, &x509.Certificate{DNSNames: []string{"test"}})
	return c
}

func (c *certs) issue(t testing.TB, template *x509.Certificate) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber = big.NewInt(1)
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := template, crypto.Signer(key)
	if c.ca != nil {
		parent, signer = c.ca, c.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is a client's certificate with a SPIFFE id.
func (c *certs) client(t testing.TB, id string) *tls.Certificate {
	t.Helper()
	u, err := url.Parse(id)
	require.NoError(t, err)
	_, pair := c.issue(t, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return &pair
}

// secure is the router's side of TLS, which asks for a certificate and believes any:
// it is for the walk to find out what it is worth.
func (c *certs) secure(o *Options) {
	o.TLS = &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
}

// dialTLS opens a connection that shows a certificate; nil for none.
func (w *world) dialTLS(t testing.TB, cert *tls.Certificate) *tls.Conn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return new(tls.Certificate), nil
		}
		return cert, nil
	}}
	return tls.Client(w.dial(t), config)
}

func askOn(t testing.TB, c io.ReadWriter, raw string) answer {
	t.Helper()
	_, err := io.WriteString(c, raw)
	require.NoError(t, err)
	return readAnswer(t, bufio.NewReader(c))
}

func TestClientCertificates(t *testing.T) {
	cs := newCerts(t)
	issuer := newIDP(t)
	key, hash := newKey(t)
	config := func(auth string, mode ...string) string {
		top := "server: {tls: {cert: a, key: b, client_ca: " + cs.file + ", client_auth: " + append(mode, "optional")[0] + "}}\n"
		return tenantOf(t, top+"auth: {failures_per_minute: 0, jwt: ["+issuer.config("tenant: acme")+"], "+auth+"}\n", fmt.Sprintf("{name: k, hash: %q}", hash))
	}
	const rules = `mtls: [{name: a, spiffe: spiffe://d/a, tenant: acme, models: ["m-*"]}, {name: rest, spiffe: "spiffe://d/b/*", tenant: acme}]`
	a, b, nobody := cs.client(t, "spiffe://d/a"), cs.client(t, "spiffe://d/b/c"), cs.client(t, "spiffe://d/x")
	stranger := newCerts(t).client(t, "spiffe://d/a")
	var w *world
	f := func(cert *tls.Certificate, line, model string, status int, says string) answer {
		t.Helper()
		got := askOn(t, w.dialTLS(t, cert), chat(`{"model":"`+model+`","messages":[]}`, line))
		require.Equal(t, status, got.status, got.body)
		assert.Contains(t, got.body, says)
		return got
	}
	const none = "X-Nothing: y"

	// A certificate counts where no header says who asks; what a header brings is
	// good or refused.
	w = newWorld(t, config(rules), cs.secure)
	f(b, none, "m", 200, "ok")
	f(a, none, "m-2", 200, "ok")
	f(a, none, "m", 403, "model_not_allowed")
	f(a, bearerLine(key), "m", 200, "ok")
	f(a, bearerLine(issuer.token()), "m", 200, "ok")
	f(b, bearerLine("sk-wrong"), "m", 401, "Incorrect API key")
	f(b, bearerLine("a.b.c"), "m", 401, "access token")
	f(b, "Authorization: Basic x", "m", 401, "didn't provide")
	f(nobody, none, "m", 401, "client certificate")
	f(nobody, bearerLine(key), "m", 200, "ok")
	f(stranger, none, "m", 401, "client certificate")
	f(nil, none, "m", 401, "didn't provide")
	f(nil, bearerLine(key), "m", 200, "ok")

	// First of all, one that names somebody counts more than what headers bring.
	w = newWorld(t, config("order: [mtls, key, jwt], "+rules), cs.secure)
	f(a, bearerLine(key), "m", 403, "model_not_allowed")
	f(b, bearerLine("sk-unused"), "m", 200, "ok")
	f(nobody, bearerLine(key), "m", 200, "ok")
	f(nobody, bearerLine("sk-wrong"), "m", 401, "Incorrect API key")

	// Anonymous is who shows nothing, or nothing that anybody asks about.
	w = newWorld(t, config("anonymous: acme, "+rules), cs.secure)
	f(nil, none, "m", 200, "ok")
	f(nobody, none, "m", 401, "client certificate")
	w = newWorld(t, config("anonymous: acme"), cs.secure)
	f(nobody, none, "m", 200, "ok")
	w = newWorld(t, config("anonymous: acme, order: [key], "+rules), cs.secure)
	f(a, none, "m", 200, "ok")

	// Demanded, whatever headers say.
	w = newWorld(t, config("anonymous: acme", "required"), cs.secure)
	f(nobody, none, "m", 200, "ok")
	f(nil, none, "m", 401, "client certificate")
	f(nil, bearerLine(key), "m", 401, "client certificate")
	f(stranger, bearerLine(key), "m", 401, "client certificate")
}

// A connection that is open when authorities are replaced, or a certificate runs
// out, is no safe place.
func TestClientCertificateOfAnOpenConnection(t *testing.T) {
	cs := newCerts(t)
	_, hash := newKey(t)
	config := tenantOf(t, "server: {tls: {cert: a, key: b, client_ca: "+cs.file+", client_auth: required}}\n"+
		"auth: {mtls: [{name: a, spiffe: spiffe://d/a, tenant: acme}]}\n", fmt.Sprintf("{name: k, hash: %q}", hash))
	w := newWorld(t, config, cs.secure)
	c := w.dialTLS(t, cs.client(t, "spiffe://d/a"))
	raw := chat(`{"model":"m","messages":[]}`)
	require.Equal(t, 200, askOn(t, c, raw).status)
	w.srv.Publish(w.compile(t, config))
	require.Equal(t, 200, askOn(t, c, raw).status, "the same authority")
	w.srv.Publish(w.compile(t, strings.Replace(config, "spiffe://d/a", "spiffe://d/b", 1)))
	require.Equal(t, 401, askOn(t, c, raw).status, "another rule")
	w.srv.Publish(w.compile(t, config))
	require.Equal(t, 200, askOn(t, c, raw).status)

	other := newCerts(t)
	both, err := os.ReadFile(cs.file)
	require.NoError(t, err)
	fresh, err := os.ReadFile(other.file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cs.file, bytes.Join([][]byte{both, fresh}, nil), 0o600))
	w.srv.Publish(w.compile(t, config))
	require.Equal(t, 200, askOn(t, c, raw).status, "two authorities")
	require.NoError(t, os.WriteFile(cs.file, fresh, 0o600))
	w.srv.Publish(w.compile(t, config))
	got := askOn(t, c, raw)
	require.Equal(t, 401, got.status, "its authority was withdrawn")
	assert.Contains(t, got.body, "client certificate")
	rest, err := io.ReadAll(c)
	require.NoError(t, err, "the connection is closed")
	require.Empty(t, rest)
	require.Equal(t, 200, askOn(t, w.dialTLS(t, other.client(t, "spiffe://d/a")), raw).status)

	u, err := url.Parse("spiffe://d/a")
	require.NoError(t, err)
	_, short := other.issue(t, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(2 * time.Second).Truncate(time.Second)})
	leaf, err := x509.ParseCertificate(short.Certificate[0])
	require.NoError(t, err)
	c = w.dialTLS(t, &short)
	require.Equal(t, 200, askOn(t, c, raw).status)
	<-time.After(time.Until(leaf.NotAfter))
	require.Equal(t, 401, askOn(t, c, raw).status, "it ran out")
}

// A session that is resumed brings its old certificate, which is worth what it is
// worth now.
func TestClientCertificateOfAResumedSession(t *testing.T) {
	cs, other := newCerts(t), newCerts(t)
	_, hash := newKey(t)
	config := tenantOf(t, "server: {tls: {cert: a, key: b, client_ca: "+cs.file+", client_auth: optional}}\n"+
		"auth: {mtls: [{name: a, spiffe: spiffe://d/a, tenant: acme}]}\n", fmt.Sprintf("{name: k, hash: %q}", hash))
	w := newWorld(t, config, cs.secure)
	client := &tls.Config{
		InsecureSkipVerify: true, ServerName: "test", ClientSessionCache: tls.NewLRUClientSessionCache(1),
		Certificates: []tls.Certificate{*cs.client(t, "spiffe://d/a")},
	}
	f := func(resumed bool, status int) {
		t.Helper()
		c := tls.Client(w.dial(t), client)
		require.Equal(t, status, askOn(t, c, chat(`{"model":"m","messages":[]}`)).status)
		require.Equal(t, resumed, c.ConnectionState().DidResume)
	}
	f(false, 200)
	f(true, 200)
	w.srv.Publish(w.compile(t, strings.Replace(config, cs.file, other.file, 1)))
	f(true, 401)
}

// A token seen before is let in without allocating.
func TestWalkWithTokenDoesNotAllocate(t *testing.T) {
	issuer := newIDP(t)
	reply := jsonAnswer(`{"id":"1","choices":[]}`)
	config := strings.Replace(open("", newReplier(t, reply)), "auth: {anonymous: all}", "auth: {jwt: ["+issuer.config("tenant: all")+"]}", 1)
	w := newWorld(t, config)
	c := w.dial(t)
	raw := []byte(chat(simple, bearerLine(issuer.token())))
	b := make([]byte, 64<<10)
	once := func() {
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(b[:n], []byte("]}")); {
			k, err := c.Read(b[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
			if n > 12 && !bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
				t.Fatalf("%.300s", b[:n])
			}
		}
	}
	for range 50 {
		once()
	}
	if got := testing.AllocsPerRun(testtiming.Rounds(1000), once); !raceBuild {
		assert.Zero(t, got)
	}
}

// What a request costs by how its sender says who it is: the whole walk, sockets
// and this client included.
func BenchmarkWalkByCredential(b *testing.B) {
	issuer := newIDP(b)
	key, hash := newKey(b)
	config := strings.Replace(open("", newReplier(b, jsonAnswer(`{"id":"1","choices":[]}`))), "auth: {anonymous: all}\ntenants: [{name: all}]",
		"auth: {jwt: ["+issuer.config("tenant: all")+"]}\ntenants: [{name: all, keys: [{name: k, hash: \""+hash+"\"}]}]", 1)
	w := newWorld(b, config)
	claims := []any{"scope", "openid profile email", "azp", "console", "jti", strings.Repeat("0", 36), "pad", strings.Repeat("x", 200)}
	for _, by := range []struct{ name, credential string }{{"key", key}, {"token", issuer.token(claims...)}} {
		b.Run(by.name, func(b *testing.B) {
			c := w.dial(b)
			raw := []byte(chat(`{"model":"m","messages":["`+strings.Repeat("x", 1000)+`"]}`, bearerLine(by.credential)))
			answer := make([]byte, 64<<10)
			require.NoError(b, c.SetDeadline(time.Now().Add(time.Hour)))
			b.ReportAllocs()
			for range b.N {
				if _, err := c.Write(raw); err != nil {
					b.Fatal(err)
				}
				for n := 0; !bytes.HasSuffix(answer[:n], []byte("]}")); {
					k, err := c.Read(answer[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += k
				}
			}
			b.ReportMetric(float64(len(by.credential)), "credential-bytes")
		})
	}
}
