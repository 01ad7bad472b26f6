package backends

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	f := func(rawURL, want, wantHostPort, wantHostHeader string) {
		t.Helper()
		a, err := ParseAddress(rawURL)
		require.NoError(t, err, rawURL)
		assert.Equal(t, want, a.Scheme+" "+a.Host+" "+a.Port+" "+a.Path, rawURL)
		assert.Equal(t, wantHostPort, a.HostPort(), rawURL)
		assert.Equal(t, wantHostHeader, a.HostHeader(), rawURL)
	}
	f("http://h", "http h 80 ", "h:80", "h")
	f("http://h/", "http h 80 ", "h:80", "h")
	f("HTTPS://API.Example.com/V1/", "https api.example.com 443 /V1", "api.example.com:443", "api.example.com")
	f("http://h:443", "http h 443 ", "h:443", "h:443")
	f("https://h:443", "https h 443 ", "h:443", "h")
	f("https://h:80/a/b", "https h 80 /a/b", "h:80", "h:80")
	f("http://h:08000", "http h 8000 ", "h:8000", "h:8000")
	f("http://h:65535", "http h 65535 ", "h:65535", "h:65535")
	f("http://vllm_0.gpu-a:8000", "http vllm_0.gpu-a 8000 ", "vllm_0.gpu-a:8000", "vllm_0.gpu-a:8000")
	f("http://api.example.com.:81", "http api.example.com. 81 ", "api.example.com.:81", "api.example.com:81")
	f("http://10.0.0.11:8000", "http 10.0.0.11 8000 ", "10.0.0.11:8000", "10.0.0.11:8000")
	f("http://[::1]", "http ::1 80 ", "[::1]:80", "[::1]")
	f("http://[2001:DB8:0::1]:8000/v1", "http 2001:db8::1 8000 /v1", "[2001:db8::1]:8000", "[2001:db8::1]:8000")
	f("http://[fe80::1%25eth0]:8000", "http fe80::1%eth0 8000 ", "[fe80::1%eth0]:8000", "[fe80::1]:8000")
	f("http://[::ffff:10.0.0.1]:8000", "http 10.0.0.1 8000 ", "10.0.0.1:8000", "10.0.0.1:8000")
	f("https://h/openai/deployments/gpt-4o%2Fx", "https h 443 /openai/deployments/gpt-4o%2Fx", "h:443", "h")
}

func TestParseAddressRefuses(t *testing.T) {
	f := func(rawURL, want string) {
		t.Helper()
		_, err := ParseAddress(rawURL)
		require.Error(t, err, rawURL)
		assert.Contains(t, err.Error(), want, rawURL)
		assert.NotContains(t, err.Error(), "sesame", rawURL)
	}
	for _, rawURL := range []string{"", "h", "//h", "h:8000", "ftp://h", "sim:gpu", "http:h", "http:/h", " http://h", "unix:///x"} {
		f(rawURL, "must begin with http:// or https://")
	}
	for _, rawURL := range []string{"http://", "http:///x", "http://:80", "http://."} {
		f(rawURL, "host is missing")
	}
	for _, rawURL := range []string{
		"http://u:sesame@h", "http://u:se/same@h", "http://u:sesame@", "u:sesame@h", "http://sesame@h/?x#y",
		"http://sesame\x00@h", "sesame://x@h@", "sesame.x://x@h",
	} {
		f(strings.Replace(rawURL, "sesame://", "sesame:", 1), "credentials do not belong in it")
	}
	f("http://h?key=sesame", "query")
	f("http://h/#sesame", "fragment")
	f("http://h/?", "query")
	for _, port := range []string{"", "0", "65536", "-1", "+80", "0x50", "8e1", " 80", "80 ", "000080", "http", "99999999999999999999"} {
		f("http://h:"+port, "is not a number from 1 to 65535")
		f("http://[::1]:"+port, "is not a number from 1 to 65535")
	}
	f("http://::1:8000", "stands in brackets")
	f("http://h:80:81", "stands in brackets")
	f("http://[::1", `"]" is missing`)
	f("http://[::1]x:80", "not a port")
	for _, literal := range []string{"", "127.0.0.1", "h", "::1%eth0", "::1%25", "::1%25a/b", ":::", "[::1]"} {
		_, err := ParseAddress("http://[" + literal + "]")
		require.Error(t, err, literal)
	}
	for _, host := range []string{"a b", "a..b", ".a", "a..", "-a", "a-.b", "h\\x", "%31", "ü.de", "a\r\nb", "*.a", "a,b", strings.Repeat("a", 64)} {
		f("http://"+host, "is not a host name")
	}
	f("http://"+strings.Repeat("a.", 127)+"b", "253")
	for _, host := range []string{"127.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.01", "127.0.0.1.", "1.2.3.4.5", "256.1.1.1", "0x", "a.1"} {
		f("http://"+host, "is neither a host name nor an IPv4 address")
	}
	for _, path := range []string{"/a b", "/a\\b", "/\x00", "/%", "/%2", "/%zz", "/ü", "/a\nb", "/{x}"} {
		f("http://h"+path, "of the path must be percent-encoded")
	}
	f("http://h//", "empty segment")
	f("http://h/a//b", "empty segment")
	f("http://h/a/../b", "dot segment")
	f("http://h/a/%2E.", "dot segment")
	f("http://h/./", "dot segment")
}

func TestJoinPath(t *testing.T) {
	f := func(base, path, want string) {
		t.Helper()
		a, err := ParseAddress("http://h" + base)
		require.NoError(t, err)
		assert.Equal(t, want, a.JoinPath(path))
	}
	f("", "/v1/models", "/v1/models")
	f("/", "/v1/models", "/v1/models")
	f("/v1", "/v1/models", "/v1/models")
	f("/v1/", "/v1/models?a=b", "/v1/models?a=b")
	f("/api/v1", "/v1/chat/completions", "/api/v1/chat/completions")
	f("/api", "/v1/x", "/api/v1/x")
	f("/api/v1", "/health", "/api/v1/health")
	f("/v1", "/v1", "/v1")
	f("/v1", "/v1?x", "/v1?x")
	f("/v1", "/v1beta/x", "/v1/v1beta/x")
	f("/v2", "/v1/x", "/v2/v1/x")

	bare := Address{Scheme: "http", Host: "h", Port: "80"}
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = bare.JoinPath("/v1/chat/completions") }))
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"http://h:80/v1", "https://[::1%25eth0]:1/", "http://u:p@h", "http://127.0.0.1", "http://h/%2e%2e", "http://h."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rawURL string) {
		a, err := ParseAddress(rawURL)
		if err != nil {
			return
		}
		// One spelling: what is printed reads as the same place, but for what
		// stays off the wire.
		again, err := ParseAddress(a.String())
		require.NoError(t, err, a.String())
		a.Host = wireHost(a.Host)
		require.Equal(t, a, again)
		require.NotContains(t, a.JoinPath("/v1/x"), "//")
		require.False(t, strings.ContainsAny(a.HostHeader()+a.Path, "\r\n\x00 @\\"), a)
	})
}
