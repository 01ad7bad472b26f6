//go:build unix

package testredis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ListenTLS has it listen for TLS as well, with this certificate, which it also
// trusts those of clients by, and returns where; once more, it goes over to what the
// files hold now. Clients is whether they need one: no, optional or yes.
func (s *Server) ListenTLS(t testing.TB, cert, key, clients string) (address string) {
	t.Helper()
	if s.tls == "" {
		s.tls = freeAddress(t)
	}
	_, port, err := net.SplitHostPort(s.tls)
	require.NoError(t, err)
	require.Equal(t, "+OK", s.Command(t, "CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", cert,
		"tls-auth-clients", clients, "tls-port", port))
	return s.tls
}

// WriteCertificate writes a new certificate for 127.0.0.1 and its key, PEM. It is
// its own authority.
func WriteCertificate(t testing.TB, cert, key string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}
