//go:build integration

// What one script owns, and the small tools of its commands.

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// patience is how long a command waits for what should come at once: long, since
// waiting costs nothing where it comes, and machines are busy.
const patience = 20 * time.Second

type worldKey struct{}

// world is one script's processes, backends and requests. Not safe for
// concurrent use; a script's commands run one after the other.
type world struct {
	*bench

	t       testing.TB
	vars    map[string]string // given to routers as their environment
	routers map[string]*process
	fakes   map[string]*fakellm.Server
	pending map[string]*pending
	sockets map[string]*socket
	tls     *tls.Config // of servers; nil before cert
	roots   *x509.CertPool

	idps        map[string]*idp
	authorities map[string]*tls.Certificate
	clients     map[string]*tls.Certificate
	shown       *tls.Certificate // the client's, to whom it connects over TLS; nil for none
	secrets     []string         // besides keys, what no router may print
}

func newWorld(b *bench, t testing.TB) *world {
	return &world{
		bench: b, t: t, vars: map[string]string{},
		routers: map[string]*process{}, fakes: map[string]*fakellm.Server{}, pending: map[string]*pending{},
		idps: map[string]*idp{}, authorities: map[string]*tls.Certificate{}, clients: map[string]*tls.Certificate{},
		sockets: map[string]*socket{},
	}
}

func (w *world) close() {
	for _, p := range w.pending {
		p.client.close()
		<-p.done
	}
	for _, s := range w.sockets {
		_ = s.CloseNow()
	}
	for name, p := range w.routers {
		p.kill()
		w.inspect(name, p)
	}
	for _, f := range w.fakes {
		f.Close()
	}
	for _, p := range w.idps {
		_ = p.server.Close()
	}
}

// inspect fails the test for what no router may ever print.
func (w *world) inspect(name string, p *process) {
	said := p.stdout.String() + p.stderr.String()
	for _, word := range []string{"panic:", "goroutine 1 [", "BUG: ", "DATA RACE"} {
		if strings.Contains(said, word) {
			w.t.Errorf("router %s printed %q:\n%s", name, word, said)
		}
	}
	for _, key := range append(w.secrets, w.vars["KEY"], w.vars["KEY2"]) {
		if strings.Contains(said, key) {
			w.t.Errorf("router %s printed a key:\n%s", name, said)
		}
	}
	if w.t.Failed() {
		w.t.Logf("router %s on stderr:\n%s", name, p.stderr.String())
	}
}

// on makes a testscript command of a method of world.
func on(f func(w *world, ts *testscript.TestScript, neg bool, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		f(ts.Value(worldKey{}).(*world), ts, neg, args)
	}
}

// set makes a variable of the script and of routers to come.
func (w *world) set(ts *testscript.TestScript, name, value string) {
	ts.Setenv(name, value)
	w.vars[name] = value
}

// flags reads a command's flags and wants n arguments behind them, or at least
// n when more is allowed.
func flags(ts *testscript.TestScript, args []string, n int, more bool, declare func(f *flag.FlagSet)) []string {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	if declare != nil {
		declare(f)
	}
	ts.Check(f.Parse(args))
	if f.NArg() < n || f.NArg() > n && !more {
		ts.Fatalf("want %d arguments, have %q", n, f.Args())
	}
	return f.Args()
}

// sub splits off a command's verb.
func sub(ts *testscript.TestScript, args []string) (verb string, rest []string) {
	if len(args) == 0 {
		ts.Fatalf("a verb is missing")
	}
	return args[0], args[1:]
}

func get[T any](ts *testscript.TestScript, m map[string]T, name string) T {
	v, ok := m[name]
	if !ok {
		ts.Fatalf("there is no %q", name)
	}
	return v
}

// eventually polls a condition that another process brings about.
func eventually(limit time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ok()
		}
	}
	return true
}

// cert makes a certificate for 127.0.0.1, for routers and fakes alike.
func (w *world) cert(ts *testscript.TestScript, _ bool, args []string) {
	flags(ts, args, 0, false, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	ts.Check(os.WriteFile(ts.MkAbs("tls.crt"), certPEM, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("tls.key"), keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	ts.Check(err)
	w.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(certPEM)
}
