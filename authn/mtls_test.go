package authn

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newEd(t)}
	a.cert = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, NotAfter: now.Add(100 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, a.key)
	return a
}

// issue makes a certificate for key, signed by the authority or itself.
func issue(t testing.TB, c *x509.Certificate, by *authority, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c.SerialNumber = big.NewInt(1)
	c.NotBefore = now.Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = now.Add(time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// client is a client's certificate with these URIs.
func (a *authority) client(t testing.TB, subject pkix.Name, uris ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, text := range uris {
		u, err := url.Parse(text)
		require.NoError(t, err)
		c.URIs = append(c.URIs, u)
	}
	return issue(t, c, a, newEd(t))
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func testCertificates(t testing.TB, roots *x509.CertPool, rules ...CertificateRule) (*Certificates, error) {
	t.Helper()
	return NewCertificates(roots, rules, testTenants(), testGrant)
}

func TestCertificates(t *testing.T) {
	ca := newAuthority(t)
	c, err := testCertificates(
		t, ca.pool(),
		CertificateRule{Name: "one", SPIFFE: "spiffe://example.org/ns/prod/sa/one", Tenant: "acme"},
		CertificateRule{Name: "prod", SPIFFE: "spiffe://example.org/ns/prod/*", Tenant: "acme", Models: ModelGrant{"llama-8b"}},
		CertificateRule{Name: "all", SPIFFE: "spiffe://example.org/*", Tenant: "globex"},
		CertificateRule{Name: "domain", SPIFFE: "spiffe://example.org", Tenant: "globex"},
		CertificateRule{Name: "batch", Subject: "CN=batch,OU=ml,O=Acme", Tenant: "acme"},
	)
	require.NoError(t, err)
	f := func(want string, subject pkix.Name, uris ...string) {
		t.Helper()
		i := c.Identify([]*x509.Certificate{ca.client(t, subject, uris...)}, now)
		got := ""
		if i.who != nil {
			got = strings.TrimPrefix(i.who.KeyName, "mtls:")
		}
		assert.Equal(t, want, got, "%v", uris)
		assert.Equal(t, want == "", i.Err != nil, "%v", i.Err)
	}
	nobody := pkix.Name{}
	f("one", nobody, "spiffe://example.org/ns/prod/sa/one")
	f("prod", nobody, "spiffe://example.org/ns/prod/sa/two")
	f("prod", nobody, "spiffe://example.org/ns/prod/sa/one/more")
	f("all", nobody, "spiffe://example.org/ns/prod")
	f("all", nobody, "spiffe://example.org/ns/production/sa/one")
	f("domain", nobody, "spiffe://example.org")
	f("", nobody, "spiffe://example.org.evil.com/ns/prod/sa/one")
	f("", nobody, "spiffe://evil.com/example.org/ns/prod/sa/one")
	f("", nobody, "spiffe://example.org/ns/prod/../../x")
	f("", nobody, "spiffe://example.org//ns/prod/sa/one")
	f("", nobody, "spiffe://example.org/ns/prod/sa/on%65")
	f("", nobody, "spiffe://user@example.org/ns/prod/sa/one")
	f("", nobody, "spiffe://example.org:443/ns/prod/sa/one")
	f("", nobody, "spiffe://example.org/ns/prod/sa/one?x=1")
	f("", nobody, "spiffe://Example.org/ns/prod/sa/one")
	f("", nobody, "https://example.org/ns/prod/sa/one")
	f("", nobody, "spiffe://example.org/a", "spiffe://example.org/b")
	f("", nobody, "spiffe://example.org/a", "https://example.org/b")
	f("", nobody)

	batch := pkix.Name{CommonName: "batch", OrganizationalUnit: []string{"ml"}, Organization: []string{"Acme"}}
	f("batch", batch)
	f("all", batch, "spiffe://example.org/x")
	f("", pkix.Name{CommonName: "batch", Organization: []string{"Acme"}})
	f("", pkix.Name{CommonName: "batch,OU=ml,O=Acme"})
	f("", pkix.Name{CommonName: "batch", OrganizationalUnit: []string{"ml"}, Organization: []string{"Acme", "Acme"}})

	// What a rule narrows.
	who := c.Identify([]*x509.Certificate{ca.client(t, nobody, "spiffe://example.org/ns/prod/sa/two")}, now).who
	assert.False(t, who.Allowed(0))
	assert.True(t, who.Allowed(1))
}

// Whatever a handshake said, a chain is verified again, against these authorities.
func TestCertificatesVerify(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	const id = "spiffe://example.org/a"
	c, err := testCertificates(t, ca.pool(), CertificateRule{Name: "a", SPIFFE: id, Tenant: "acme"})
	require.NoError(t, err)
	f := func(want string, at time.Time, chain ...*x509.Certificate) {
		t.Helper()
		i := c.Identify(chain, at)
		if want == "" {
			require.NotNil(t, i.who, "%v", i.Err)
			return
		}
		assert.Nil(t, i.who)
		assert.ErrorContains(t, i.Err, want)
	}
	leaf := ca.client(t, pkix.Name{}, id)
	f("", now, leaf)
	f("expired", now.Add(2*time.Hour), leaf)
	f("expired or is not yet valid", now.Add(-2*time.Hour), leaf)
	f("unknown authority", now, other.client(t, pkix.Name{}, id))
	f("unknown authority", now, other.client(t, pkix.Name{}, id), ca.cert)
	u, err := url.Parse(id)
	require.NoError(t, err)
	f("incompatible key usage", now, issue(t, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca, newEd(t)))
	f("authority's", now, issue(t, &x509.Certificate{URIs: []*url.URL{u}, IsCA: true, BasicConstraintsValid: true}, ca, newEd(t)))

	// Its end is that of the shortest certificate on the way.
	between := &authority{key: newEd(t)}
	between.cert = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: now.Add(time.Minute),
	}, ca, between.key)
	i := c.Identify([]*x509.Certificate{between.client(t, pkix.Name{}, id), between.cert}, now)
	require.NoError(t, i.Err)
	assert.True(t, i.Good(now) && !i.Good(now.Add(time.Minute)))
}

func TestNewCertificatesRefuses(t *testing.T) {
	f := func(want string, rules ...CertificateRule) {
		t.Helper()
		_, err := testCertificates(t, x509.NewCertPool(), rules...)
		assert.ErrorContains(t, err, want)
	}
	rule := func(id string) CertificateRule { return CertificateRule{Name: "r", SPIFFE: id, Tenant: "globex"} }
	for _, id := range []string{
		"example.org/a", "https://example.org/a", "spiffe:///a", "spiffe://example.org/", "spiffe://example.org/a/", "spiffe://example.org/a*",
		"spiffe://example.org/*/a", "spiffe://*", "*", "spiffe://example.org//*", "spiffe://example.org/../*", "spiffe://" + strings.Repeat("a", 2048),
	} {
		f("neither an id nor", rule(id))
	}
	f("names nobody, or whom another rule names", rule("spiffe://example.org/a"), rule("spiffe://example.org/a"))
	f("names nobody, or whom another rule names", rule(""))
	f(`no tenant "nobody"`, CertificateRule{SPIFFE: "spiffe://a/b", Tenant: "nobody"})
}
