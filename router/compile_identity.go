package router

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
)

// This file turns what proves an identity besides API keys into the plan's: the
// issuers of tokens, and what client certificates stand for.

const maxKeyFile = 64 << 10 // bytes, of a key set or of authorities

// addIdentity makes the tokens and certificates of cfg, after its tenants.
func (s *Snapshot) addIdentity(cfg *configs.Config, w World) error {
	order := cfg.Auth.Order
	on := func(way string) bool { return slices.Contains(order, way) }
	if !on("key") {
		s.keyring = new(authn.Keyring)
	}
	tenants := make(map[string]*authn.Rights, len(cfg.Tenants))
	if len(cfg.Auth.JWT)+len(cfg.Auth.MTLS) > 0 {
		for i := range cfg.Tenants {
			t := &cfg.Tenants[i]
			tenants[t.Name] = &authn.Rights{Tenant: t.Name, Models: t.Models}
			s.grant(tenants[t.Name])
		}
	}
	s.tenants = tenants
	if on("jwt") && len(cfg.Auth.JWT) > 0 {
		if err := s.addIssuers(cfg.Auth.JWT, tenants, w); err != nil {
			return err
		}
	}
	if cfg.Server.TLS.ClientAuth == "off" {
		return nil
	}
	var rules []authn.CertificateRule
	if on("mtls") {
		for _, m := range cfg.Auth.MTLS {
			rules = append(rules, authn.CertificateRule{Name: m.Name, SPIFFE: m.SPIFFE, Subject: m.Subject, Tenant: m.Tenant, Models: m.Models})
		}
	}
	roots, err := readAuthorities(cfg.Server.TLS.ClientCA)
	if err != nil {
		return fmt.Errorf("cannot use server.tls.client_ca: %w", err)
	}
	s.certificateRequired = cfg.Server.TLS.ClientAuth == "required"
	s.certificateNames = len(rules) > 0
	s.certificateFirst = len(rules) > 0 && order[0] == "mtls"
	s.certificates, err = authn.NewCertificates(roots, rules, tenants, s.grant)
	return err
}

func (s *Snapshot) addIssuers(list []configs.Issuer, tenants map[string]*authn.Rights, w World) error {
	var issuers []authn.Issuer
	var problems []error
	for i := range list {
		c := &list[i]
		keys, err := s.keysOf(c, w)
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot use issuer %q: %w", c.Issuer, err))
			continue
		}
		issuers = append(issuers, issuerOf(c, keys))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	var err error
	s.tokens, err = authn.NewTokens(issuers, tenants, s.grant)
	return err
}

// keysOf are an issuer's keys: of a file, or fetched; none where nothing is.
func (s *Snapshot) keysOf(c *configs.Issuer, w World) (*authn.KeySet, error) {
	if c.JWKSFile != "" {
		data, err := readSmall(c.JWKSFile)
		if err != nil {
			return nil, err
		}
		keys, err := authn.ParseKeySet(data)
		if err != nil {
			return nil, fmt.Errorf("cannot use the keys in %s: %w", c.JWKSFile, err)
		}
		return keys, nil
	}
	if w.KeySets == nil {
		return new(authn.KeySet), nil
	}
	src := authn.Source{Issuer: c.Issuer, URL: c.JWKSURL}
	if c.CA != "" {
		pem, err := readSmall(c.CA)
		if err != nil {
			return nil, err
		}
		src.CA = string(pem)
	}
	keys, err := w.KeySets.Adopt(src)
	if err == nil {
		s.keySets = append(s.keySets, keys)
	}
	return keys, err
}

func issuerOf(c *configs.Issuer, keys *authn.KeySet) authn.Issuer {
	i := authn.Issuer{
		Name: c.Issuer, Audiences: c.Audience, Algorithms: c.Algorithms, Type: c.Type,
		Tenant: c.Tenant, TenantClaim: c.TenantClaim, RolesClaim: c.RolesClaim, NameClaim: c.NameClaim,
		Required: c.Required, MaxLifetime: c.MaxLifetime, Leeway: c.Leeway, Keys: keys,
	}
	for _, t := range c.Tenants {
		i.Tenants = append(i.Tenants, authn.ClaimTenant{Value: t.Value, Tenant: t.Tenant})
	}
	for _, r := range c.Roles {
		i.Roles = append(i.Roles, authn.Role{Name: r.Name, Models: r.Models, Debug: r.Debug})
	}
	return i
}

func readAuthorities(path string) (*x509.CertPool, error) {
	pem, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return roots, nil
}

// readSmall reads a file that is no bigger than it has any reason to be.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s is bigger than %d bytes", path, maxKeyFile)
	}
	return data, nil
}
