package authn

// Fetching an issuer's keys over HTTP: small answers only, from nowhere but
// where the configuration or the issuer itself says.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	fetchWithin  = 5 * time.Second // discovery included
	maxRedirects = 3
	discovery    = "/.well-known/openid-configuration" // OpenID Connect Discovery 1.0, section 4
)

// Source is where an issuer's keys come from.
type Source struct {
	Issuer string
	URL    string // of its key set; empty: where its discovery document says
	CA     string // PEM text of the authorities to trust; empty: the system's
}

// KeySets are the key sets that are fetched. They outlive every snapshot, so
// that a reload forgets no key. Safe for concurrent use.
type KeySets struct {
	log *slog.Logger

	mu   sync.Mutex // guards sets
	sets map[Source]*KeySet
}

// NewKeySets makes an empty collection; Close ends what it begins.
func NewKeySets(log *slog.Logger) *KeySets {
	return &KeySets{log: log, sets: make(map[Source]*KeySet)}
}

// Adopt returns the set of a source, the same one each time. A new one is empty
// until its first fetch, which Adopt begins and does not wait for.
func (s *KeySets) Adopt(src Source) (*KeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.sets[src]; k != nil {
		return k, nil
	}
	f, err := newFetcher(src)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch the keys of %s: %w", src.Issuer, err)
	}
	k := newRemote(src.Issuer, f.fetch, s.log)
	s.sets[src] = k
	return k, nil
}

// Retain ends the refreshing of every set but these.
func (s *KeySets) Retain(used ...*KeySet) {
	keep := make(map[*KeySet]bool, len(used))
	for _, k := range used {
		keep[k] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for src, k := range s.sets {
		if !keep[k] {
			k.close()
			delete(s.sets, src)
		}
	}
}

// Refresh has every set fetched again soon, so that a reload is all it takes to
// make a withdrawn key stop.
func (s *KeySets) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sets {
		k.remote.want()
	}
}

// Close ends the refreshing of every set.
func (s *KeySets) Close() { s.Retain() }

// Figures is what a scrape shows of a key set.
type Figures struct {
	Keys            int
	LastGood        time.Time // zero: never yet
	Fetched, Failed uint64
}

// Figures says how each issuer's set stands. With several sources for an issuer,
// while one replaces the other, it is any of them.
func (s *KeySets) Figures() map[string]Figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]Figures, len(s.sets))
	for src, k := range s.sets {
		f := Figures{Fetched: k.remote.fetched.Load(), Failed: k.remote.failed.Load()}
		if r := k.keys.Load(); r != nil {
			f.Keys, f.LastGood = len(r.list), r.good
		}
		all[src.Issuer] = f
	}
	return all
}

// fetcher gets the key set of one source.
type fetcher struct {
	source Source
	client *http.Client
}

func newFetcher(src Source) (*fetcher, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if src.CA != "" {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(src.CA)) {
			return nil, errors.New("its ca holds no certificate")
		}
	}
	dial := &net.Dialer{Timeout: 3 * time.Second}
	return &fetcher{source: src, client: &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial.DialContext,
			TLSClientConfig:        trust,
			TLSHandshakeTimeout:    3 * time.Second,
			DisableKeepAlives:      true, // the next one is minutes away
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: sameHost,
	}}, nil
}

// sameHost lets an issuer move its pages, and nobody else's in.
func sameHost(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	switch {
	case len(before) > maxRedirects:
		return errors.New("it redirects too often")
	case next.URL.Host != first.Host || next.URL.Scheme != first.Scheme:
		return errors.New("it redirects to another host")
	}
	return nil
}

// fetch returns the bytes of the key set.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	at := f.source.URL
	if at == "" {
		var err error
		if at, err = f.discover(ctx); err != nil {
			return nil, fmt.Errorf("cannot discover where the keys are: %w", err)
		}
	}
	return f.get(ctx, at)
}

// discover asks the issuer where its keys are.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	body, err := f.get(ctx, strings.TrimSuffix(f.source.Issuer, "/")+discovery)
	if err != nil {
		return "", err
	}
	m, err := members(body)
	if err != nil {
		return "", err
	}
	if issuer, _ := stringOf(m["issuer"]); issuer != f.source.Issuer {
		return "", errors.New("the document is another issuer's")
	}
	at, _ := stringOf(m["jwks_uri"])
	u, err := url.Parse(at)
	// Keys that came in the clear are anybody's, unless the issuer is no better.
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || strings.HasPrefix(f.source.Issuer, "https:")) {
		return "", errors.New("its jwks_uri is no https URL")
	}
	return at, nil
}

func (f *fetcher) get(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Header.Set("User-Agent", "helixflow")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", at, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("the answer of %s is bigger than %d bytes", at, maxSetBytes)
	}
	return body, nil
}
