package admin

// Who may ask: the token, and what a browser says about who makes it ask.

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/helixflow/helixflow/internal/secret"
)

// minTokenBytes makes 192 random bits or more, as hex, base64 or a key of ours.
const minTokenBytes = 32

// guard knows the token's digest, so that a comparison tells nothing of its
// length. The zero guard lets everybody in.
type guard struct{ digest *[sha256.Size]byte }

// newGuard refuses a token that could be guessed, or that no header can carry.
// The token is not part of its errors.
func newGuard(token secret.Text) (*guard, error) {
	if token.Empty() {
		return &guard{}, nil
	}
	text := token.Reveal()
	if len(text) < minTokenBytes {
		return nil, fmt.Errorf("cannot use the admin token: it has %d characters and needs %d; openssl rand -hex 32 makes one", len(text), minTokenBytes)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("cannot use the admin token: it may hold visible ASCII characters only, no spaces")
	}
	digest := sha256.Sum256([]byte(text))
	return &guard{&digest}, nil
}

func (g *guard) enabled() bool { return g.digest != nil }

// allows compares in constant time. A browser repeats Basic credentials for
// whatever makes it ask, so they let in only what reads.
func (g *guard) allows(r *http.Request) bool {
	if !g.enabled() {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		token = strings.Trim(token, " ")
	case strings.EqualFold(scheme, "Basic") && isRead(r.Method):
		_, token, _ = r.BasicAuth()
	default:
		return false
	}
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1
}

// challenge makes a browser ask its user for the token, where that would help.
func challenge(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("WWW-Authenticate", `Bearer realm="helixflow"`)
	if isRead(r.Method) {
		w.Header().Add("WWW-Authenticate", `Basic realm="helixflow", charset="UTF-8"`)
	}
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// ambiguous names a header that decides about access and stands there twice:
// whoever is in front may have looked at the other one.
func ambiguous(h http.Header) string {
	for _, name := range [...]string{"Authorization", "Origin", "Sec-Fetch-Site"} {
		if len(h[name]) > 1 {
			return name
		}
	}
	return ""
}

// fromAnotherSite reports whether a browser asks on behalf of a page that did
// not come from here. Other programs send neither header. Sec-Fetch-Site is
// missing off loopback without TLS, and then an Origin is what is left
// (https://www.w3.org/TR/fetch-metadata/).
func fromAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}
