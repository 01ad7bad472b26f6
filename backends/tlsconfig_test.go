package backends

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testCA signs certificates for one test.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca := &testCA{}
	der, key := signed(t, template, template, nil)
	ca.key, ca.pem = key, pemOf("CERTIFICATE", der)
	var err error
	ca.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return ca
}

// signed fills what every certificate needs, makes a key and signs with the
// parent's, or with its own where parentKey is nil.
func signed(t *testing.T, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-48 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	require.NoError(t, err)
	return der, key
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// issue returns a certificate for the names and IP addresses, as PEM and ready
// to use.
func (ca *testCA) issue(t *testing.T, notAfter time.Time, names ...string) (cert, key []byte, pair tls.Certificate) {
	t.Helper()
	template := &x509.Certificate{
		NotAfter: notAfter, Subject: pkix.Name{CommonName: "leaf"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, private := signed(t, template, ca.cert, ca.key)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	cert, key = pemOf("CERTIFICATE", der), pemOf("EC PRIVATE KEY", keyDER)
	pair, err = tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	return cert, key, pair
}

func filesOf(files map[string][]byte) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		content, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return content, nil
	}
}

func TestNewTLSConfig(t *testing.T) {
	ca := newTestCA(t)
	cert, key, _ := ca.issue(t, time.Time{}, "client")
	read := filesOf(map[string][]byte{"ca.pem": append([]byte("a comment\n"), ca.pem...), "c.pem": cert, "k.pem": key})

	c, err := NewTLSConfig("", "", "", "", "API.example.com.", nil)
	require.NoError(t, err)
	assert.Nil(t, c.RootCAs)
	assert.Equal(t, "api.example.com", c.ServerName)
	assert.Equal(t, uint16(tls.VersionTLS12), c.MinVersion)
	assert.Equal(t, []string{"http/1.1"}, c.NextProtos)
	assert.False(t, c.InsecureSkipVerify)
	assert.Empty(t, c.Certificates)

	c, err = NewTLSConfig("ca.pem", "c.pem", "k.pem", "engine.internal", "10.0.0.1", read)
	require.NoError(t, err)
	assert.Equal(t, "engine.internal", c.ServerName)
	assert.Len(t, c.Certificates, 1)
	want := x509.NewCertPool()
	want.AddCert(ca.cert)
	assert.True(t, want.Equal(c.RootCAs))
}

func TestNewTLSConfigRefuses(t *testing.T) {
	ca := newTestCA(t)
	cert, key, _ := ca.issue(t, time.Time{}, "client")
	_, otherKey, _ := ca.issue(t, time.Time{}, "other")
	read := filesOf(map[string][]byte{
		"ca.pem": ca.pem, "c.pem": cert, "k.pem": key, "other.pem": otherKey, "empty.pem": nil, "text.pem": []byte("no PEM"),
		"broken.pem": append(append([]byte{}, ca.pem...), pemOf("CERTIFICATE", []byte("junk"))...),
	})
	f := func(ca, cert, key, serverName, host, want string) {
		t.Helper()
		c, err := NewTLSConfig(ca, cert, key, serverName, host, read)
		require.Error(t, err)
		assert.Nil(t, c)
		assert.Contains(t, err.Error(), want)
	}
	f("none.pem", "", "", "", "h", `cannot read CA file "none.pem": file does not exist`)
	f("empty.pem", "", "", "", "h", `cannot use CA file "empty.pem": it has no PEM certificate`)
	f("text.pem", "", "", "", "h", `cannot use CA file "text.pem"`)
	f("k.pem", "", "", "", "h", `cannot use CA file "k.pem"`)
	f("broken.pem", "", "", "", "h", `cannot use certificate 2 of CA file "broken.pem"`)
	f("", "c.pem", "", "", "h", `cannot use client certificate "c.pem": its key is not given`)
	f("", "", "k.pem", "", "h", `cannot use client key "k.pem": its certificate is not given`)
	f("", "none.pem", "k.pem", "", "h", `cannot read client certificate "none.pem"`)
	f("", "c.pem", "none.pem", "", "h", `cannot read client key "none.pem"`)
	f("", "c.pem", "other.pem", "", "h", `cannot use client certificate "c.pem" with key "other.pem"`)
	f("", "k.pem", "c.pem", "", "h", `cannot use client certificate "k.pem" with key "c.pem"`)
	f("", "", "", "", "", "neither a server name nor a host is given")
	f("", "", "", "h:443", "h", `cannot check certificates against "h:443"`)
	f("", "", "", "*.h", "h", `cannot check certificates against "*.h"`)
	f("", "", "", "", "127.1", `cannot check certificates against "127.1"`)

	// nil reads files of the disk.
	_, err := NewTLSConfig(t.TempDir()+"/none.pem", "", "", "", "h", nil)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestCertificateName(t *testing.T) {
	f := func(serverName, host, want string) {
		t.Helper()
		got, err := certificateName(serverName, host)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f("", "H.Example.", "h.example")
	f("Name", "10.0.0.1", "name")
	f("", "10.0.0.1", "10.0.0.1")
	f("", "::1", "::1")
	f("[2001:DB8::0:1]", "h", "2001:db8::1")
	f("", "fe80::1%eth0", "fe80::1")
	f("::ffff:10.0.0.1", "h", "10.0.0.1")
}
