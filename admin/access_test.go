package admin_test

// Who may ask what: every path with every method, token, host and origin.

import (
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/internal/secret"
)

// access is what is true of one path; a path without a row fails.
var access = map[string]struct {
	change bool   // by POST alone, and then not for other sites
	open   bool   // without a token
	own    bool   // not for other sites although it only reads
	query  string // with which it is asked here
	plain  bool   // the answer is no JSON
	both   bool   // reads, by POST too
}{
	"/":                         {plain: true},
	"/healthz":                  {open: true},
	"/readyz":                   {open: true},
	"/metrics":                  {plain: true},
	"/-/":                       {},
	"/-/status":                 {},
	"/-/limits":                 {},
	"/-/cache":                  {},
	"/-/cache/purge":            {change: true, query: "?all=true"},
	"/-/config":                 {},
	"/-/backends":               {},
	"/-/backends/drain":         {change: true, query: "?url=http://b"},
	"/-/backends/undrain":       {change: true, query: "?url=http://b"},
	"/-/explain":                {own: true, both: true, query: "?model=m"},
	"/-/reload":                 {change: true},
	"/-/drain":                  {change: true},
	"/-/page.css":               {plain: true},
	"/-/page.js":                {plain: true},
	"/-/icon.svg":               {plain: true},
	"/debug/pprof/":             {own: true},
	"/debug/pprof/allocs":       {own: true, plain: true},
	"/debug/pprof/block":        {own: true, plain: true},
	"/debug/pprof/goroutine":    {own: true, plain: true},
	"/debug/pprof/heap":         {own: true, plain: true},
	"/debug/pprof/mutex":        {own: true, plain: true},
	"/debug/pprof/threadcreate": {own: true, plain: true},
	"/debug/pprof/profile":      {own: true, query: "?seconds=none"},
	"/debug/pprof/trace":        {own: true, query: "?seconds=none"},
}

func TestEveryPathHasARow(t *testing.T) {
	s, err := admin.New("127.0.0.1:0", newWorld().deps())
	require.NoError(t, err)
	for _, path := range s.Paths() {
		assert.Contains(t, access, path)
	}
	assert.Len(t, access, len(s.Paths()))
}

// offLoopback is a listener that claims to be reachable from elsewhere.
type offLoopback struct{ net.Listener }

func (offLoopback) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9090} }

// startOff serves as if off loopback and returns the address to dial.
func startOff(t *testing.T, d admin.Deps) string {
	s, err := admin.New(":9090", d)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, s, offLoopback{l})
	return l.Addr().String()
}

func basic(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+password))
}

func TestAccess(t *testing.T) {
	w := newWorld()
	w.backends = []admin.Backend{{Pool: "p", URL: "http://b"}}
	servers := []struct {
		addr        string
		token, host bool // are checked
	}{
		{start(t, "127.0.0.1:0", w.deps()), false, true},
		{start(t, "127.0.0.1:0", w.depsWithToken()), true, true},
		{startOff(t, w.depsWithToken()), true, false},
	}
	credentials := []struct {
		header       string
		reads, write bool
	}{
		{"", false, false},
		{"Bearer " + token, true, true},
		{"bearer  " + token + " ", true, true},
		{basic(token), true, false},
		{basic(token + "x"), false, false},
		{"Bearer " + token[1:], false, false},
		{"Bearer " + token + token, false, false},
		{"Bearer", false, false},
		{"Basic " + token, false, false},
		{token, false, false},
	}
	for _, s := range servers {
		for path, row := range access {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"} {
				for _, c := range credentials {
					reads := method == "GET" || method == "HEAD"
					want := 200
					switch {
					case s.token && !row.open && !(c.reads && reads || c.write):
						want = 401
					case row.both && method == "POST":
					case row.change != (method == "POST") || !row.change && !reads:
						want = 405
					case row.query == "?seconds=none":
						want = 400
					case path == "/-/drain":
						want = 202
					}
					headers := []string{"Host: localhost"}
					if c.header != "" {
						headers = append(headers, "Authorization: "+c.header)
					}
					resp, body := ask(t, s.addr, method, path+row.query, headers...)
					require.Equal(t, want, resp.StatusCode, "%s %s with %q on %s: %s", method, path, c.header, s.addr, body)
					if !row.plain || want >= 400 {
						require.Equal(t, "application/json", resp.Header.Get("Content-Type"), path)
					}
					switch want {
					case 401:
						assert.Equal(t, reads, len(resp.Header.Values("WWW-Authenticate")) == 2)
						assert.Empty(t, w.took())
					case 405:
						assert.NotEmpty(t, resp.Header.Get("Allow"))
						assert.Empty(t, w.took())
					case 200, 202:
						assert.Equal(t, row.change, len(w.took()) == 1, path)
					}
				}
			}
			want := 200
			if s.host {
				want = 421
			} else if !row.open {
				want = 401
			}
			resp, body := ask(t, s.addr, "GET", path, "Host: rebound.example")
			require.Equal(t, want, resp.StatusCode, "%s %s", path, body)
		}
		want := 404
		if s.token { // what there is, is nobody's business
			want = 401
		}
		resp, body := ask(t, s.addr, "GET", "/nothing", "Host: localhost")
		assertRefusal(t, want, resp, body)
		resp, body = ask(t, s.addr, "GET", "/nothing", "Host: localhost", "Authorization: Bearer "+token)
		assertRefusal(t, 404, resp, body)
	}
}

func TestOtherSites(t *testing.T) {
	w := newWorld()
	w.backends = []admin.Backend{{Pool: "p", URL: "http://b"}}
	addr := start(t, "127.0.0.1:0", w.depsWithToken())
	f := func(foreign bool, headers ...string) {
		t.Helper()
		headers = append(headers, "Authorization: Bearer "+token)
		for path, row := range access {
			method := "GET"
			if row.change {
				method = "POST"
			}
			resp, body := ask(t, addr, method, path+row.query, headers...)
			if foreign && (row.change || row.own) {
				assertRefusal(t, 403, resp, body)
				assert.Empty(t, w.took(), path)
				continue
			}
			assert.NotEqual(t, 403, resp.StatusCode, path)
			assert.Equal(t, row.change, len(w.took()) == 1, path)
			assert.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
			assert.Equal(t, "same-origin", resp.Header.Get("Cross-Origin-Resource-Policy"))
			assert.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"))
		}
	}
	f(false)
	f(false, "Sec-Fetch-Site: same-origin")
	f(false, "Sec-Fetch-Site: none")
	f(false, "Origin: http://"+addr)
	f(true, "Sec-Fetch-Site: cross-site")
	f(true, "Sec-Fetch-Site: same-site")
	f(true, "Sec-Fetch-Site: future-word")
	f(true, "Sec-Fetch-Site: cross-site", "Origin: http://"+addr)
	f(true, "Origin: http://evil.example")
	f(true, "Origin: http://localhost:1")
	f(true, "Origin: null")
	f(true, "Origin: %")

	for _, twice := range []string{"Authorization: Bearer " + token, "Origin: http://" + addr, "Sec-Fetch-Site: same-origin"} {
		resp, body := ask(t, addr, "POST", "/-/drain", twice, twice, "Authorization: Bearer "+token)
		assertRefusal(t, 400, resp, body)
	}
	assert.Empty(t, w.took())
}

func TestTokens(t *testing.T) {
	f := func(listen, token, want string) {
		t.Helper()
		d := newWorld().deps()
		d.Token = secret.New(token)
		_, err := admin.New(listen, d)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, want)
		if token != "" {
			assert.NotContains(t, err.Error(), token)
		}
	}
	f("0.0.0.0:9090", token, "")
	f(":9090", token, "")
	f("10.0.0.1:9090", token, "")
	f("127.0.0.1:9090", "", "")
	f("0.0.0.0:9090", "", "it is not a loopback address")
	f("127.0.0.1:9090", token[1:], "it has 31 characters and needs 32")
	f("127.0.0.1:9090", strings.Repeat("a b", 20), "no spaces")
	f("127.0.0.1:9090", strings.Repeat("ä", 20), "visible ASCII")
	f("127.0.0.1:9090", token+"\r\n", "visible ASCII")
}

// TestSetToken: a reload may change the token, never leave the door open.
func TestSetToken(t *testing.T) {
	other := strings.Repeat("z", 32)
	run := func(listen string, off bool) (*admin.Server, string) {
		s, err := admin.New(listen, newWorld().depsWithToken())
		require.NoError(t, err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := l.Addr().String()
		if off {
			l = offLoopback{l}
		}
		serve(t, s, l)
		return s, addr
	}
	f := func(addr, token string, status int) {
		t.Helper()
		resp, _ := ask(t, addr, "GET", "/-/", "Authorization: Bearer "+token)
		assert.Equal(t, status, resp.StatusCode)
	}
	for _, off := range []bool{false, true} {
		s, addr := run("127.0.0.1:0", off)
		f(addr, token, 200)
		require.NoError(t, s.SetToken(secret.New(other)))
		f(addr, token, 401)
		f(addr, other, 200)
		require.ErrorContains(t, s.SetToken(secret.New("short")), "it has 5 characters")
		f(addr, other, 200)
		if err := s.SetToken(secret.Text{}); off {
			require.ErrorContains(t, err, "it is not a loopback address")
			f(addr, "", 401)
		} else {
			require.NoError(t, err)
			f(addr, "", 200)
		}
	}
}

func TestBodies(t *testing.T) {
	w := newWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	f := func(raw string, status int) {
		t.Helper()
		resp, body := exchange(t, addr, strings.ReplaceAll(raw, "HTTP/1.1\r\n", "HTTP/1.1\r\nHost: localhost\r\n"))
		if status < 300 {
			assert.Equal(t, status, resp.StatusCode)
			return
		}
		assertRefusal(t, status, resp, body)
		assert.Empty(t, w.took())
	}
	huge := strings.Repeat("x", 8<<10)
	f("POST /-/drain HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", http.StatusAccepted)
	w.took()
	f("POST /-/drain HTTP/1.1\r\nContent-Length: 8192\r\n\r\n"+huge, 413)
	f("POST /-/drain HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"+huge, 413)
	f("POST /-/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n"+huge+"\r\n0\r\n\r\n", 413)
	f("POST /-/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)
	f("GET /healthz HTTP/1.1\r\nContent-Length: 8192\r\n\r\n"+huge, 413)
}
