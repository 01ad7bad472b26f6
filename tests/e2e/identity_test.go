//go:build integration

// The idp, token, authority and client commands.

package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/outside"
)

// idp is an issuer of tokens: a discovery document and a key set over HTTP.
type idp struct {
	url      string
	server   *http.Server
	listener *net.TCPListener

	mu        sync.Mutex // guards the fields below
	keys      map[string]crypto.Signer
	published []string
	answers   string // html, empty or 500; "" is the key set
	fetches   int
}

func (w *world) idp(ts *testscript.TestScript, _ bool, args []string) {
	verb, args := sub(ts, args)
	if verb == "start" {
		w.startIDP(ts, args)
		return
	}
	args = flags(ts, args, 1, true, nil)
	p := get(ts, w.idps, args[0])
	p.mu.Lock()
	defer p.mu.Unlock()
	switch args = args[1:]; verb {
	case "publish":
		p.published = args
		for _, kid := range args {
			ts.Check(p.makeKey(kid))
		}
	case "answers":
		p.answers = strings.Join(args, "")
	case "expect":
		if strconv.Itoa(p.fetches) != args[0] {
			ts.Fatalf("the key set was fetched %d times, want %s", p.fetches, args[0])
		}
	case "stop":
		outside.Stop(p.listener)
		_ = p.server.Close()
	default:
		ts.Fatalf("unknown verb %s", verb)
	}
}

func (w *world) startIDP(ts *testscript.TestScript, args []string) {
	overTLS, at := false, ""
	name := flags(ts, args, 1, false, func(f *flag.FlagSet) {
		f.BoolVar(&overTLS, "tls", false, "")
		f.StringVar(&at, "at", at, "")
	})[0]
	var l net.Listener
	var err error
	if at == "" {
		l, err = outside.Listen()
	} else {
		l, err = net.Listen("tcp", at)
	}
	ts.Check(err)
	p := w.idps[name]
	if p == nil {
		p = &idp{url: "http://" + l.Addr().String(), keys: map[string]crypto.Signer{}, published: []string{"one"}}
		ts.Check(p.makeKey("one"))
		w.idps[name] = p
	}
	p.listener = l.(*net.TCPListener)
	if overTLS {
		p.url = "https://" + l.Addr().String()
		l = tls.NewListener(l, w.tls)
	}
	w.set(ts, name, p.url)
	w.set(ts, name+"_ADDR", l.Addr().String())
	p.server = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: patience}
	go func() { _ = p.server.Serve(l) }()
}

// makeKey makes the key of this id once: RSA for one, P-256 for all others.
func (p *idp) makeKey(kid string) (err error) {
	if p.keys[kid] != nil {
		return nil
	}
	if kid == "one" {
		p.keys[kid], err = rsa.GenerateKey(rand.Reader, 2048)
		return err
	}
	p.keys[kid], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return err
}

// ServeHTTP implements http.Handler.
func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var page any
	switch {
	case r.URL.Path == "/.well-known/openid-configuration":
		page = map[string]string{"issuer": p.url, "jwks_uri": p.url + "/keys"}
	case r.URL.Path != "/keys":
		http.NotFound(w, r)
		return
	case p.answers == "500":
		http.Error(w, "down", http.StatusInternalServerError)
		return
	case p.answers == "html":
		_, _ = w.Write([]byte("<html>maintenance</html>"))
		return
	default:
		p.fetches++
		page = map[string]any{"keys": p.set()}
	}
	_ = json.NewEncoder(w).Encode(page)
}

func (p *idp) set() []map[string]string {
	set := []map[string]string{}
	if p.answers == "empty" {
		return set
	}
	b64 := base64.RawURLEncoding.EncodeToString
	for _, kid := range p.published {
		switch k := p.keys[kid].Public().(type) {
		case *rsa.PublicKey:
			set = append(set, map[string]string{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())})
		case *ecdsa.PublicKey:
			point, err := k.Bytes()
			if err != nil {
				panic(err)
			}
			set = append(set, map[string]string{"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:])})
		}
	}
	return set
}

// token signs claims NAME=VALUE, where VALUE is JSON or a word; those of time are
// durations from now.
func (w *world) token(ts *testscript.TestScript, _ bool, args []string) {
	kid, typ := "one", ""
	args = flags(ts, args, 2, true, func(f *flag.FlagSet) {
		f.StringVar(&kid, "kid", kid, "")
		f.StringVar(&typ, "typ", "", "")
	})
	p := get(ts, w.idps, args[1])
	p.mu.Lock()
	defer p.mu.Unlock()
	ts.Check(p.makeKey(kid))
	now := time.Now()
	claims := jwt.MapClaims{"iss": p.url, "aud": "helixflow", "sub": "user-1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		if d, err := time.ParseDuration(value); err == nil {
			claims[name] = now.Add(d).Unix()
			continue
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		}
		claims[name] = v
	}
	method := jwt.SigningMethod(jwt.SigningMethodES256)
	if kid == "one" {
		method = jwt.SigningMethodRS256
	}
	t := jwt.NewWithClaims(method, claims)
	t.Header["kid"] = kid
	if typ != "" {
		t.Header["typ"] = typ
	}
	text, err := t.SignedString(p.keys[kid])
	ts.Check(err)
	w.secrets = append(w.secrets, text)
	w.set(ts, args[0], text)
}

// authority makes NAME.crt, whose client certificates the client command signs.
func (w *world) authority(ts *testscript.TestScript, _ bool, args []string) {
	name := flags(ts, args, 1, false, nil)[0]
	w.authorities[name] = issue(ts, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	ts.Check(os.WriteFile(ts.MkAbs(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.authorities[name].Certificate[0]}), 0o600))
}

// client makes a client certificate, which http -cert NAME shows.
func (w *world) client(ts *testscript.TestScript, _ bool, args []string) {
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	spiffe := ""
	args = flags(ts, args, 2, false, func(f *flag.FlagSet) {
		f.StringVar(&spiffe, "spiffe", "", "")
		f.StringVar(&template.Subject.CommonName, "cn", "", "")
	})
	if spiffe != "" {
		u, err := url.Parse(spiffe)
		ts.Check(err)
		template.URIs = []*url.URL{u}
	}
	w.clients[args[0]] = issue(ts, template, get(ts, w.authorities, args[1]))
}

func issue(ts *testscript.TestScript, template *x509.Certificate, by *tls.Certificate) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, crypto.PrivateKey(key)
	if by != nil {
		parent, err = x509.ParseCertificate(by.Certificate[0])
		ts.Check(err)
		signer = by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	ts.Check(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
