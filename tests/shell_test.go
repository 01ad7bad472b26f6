package tests

// As much of a shell and of curl as the documents use, so that running them
// needs nothing but Go. What is not known here fails the page that uses it.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// words splits a command line as a shell does: quotes, $NAME and ${NAME} outside
// single ones, a comment at the end.
func words(line string, env map[string]string) ([]string, error) {
	var list []string
	var word strings.Builder
	var quote byte
	begun := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && c == '#' && !begun:
			i = len(line)
		case quote == 0 && (c == ' ' || c == '\t'):
			if begun {
				list = append(list, word.String())
				word.Reset()
				begun = false
			}
		case quote == 0 && strings.IndexByte("|;&<>`()*?!", c) >= 0, c == '`', c == '\\':
			return nil, fmt.Errorf("cannot read %q: the documents' shell knows no %q", line, c)
		case c == '$' && quote != '\'':
			name, size := variable(line[i+1:])
			value, ok := env[name]
			if !ok {
				return nil, fmt.Errorf("cannot read %q: nobody set $%s", line, name)
			}
			word.WriteString(value)
			i, begun = i+size, true
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("cannot read %q: a quote is open", line)
	}
	if begun {
		list = append(list, word.String())
	}
	return list, nil
}

// variable is the name after a dollar sign, and how many bytes it takes.
func variable(s string) (name string, size int) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		name, _, _ = strings.Cut(inner, "}")
		return name, len(name) + 2
	}
	n := 0
	for n < len(s) && (s[n] == '_' || 'A' <= s[n] && s[n] <= 'Z' || '0' <= s[n] && s[n] <= '9') {
		n++
	}
	return s[:n], n
}

// curl's exit codes, and its own limit here.
const (
	curlUsage    = 2
	curlConnect  = 7
	curlPartial  = 18
	curlTimeout  = 28
	curlPatience = 10 * time.Second
)

// curlCall is one curl command line.
type curlCall struct {
	method, url, body, cacert string
	header                    http.Header
	include                   bool
	within                    time.Duration
}

func parseCurl(args []string) (*curlCall, error) {
	c := &curlCall{method: http.MethodGet, header: http.Header{"Accept": {"*/*"}}, within: curlPatience}
	for len(args) > 0 {
		flag := args[0]
		args = args[1:]
		if !strings.HasPrefix(flag, "-") {
			c.url = flag
			continue
		}
		if plain := strings.Trim(flag, "-sSNi"); plain == "" { // bundles of flags without a value
			c.include = c.include || strings.Contains(flag, "i")
			continue
		}
		if len(args) == 0 {
			return nil, fmt.Errorf("cannot read curl's %s: no value", flag)
		}
		value := args[0]
		args = args[1:]
		switch flag {
		case "-H":
			name, v, _ := strings.Cut(value, ":")
			c.header.Set(name, strings.TrimSpace(v))
		case "-d":
			c.method, c.body = http.MethodPost, value
			if c.header.Get("Content-Type") == "" {
				c.header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		case "-X":
			c.method = value
		case "--max-time":
			d, err := time.ParseDuration(value + "s")
			if err != nil {
				return nil, err
			}
			c.within = d
		case "--cacert":
			c.cacert = value
		default:
			return nil, fmt.Errorf("the documents' curl knows no %s", flag)
		}
	}
	return c, nil
}

// curl runs one command line in dir. status is 0 when no answer came.
func curl(ctx context.Context, dir string, args []string) (out string, status, exit int) {
	c, err := parseCurl(args)
	if err != nil {
		return err.Error(), 0, curlUsage
	}
	ctx, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if c.cacert != "" {
		pem, err := os.ReadFile(filepath.Join(dir, c.cacert))
		if err != nil {
			return err.Error(), 0, curlUsage
		}
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		return err.Error(), 0, curlUsage
	}
	req.Header = c.header
	resp, err := (&http.Client{Transport: transport}).Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "curl: (28) Operation timed out\n", 0, curlTimeout
	case err != nil:
		return fmt.Sprintf("curl: (7) %v\n", err), 0, curlConnect
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	if c.include {
		fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(resp.Header[name], ", "))
		}
		b.WriteByte('\n')
	}
	_, err = io.Copy(&b, resp.Body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		b.WriteString("\ncurl: (28) Operation timed out\n")
		exit = curlTimeout
	case err != nil:
		b.WriteString("\ncurl: (18) transfer closed with outstanding read data remaining\n")
		exit = curlPartial
	}
	return b.String(), resp.StatusCode, exit
}

func TestWords(t *testing.T) {
	env := map[string]string{"KEY": "sk x", "A": "1"}
	f := func(line string, want ...string) {
		t.Helper()
		got, err := words(line, env)
		assert.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(`a  b	c # d`, "a", "b", "c")
	f(`-H "Authorization: Bearer $KEY" '$KEY' x#y`, "-H", "Authorization: Bearer sk x", "$KEY", "x#y")
	f(`${A}2 "" '{"n":"v"}'`, "12", "", `{"n":"v"}`)
	for _, line := range []string{`a | b`, `$NOBODY`, `"open`, `a > b`, "`a`", `$(a)`, `a &`, `a \`} {
		_, err := words(line, env)
		assert.Error(t, err, line)
	}
}
