package authn

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseKeys(t *testing.T) {
	keys := testKeys()
	r, e, d := jwk("r", keys["RS256"]), jwk("e", keys["ES256"]), jwk("d", keys["EdDSA"])
	other := jwk("d", newEd(t))
	// f wants the ids, or a part of the error.
	f := func(body, want string) {
		t.Helper()
		list, err := parseKeys([]byte(body))
		if err != nil {
			assert.ErrorContains(t, err, want)
			return
		}
		var ids []string
		for _, k := range list {
			ids = append(ids, k.id+":"+k.algorithm)
		}
		assert.Equal(t, want, strings.Join(ids, " "))
	}
	f(jwks(r, e, d), "r:RS256 e:ES256 d:EdDSA")
	f(`{"x":{"y":[1]},"keys":[`+r+`]}`, "r:RS256")

	// What is no set must not be taken for one.
	f("", "not one JSON object")
	f("<html><body>moved</body></html>", "not one JSON object")
	f("null", "not one JSON object")
	f("[]", "not one JSON object")
	f("{}", `no list of "keys"`)
	f(`{"keys":null}`, `no list of "keys"`)
	f(`{"keys":{}}`, `no list of "keys"`)
	f(`{"keys":[]}`, "no key that can be used")
	f(jwks(r)+jwks(r), "not one JSON object")
	f(`{"keys":[],"keys":[`+r+`]}`, "stands twice")
	f("{\"keys\":[],\"x\":\"\xff\"}", "not UTF-8")
	f(jwks(strings.Split(strings.Repeat(r+"|", 33), "|")[:33]...), "more than 32 keys")
	f(`{"x":"`+strings.Repeat("x", maxSetBytes)+`"}`, "bigger than")

	// What is no key for signatures of ours is passed over.
	with := func(key, member string) string { return strings.Replace(key, "{", "{"+member+",", 1) }
	for _, key := range []string{
		strings.Replace(r, `"sig"`, `"enc"`, 1), with(e, `"use":"enc"`), with(e, `"use":7`), with(e, `"key_ops":["sign"]`), with(e, `"key_ops":"verify"`),
		with(e, `"alg":"ES384"`), with(d, `"alg":"Ed448"`), with(e, `"alg":7`), strings.Replace(r, "RS256", "PS256", 1),
		`{"kty":"oct","kid":"s","k":"c2VjcmV0"}`, with(d, `"d":"AA"`), with(d, `"kid":"d"`), `"x"`, "7", "{}",
		strings.Replace(e, "P-256", "P-384", 1), strings.Replace(e, `"x":"`, `"x":"A`, 1), strings.Replace(e, `"y":"`, `"y":"AAAA","z":"`, 1),
		strings.Replace(d, `"x":"`, `"x":"AAAA","z":"`, 1), strings.Replace(d, `"kid":"d"`, `"kid":"`+strings.Repeat("k", 129)+`"`, 1),
		strings.Replace(d, `"kid":"d"`, `"kid":7`, 1), strings.Replace(r, `"AQAB"`, `"AQ"`, 1), strings.Replace(r, `"AQAB"`, `"AQAA"`, 1), strings.Replace(r, `"AQAB"`, `"AQABAQAB"`, 1),
		fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(new(big.Int).Lsh(big.NewInt(1), 1023).Bytes())),
		fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())),
		fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(bytes.Repeat([]byte{0xff}, 1025))),
	} {
		f(jwks(key), "no key that can be used")
		f(jwks(key, r), "r:RS256")
	}
	f(jwks(with(e, `"key_ops":["verify","sign"]`)), "e:ES256")

	// Two keys of one name: which is meant? The same key twice is one.
	f(jwks(d, other), "no key that can be used")
	f(jwks(d, other, r), "r:RS256")
	f(jwks(d, d), "d:EdDSA")
	f(jwks(d, jwk("d", keys["ES256"])), "d:EdDSA d:ES256")
}

// Of keys that are not weak none may be taken for one that is; Wycheproof has one that is.
func TestRocaSparesHonestKeys(t *testing.T) {
	for range 200 {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 2048))
		require.NoError(t, err)
		assert.False(t, rocaWeak(n))
	}
	assert.False(t, rocaWeak(testKeys()["RS256"].Public().(*rsa.PublicKey).N))
	assert.True(t, rocaWeak(new(big.Int).Exp(big.NewInt(65537), big.NewInt(128), nil)))
}

// idProvider is a fake of an issuer's key set, which counts who asks.
type idProvider struct {
	mu      sync.Mutex
	body    string
	err     error
	takes   time.Duration
	fetches atomic.Int32
}

func (p *idProvider) publish(keys ...string) { p.answer(jwks(keys...), nil) }

func (p *idProvider) answer(body string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body, p.err = body, err
}

func (p *idProvider) fetch(ctx context.Context) ([]byte, error) {
	p.fetches.Add(1)
	p.mu.Lock()
	body, err, takes := p.body, p.err, p.takes
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []byte(body), err
}

// logText is a log to look into.
type logText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// inBubble runs f in virtual time with a set that p publishes, after its first fetch.
func inBubble(t *testing.T, p *idProvider, f func(k *KeySet, log *logText)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := new(logText)
		k := newRemote(idp, p.fetch, slog.New(slog.NewTextHandler(log, nil)))
		defer k.close()
		synctest.Wait()
		f(k, log)
	})
}

func outcomeOfFind(k *KeySet, id string) string {
	_, reason := k.find(id, "EdDSA", time.Now())
	return reason.String()
}

// An IdP that is down for an hour fails nobody whose key is known; after a day
// without news nobody is believed.
func TestKeysOutliveTheirIssuer(t *testing.T) {
	p := &idProvider{}
	key := newEd(t)
	p.publish(jwk("a", key))
	inBubble(t, p, func(k *KeySet, log *logText) {
		failures := 0
		for _, bad := range []struct {
			body string
			err  error
		}{
			{"", errors.New("connection refused")},
			{"<html>maintenance</html>", nil},
			{`{"keys":[]}`, nil},
			{`{"keys":[{"kty":"oct","k":"AA"}]}`, nil},
			{"", nil},
		} {
			p.answer(bad.body, bad.err)
			for range 60 {
				time.Sleep(12 * time.Second)
				if outcomeOfFind(k, "a") != "accepted" {
					failures++
				}
			}
		}
		assert.Zero(t, failures)
		assert.Contains(t, log.String(), "connection refused")
		assert.NotContains(t, log.String(), "level=ERROR")
		time.Sleep(15 * time.Minute)
		assert.Contains(t, log.String(), "level=ERROR")
		lines := strings.Count(log.String(), "\n")
		time.Sleep(time.Hour)
		assert.Less(t, strings.Count(log.String(), "\n")-lines, 15, "lines of an hour")

		time.Sleep(21 * time.Hour)
		assert.Equal(t, "accepted", outcomeOfFind(k, "a"))
		time.Sleep(3 * time.Hour)
		assert.Equal(t, "unavailable", outcomeOfFind(k, "a"))
		p.publish(jwk("a", key))
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "accepted", outcomeOfFind(k, "a"))
	})
}

// Ten thousand random key ids in ten seconds are one fetch, which came before
// them, and no request waits for it.
func TestUnknownKeysAreOneFetch(t *testing.T) {
	p := &idProvider{takes: 20 * time.Millisecond}
	p.publish(jwk("a", newEd(t)))
	inBubble(t, p, func(k *KeySet, _ *logText) {
		time.Sleep(time.Minute) // the gate is open
		require.EqualValues(t, 1, p.fetches.Load())
		waited := 0
		for i := range 10000 {
			began := time.Now()
			require.Equal(t, "signer", outcomeOfFind(k, fmt.Sprint("random", i)))
			if time.Since(began) > time.Millisecond {
				waited++
			}
			time.Sleep(time.Millisecond)
		}
		assert.EqualValues(t, 2, p.fetches.Load())
		assert.LessOrEqual(t, waited, 1, "the first one asked")
		k.remote.mu.Lock()
		defer k.remote.mu.Unlock()
		assert.LessOrEqual(t, len(k.remote.unknown), maxUnknown)
	})
}

// A key that was just published is accepted within a second, and fetched once
// however many ask for it; one that was withdrawn is refused at the next refresh.
func TestKeysRotate(t *testing.T) {
	p := &idProvider{takes: 300 * time.Millisecond}
	one, two := newEd(t), newEd(t)
	p.publish(jwk("one", one))
	inBubble(t, p, func(k *KeySet, _ *logText) {
		time.Sleep(time.Minute)
		p.publish(jwk("one", one), jwk("two", two))
		began := time.Now()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() { assert.Equal(t, "accepted", outcomeOfFind(k, "two")) })
		}
		wait.Wait()
		assert.LessOrEqual(t, time.Since(began), time.Second)
		assert.EqualValues(t, 2, p.fetches.Load())

		p.publish(jwk("two", two))
		assert.Equal(t, "accepted", outcomeOfFind(k, "one"), "nobody knows yet")
		time.Sleep(11 * time.Minute)
		assert.Equal(t, "signer", outcomeOfFind(k, "one"))
		assert.Equal(t, "accepted", outcomeOfFind(k, "two"))
	})
}

// A reload is enough to make a withdrawn key stop, and many of them are one fetch a second.
func TestWantedFetch(t *testing.T) {
	p := &idProvider{}
	key := newEd(t)
	p.publish(jwk("a", key))
	inBubble(t, p, func(k *KeySet, _ *logText) {
		p.publish(jwk("b", key))
		for range 10 {
			k.remote.want()
			synctest.Wait()
		}
		assert.EqualValues(t, 1, p.fetches.Load(), "not twice in a second")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, p.fetches.Load())
		assert.Equal(t, "signer", outcomeOfFind(k, "a"))
		assert.Equal(t, "accepted", outcomeOfFind(k, "b"))
	})
}

// Nobody waits long for an IdP that does not answer, and only so many wait at all.
func TestSlowIssuer(t *testing.T) {
	p := &idProvider{takes: time.Hour}
	inBubble(t, p, func(k *KeySet, _ *logText) {
		var wait sync.WaitGroup
		var waited atomic.Int32
		for i := range 200 {
			wait.Go(func() {
				began := time.Now()
				assert.Equal(t, "unavailable", outcomeOfFind(k, fmt.Sprint(i)))
				if d := time.Since(began); d > 0 {
					assert.Equal(t, keyWait, d)
					waited.Add(1)
				}
			})
		}
		wait.Wait()
		assert.EqualValues(t, maxWaiting, waited.Load())
		assert.EqualValues(t, 1, p.fetches.Load())
	})
}

// After a failure the next unknown key may ask again soon, and the schedule does.
func TestFailedFetchIsTriedAgain(t *testing.T) {
	p := &idProvider{}
	p.answer("", errors.New("down"))
	inBubble(t, p, func(k *KeySet, _ *logText) {
		assert.Equal(t, "unavailable", outcomeOfFind(k, "a"))
		p.publish(jwk("a", newEd(t)))
		time.Sleep(6 * time.Second)
		assert.Equal(t, "accepted", outcomeOfFind(k, "a"))
		assert.EqualValues(t, 2, p.fetches.Load())
		time.Sleep(24 * time.Hour)
		assert.InDelta(t, 24*6, p.fetches.Load(), 16, "each ten minutes, give or take")
	})
}

// Key ids that a fetch did not bring are not asked for again so soon.
func TestUnknownKeysAreRemembered(t *testing.T) {
	p := &idProvider{}
	p.publish(jwk("a", newEd(t)))
	inBubble(t, p, func(k *KeySet, _ *logText) {
		time.Sleep(31 * time.Second)
		assert.Equal(t, "signer", outcomeOfFind(k, "x"))
		assert.EqualValues(t, 2, p.fetches.Load())
		time.Sleep(31 * time.Second)
		assert.Equal(t, "signer", outcomeOfFind(k, "x"))
		assert.EqualValues(t, 2, p.fetches.Load())
		assert.Equal(t, "signer", outcomeOfFind(k, "y"))
		assert.EqualValues(t, 3, p.fetches.Load())
	})
}

// website is an issuer over real HTTP.
type website struct {
	*httptest.Server
	pages map[string]http.HandlerFunc
}

func newWebsite(t *testing.T, start func(*httptest.Server)) *website {
	t.Helper()
	w := &website{pages: map[string]http.HandlerFunc{}}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if page := w.pages[r.URL.Path]; page != nil {
			page(rw, r)
			return
		}
		http.NotFound(rw, r)
	}))
	w.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	start(w.Server)
	t.Cleanup(w.Close)
	return w
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func movedTo(where string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, where, http.StatusFound) }
}

func TestFetch(t *testing.T) {
	evil := newWebsite(t, (*httptest.Server).Start)
	evil.pages["/jwks"] = says("evil")
	site := newWebsite(t, (*httptest.Server).Start)
	f := func(src Source, want string) {
		t.Helper()
		x, err := newFetcher(src)
		require.NoError(t, err)
		body, err := x.fetch(t.Context())
		if err != nil {
			assert.ErrorContains(t, err, want)
			return
		}
		assert.Equal(t, want, string(body))
	}
	from := func(path string) Source { return Source{Issuer: site.URL, URL: site.URL + path} }
	site.pages["/jwks"] = says("keys")
	f(from("/jwks"), "keys")
	f(from("/nothing"), "answered 404")
	site.pages["/moved"] = movedTo("/jwks")
	f(from("/moved"), "keys")
	site.pages["/round"] = movedTo("/round")
	f(from("/round"), "redirects too often")
	site.pages["/away"] = movedTo(evil.URL + "/jwks")
	f(from("/away"), "redirects to another host")
	site.pages["/down"] = movedTo("https://" + strings.TrimPrefix(site.URL, "http://") + "/jwks")
	f(from("/down"), "redirects to another host")
	site.pages["/huge"] = says(strings.Repeat("x", maxSetBytes+1))
	f(from("/huge"), "bigger than 65536 bytes")
	site.pages["/just"] = says(strings.Repeat("x", maxSetBytes))
	f(from("/just"), strings.Repeat("x", maxSetBytes))
	site.pages["/cut"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	}
	f(from("/cut"), "unexpected EOF")

	// Discovery.
	discover := func(issuer, document, want string) {
		t.Helper()
		site.pages["/tenant"+discovery] = says(document)
		site.pages[discovery] = says(document)
		f(Source{Issuer: issuer}, want)
	}
	document := func(issuer, keys string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, keys) }
	discover(site.URL, document(site.URL, site.URL+"/jwks"), "keys")
	discover(site.URL+"/", document(site.URL+"/", site.URL+"/jwks"), "keys")
	discover(site.URL+"/tenant", document(site.URL+"/tenant", site.URL+"/jwks"), "keys")
	discover(site.URL, document(evil.URL, site.URL+"/jwks"), "another issuer's")
	discover(site.URL, `{"issuer":"x","issuer":"`+site.URL+`"}`, "stands twice")
	discover(site.URL, document(site.URL, "file:///etc/passwd"), "no https URL")
	discover(site.URL, document(site.URL, ""), "no https URL")
	discover(site.URL, `{"issuer":"`+site.URL+`"}`, "no https URL")
	discover(site.URL, "<html>", "not one JSON object")
}

// An authority of the operator's own is trusted for its issuer, no other is.
func TestFetchOverTLS(t *testing.T) {
	site := newWebsite(t, (*httptest.Server).StartTLS)
	site.pages["/jwks"] = says("keys")
	site.pages[discovery] = says(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, site.URL, strings.Replace(site.URL, "https:", "http:", 1)+"/jwks"))
	src := Source{Issuer: site.URL, URL: site.URL + "/jwks"}
	f, err := newFetcher(src)
	require.NoError(t, err)
	_, err = f.fetch(t.Context())
	assert.ErrorContains(t, err, "certificate")
	src.CA = string(pemOf(site.Certificate()))
	f, err = newFetcher(src)
	require.NoError(t, err)
	body, err := f.fetch(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "keys", string(body))

	src.URL = ""
	f, err = newFetcher(src)
	require.NoError(t, err)
	_, err = f.fetch(t.Context())
	assert.ErrorContains(t, err, "no https URL", "an issuer behind TLS must not send us to keys in the clear")

	src.CA = "nonsense"
	_, err = newFetcher(src)
	assert.ErrorContains(t, err, "no certificate")
}

// The sets of a reload that stay are the same ones, and what left is no longer fetched.
func TestKeySetsOutliveReloads(t *testing.T) {
	site := newWebsite(t, (*httptest.Server).Start)
	key := newEd(t)
	site.pages["/jwks"] = says(jwks(jwk("a", key)))
	s := NewKeySets(slog.New(slog.DiscardHandler))
	defer s.Close()
	adopt := func(path string) *KeySet {
		k, err := s.Adopt(Source{Issuer: idp, URL: site.URL + path})
		require.NoError(t, err)
		return k
	}
	k := adopt("/jwks")
	assert.Same(t, k, adopt("/jwks"))
	tokens := testTokens(t, testIssuer(k))
	assert.Equal(t, "acme", outcomeOf(tokens, sign(key, edHead, good("exp", time.Now().Add(time.Hour).Unix(), "iat", nil)), time.Now()))
	other := adopt("/other")
	assert.NotSame(t, k, other)
	s.Retain(k)
	<-other.remote.ended
	assert.Same(t, k, adopt("/jwks"))
	assert.Len(t, s.Figures(), 1)
	assert.Equal(t, 1, s.Figures()[idp].Keys)
	assert.EqualValues(t, 1, s.Figures()[idp].Fetched)
	s.Refresh()
	_, err := s.Adopt(Source{Issuer: idp, CA: "nonsense"})
	assert.ErrorContains(t, err, "cannot fetch the keys of "+idp)
}
