package authn

// Client certificates: from a verified chain to a principal, by the SPIFFE id in
// it (SPIFFE X.509-SVID) or by its subject.

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
)

const spiffeScheme = "spiffe://"

// CertificateRule says whom a client certificate stands for. One of SPIFFE and
// Subject is set.
type CertificateRule struct {
	Name    string // names the caller in logs
	SPIFFE  string // an id, or one that ends in /*: every id below it
	Subject string // the whole subject as RFC 2253 writes it
	Tenant  string
	Models  ModelGrant // within the tenant's; empty means all of them
}

// Certificates knows the rules of one snapshot. Immutable and safe for
// concurrent use.
type Certificates struct {
	roots    *x509.CertPool
	ids      map[string]*Principal
	below    map[string]*Principal // by what stands before the star
	subjects map[string]*Principal
}

// NewCertificates compiles rules for certificates that roots have signed.
// tenants and grant are as for [NewTokens].
func NewCertificates(roots *x509.CertPool, rules []CertificateRule, tenants map[string]*Rights, grant func(*Rights)) (*Certificates, error) {
	c := &Certificates{roots: roots, ids: map[string]*Principal{}, below: map[string]*Principal{}, subjects: map[string]*Principal{}}
	var problems []error
	for i := range rules {
		if err := c.add(&rules[i], tenants, grant); err != nil {
			problems = append(problems, fmt.Errorf("cannot use certificate rule %q: %w", rules[i].Name, err))
		}
	}
	return c, errors.Join(problems...)
}

func (c *Certificates) add(r *CertificateRule, tenants map[string]*Rights, grant func(*Rights)) error {
	rights := tenants[r.Tenant]
	if rights == nil {
		return fmt.Errorf("there is no tenant %q", r.Tenant)
	}
	if len(r.Models) > 0 {
		narrow := *rights
		narrow.KeyModels, narrow.Grants = r.Models, nil
		grant(&narrow)
		rights = &narrow
	}
	p := &Principal{Rights: rights, KeyName: "mtls:" + r.Name, until: never}
	by, key := c.subjects, r.Subject
	if r.SPIFFE != "" {
		id, open := strings.CutSuffix(r.SPIFFE, "*")
		if why := badSPIFFE(strings.TrimSuffix(id, "/")); why != "" || open != strings.HasSuffix(id, "/") {
			return errors.New("its spiffe is neither an id nor one that ends in /*")
		}
		by, key = c.ids, id
		if open {
			by = c.below
		}
	}
	if key == "" || by[key] != nil {
		return errors.New("it names nobody, or whom another rule names")
	}
	by[key] = p
	return nil
}

// Identity is what a client certificate is worth. The zero Identity is nothing.
type Identity struct {
	who  *Principal // nil: nobody
	ends time.Time  // when the first certificate of the chain runs out; zero: it is no good at all
	Err  error      // why it is nobody's, for the operator
}

// Good reports whether authorities that are trusted stand behind it at this moment.
func (i *Identity) Good(now time.Time) bool { return now.Before(i.ends) }

// At returns whom it stands for at this moment, or why for nobody.
func (i *Identity) At(now time.Time) (*Principal, helixflow.AuthReason) {
	switch {
	case i.who == nil:
		return nil, helixflow.AuthCertificate
	case !i.Good(now):
		return nil, helixflow.AuthExpired
	}
	return i.who, helixflow.AuthAccepted
}

// Identify verifies the chain that a client presented, leaf first, again: the
// authorities may not be those of its handshake, and a resumed session verifies
// nothing. It is for once per connection and snapshot.
func (c *Certificates) Identify(chain []*x509.Certificate, now time.Time) Identity {
	if len(chain) == 0 {
		return Identity{Err: errors.New("there is none")}
	}
	leaf := chain[0]
	o := x509.VerifyOptions{
		Roots: c.roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range chain[1:] {
		o.Intermediates.AddCert(cert)
	}
	verified, err := leaf.Verify(o)
	if err != nil {
		return Identity{Err: err}
	}
	i := Identity{ends: leaf.NotAfter}
	for _, cert := range verified[0] {
		if cert.NotAfter.Before(i.ends) {
			i.ends = cert.NotAfter
		}
	}
	i.who, i.Err = c.find(leaf)
	return i
}

// find is the principal of a certificate: the rule for its very id before the
// longest one above it, and these before one for its subject.
func (c *Certificates) find(leaf *x509.Certificate) (*Principal, error) {
	id, err := spiffeID(leaf)
	if err != nil {
		return nil, err
	}
	if p := c.ids[id]; p != nil {
		return p, nil
	}
	for at := strings.LastIndexByte(id, '/'); at >= len(spiffeScheme); at = strings.LastIndexByte(id[:at], '/') {
		if p := c.below[id[:at+1]]; p != nil {
			return p, nil
		}
	}
	subject := subjectOf(leaf)
	if p := c.subjects[subject]; p != nil && subject != "" {
		return p, nil
	}
	return nil, fmt.Errorf("no rule of auth.mtls is for its id %q or its subject %q", id, subject)
}

// spiffeID is the SPIFFE id of a certificate, empty when it has none. One that
// is no leaf, or names several, is nobody's.
func spiffeID(leaf *x509.Certificate) (string, error) {
	id := ""
	for _, u := range leaf.URIs {
		if strings.EqualFold(u.Scheme, "spiffe") {
			id = u.String()
		}
	}
	switch {
	case id == "":
		return "", nil
	case len(leaf.URIs) > 1:
		return "", errors.New("it has a SPIFFE id and another URI beside it")
	case leaf.IsCA:
		return "", errors.New("it has a SPIFFE id and is an authority's")
	}
	if why := badSPIFFE(id); why != "" {
		return "", errors.New("its SPIFFE id " + why)
	}
	return id, nil
}

// badSPIFFE says what is wrong with a SPIFFE id, or nothing. What it lets pass
// has one spelling only, so that ids can be compared byte by byte.
func badSPIFFE(id string) string {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	if !ok || len(id) > 2048 {
		return "does not start with spiffe://, or is longer than 2048 bytes"
	}
	domain, path, more := strings.Cut(rest, "/")
	if domain == "" || strings.Trim(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "has a bad trust domain"
	}
	for more {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		if segment == "" || segment == "." || segment == ".." {
			return "has an empty or relative segment"
		}
		for i := range len(segment) {
			if !allBase62(segment[i:i+1]) && !strings.Contains(".-_", segment[i:i+1]) {
				return "has a bad character"
			}
		}
	}
	return ""
}

// subjectOf is a certificate's subject as RFC 2253 writes it, every part of it in
// the order it has there. (pkix.Name would sort and merge the parts, and two
// subjects could become one.)
func subjectOf(leaf *x509.Certificate) string {
	var parts pkix.RDNSequence
	if rest, err := asn1.Unmarshal(leaf.RawSubject, &parts); err != nil || len(rest) > 0 {
		return ""
	}
	return parts.String()
}
