// TLS towards a backend: always verified, HTTP/1.1 only, with the operator's
// own CA and client certificate where configured.

package backends

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// NewTLSConfig makes the client side of TLS to host. The files ca, cert and key
// are PEM, read by readFile (nil: os.ReadFile); an empty ca means the system's
// roots, cert and key come together or not at all. The peer's certificate is
// checked against serverName or, if that is empty, against host; nothing turns
// that off. Reading a changed file again takes a new config.
func NewTLSConfig(ca, cert, key, serverName, host string, readFile func(string) ([]byte, error)) (*tls.Config, error) {
	if readFile == nil {
		readFile = os.ReadFile
	}
	name, err := certificateName(serverName, host)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		ServerName: name,
		MinVersion: tls.VersionTLS12,
		// So that a backend which wants HTTP/2 alone can say so in the
		// handshake, not in frames that would read as a broken answer.
		NextProtos: []string{"http/1.1"},
	}
	if ca != "" {
		if c.RootCAs, err = readCA(ca, readFile); err != nil {
			return nil, err
		}
	}
	if cert != "" || key != "" {
		pair, err := readPair(cert, key, readFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// certificateName returns the name the peer's certificate must carry, in the
// one spelling that crypto/x509 takes for a name or for an IP address.
func certificateName(serverName, host string) (string, error) {
	if serverName == "" {
		if host == "" {
			return "", errors.New("cannot check certificates: neither a server name nor a host is given")
		}
		serverName = host
	}
	if literal, err := parseIPv6(wireHost(strings.Trim(serverName, "[]"))); err == nil {
		return literal, nil
	}
	name, err := parseHost(serverName)
	if err != nil {
		return "", fmt.Errorf("cannot check certificates against %q: %w", serverName, err)
	}
	return wireHost(name), nil
}

func readCA(file string, readFile func(string) ([]byte, error)) (*x509.CertPool, error) {
	rest, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read CA file %q: %w", file, err)
	}
	pool, count := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		count++
		// AppendCertsFromPEM would pass over a broken one in silence.
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cannot use certificate %d of CA file %q: %w", count, file, err)
		}
		pool.AddCert(root)
	}
	if count == 0 {
		return nil, fmt.Errorf("cannot use CA file %q: it has no PEM certificate", file)
	}
	return pool, nil
}

func readPair(cert, key string, readFile func(string) ([]byte, error)) (pair tls.Certificate, err error) {
	if cert == "" {
		return pair, fmt.Errorf("cannot use client key %q: its certificate is not given", key)
	}
	if key == "" {
		return pair, fmt.Errorf("cannot use client certificate %q: its key is not given", cert)
	}
	certPEM, err := readFile(cert)
	if err != nil {
		return pair, fmt.Errorf("cannot read client certificate %q: %w", cert, err)
	}
	keyPEM, err := readFile(key)
	if err != nil {
		return pair, fmt.Errorf("cannot read client key %q: %w", key, err)
	}
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return pair, fmt.Errorf("cannot use client certificate %q with key %q: %w", cert, key, err)
	}
	return pair, nil
}
