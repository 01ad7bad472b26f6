package configs

// Files of keys: what is read, what is refused, and what is said of it.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fileDigest = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

// withKeyFiles is a configuration with files of these texts.
func withKeyFiles(t testing.TB, texts ...string) *Config {
	t.Helper()
	c := Default()
	c.Tenants = []Tenant{{Name: "acme"}, {Name: "globex"}}
	c.Auth.Peppers = []Pepper{{Version: 1}}
	dir := t.TempDir()
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprintf("%d.jsonl", i))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		c.Auth.KeyFiles = append(c.Auth.KeyFiles, path)
	}
	return c
}

func TestReadKeyFiles(t *testing.T) {
	c := withKeyFiles(t,
		`{"tenant":"acme","name":"a","hash":"sha256:Zx81kQp0aB3a:`+fileDigest+`"}`+"\n\n  \r\n"+
			` { "name" : "b\u002db", "hash":"hmac-sha256:1:Zx81kQp0aB3b:`+fileDigest+`", "tenant" : "globex", "debug":true, "revoked":false } `,
		`{"tenant":"acme","name":"c","hash":"sha256:Zx81kQp0aB3c:`+fileDigest+`","previous":{"hash":"sha256:Zx81kQp0aB3c:5`+fileDigest[1:]+`","until":"2027-01-01"},`+
			`"not_before":"2026-01-01","expires":"2028-01-01T12:00:00Z","revoked":true,"models":["m*"],"endpoints":["models"],"from":["10.0.0.0/8"],"limits":{"requests_per_minute":60}}`+"\r\n"+
			`{"tenant":"acme","name":"d","hash":"sha256:Zx81kQp0aB3d:`+fileDigest+`"}`)
	type got struct {
		tenant string
		key    Key
	}
	var all []got
	require.NoError(t, c.ReadKeyFiles(func(t *Tenant, k *Key) error {
		all = append(all, got{t.Name, *k})
		return nil
	}))
	require.Len(t, all, 4)
	a := defaultKey()
	a.Name, a.Hash = "a", "sha256:Zx81kQp0aB3a:"+fileDigest
	assert.Equal(t, got{"acme", a}, all[0])
	b := defaultKey()
	b.Name, b.Hash, b.Debug = "b-b", "hmac-sha256:1:Zx81kQp0aB3b:"+fileDigest, true
	assert.Equal(t, got{"globex", b}, all[1])
	k := all[2].key
	assert.Equal(t, Always, k.Revoked)
	assert.Equal(t, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), k.Previous.Until)
	assert.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), k.NotBefore)
	assert.Equal(t, time.Date(2028, 1, 1, 12, 0, 0, 0, time.UTC), k.Expires)
	assert.Equal(t, []string{"m*"}, k.Models)
	assert.Equal(t, []string{"models"}, k.Endpoints)
	assert.Equal(t, "10.0.0.0/8", k.From[0].String())
	assert.EqualValues(t, 60, *k.Limits.RequestsPerMinute)
	d := defaultKey()
	d.Name, d.Hash = "d", "sha256:Zx81kQp0aB3d:"+fileDigest
	assert.Equal(t, got{"acme", d}, all[3], "nothing is left over of the line before")
	assert.Equal(t, 4, c.CountKeyLines(), "about as many")
	require.NoError(t, Default().ReadKeyFiles(nil))
}

func TestReadKeyFilesRefuses(t *testing.T) {
	good := `"tenant":"acme","name":"a","hash":"sha256:Zx81kQp0aB3a:` + fileDigest + `"`
	f := func(line string, want ...string) {
		t.Helper()
		c := withKeyFiles(t, "\n"+line+"\n{"+good+"}\n")
		taken := 0
		err := c.ReadKeyFiles(func(*Tenant, *Key) error {
			taken++
			return nil
		})
		var problems Problems
		require.ErrorAs(t, err, &problems, line)
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.String(), c.Auth.KeyFiles[0]))
		}
		assert.Equal(t, want, got, line)
		assert.Equal(t, 1, taken, "the good line is read all the same")
		assert.NotContains(t, err.Error(), leak)
		assert.NotContains(t, err.Error(), fileDigest[1:])
	}
	f(`{"tenant":"acme","name":"a"}`, ":2:1: hash: is missing: write what `helixflow keys new` prints")
	f(`{}`, ":2:1: tenant: is missing", ":2:1: name: is missing", ":2:1: hash: is missing: write what `helixflow keys new` prints")
	f(`{`+good+`,"hsah":1}`, `:2:102: hsah: unknown key; did you mean "hash"?`)
	f(`{`+good+`,"Expires":"2027-01-01"}`, `:2:102: Expires: unknown key; did you mean "expires"?`)
	f(`{`+good+`,"name":"b"}`, `:2:102: has a key twice`)
	f(`{`+good+`,"na\u006de":"b"}`, `:2:102: has a key twice`)
	f(`{`+good+`,"generate":true}`, `:2:113: generate: has no meaning in a key file`)
	f(`{`+good+`,"debug":"yes"}`, `:2:110: debug: "yes" is not true or false`)
	f(`{`+good+`,"expires":20270101}`, `:2:112: expires: must be a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z, not a number`)
	f(`{`+good+`,"expires":null}`, `:2:112: expires: has no value: write a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z, or leave the key out`)
	f(`{`+good+`,"models":"m"}`, `:2:111: models: must be a list, not text`)
	f(`{`+good+`,"limits":{"requests_per_minute":-1}}`, `:2:134: limits.requests_per_minute: "-1" is negative`)
	f(`{`+good+`,"previous":{"hash":"sha256:Zx81kQp0aB3b:`+fileDigest+`","until":"2027-01-01"}}`, ":2:121: previous.hash: has another id than the key; `helixflow keys new --id` makes another secret for an id")
	f(strings.Replace(`{`+good+`}`, "acme", "acne", 1), `:2:11: tenant: there is no tenant "acne"; did you mean "acme"?`)
	f(strings.Replace(`{`+good+`}`, "acme", "", 1), `:2:11: tenant: there is no tenant ""`)
	f(strings.Replace(`{`+good+`}`, `"a"`, `"a b"`, 1), `:2:25: name: "a b" is not a name: 1 to 64 letters, digits, dots, dashes and underscores, first a letter or digit`)
	f(strings.Replace(`{`+good+`}`, `"a"`, `"sk-hfx_live_hunter2"`, 1), `:2:25: name: the value looks like an API key`)
	f(strings.Replace(`{`+good+`}`, `sha256:Zx81kQp0aB3a:`, `hmac-sha256:2:Zx81kQp0aB3a:`, 1), ":2:36: hash: needs version 2 of auth.peppers, which is not there")
	f(strings.Replace(`{`+good+`}`, `sha256:`, `sk-hfx_live_hunter2`, 1), ":2:36: hash: is not a key hash: it looks like a key; `helixflow keys hash` makes its hash")
	f(`{`+good+`,"name":"${WORD}"`, `:2:102: has a key twice`)
	f(strings.Replace(`{`+good+`}`, `"a"`, `"${WORD}"`, 1), `:2:25: name: the environment variable WORD is not set; set it or write ${WORD:-default}`)
	f(`{`+good, ":2:101: is not JSON: a , or } must stand here")
	f(`{`+good+`}}`, ":2:102: has something behind its object")
	f(`[`+good+`]`, `:2:1: must be a JSON object on one line: {"tenant": …}`)
	f(`# a comment`, `:2:1: must be a JSON object on one line: {"tenant": …}`)
	f("{\"tenant\":\"ac\xffme\"}", ":2:1: is not UTF-8")
	f(`{"ténant":"acme" "name":1}`, ":2:18: is not JSON: a , or } must stand here")
	f(`{"x":`+strings.Repeat("[", 20)+`1`+strings.Repeat("]", 20)+`}`, ":2:14: is nested more than 8 levels deep")
	f(`{"x":"`+strings.Repeat("y", maxLine)+`"}`, ":2:1: is longer than 16KiB")
}

func TestReadKeyFilesTellsOfAllFiles(t *testing.T) {
	c := withKeyFiles(t, "{\n", "{}\n{")
	c.Auth.KeyFiles = append(c.Auth.KeyFiles, filepath.Join(t.TempDir(), "missing"), t.TempDir())
	err := c.ReadKeyFiles(func(*Tenant, *Key) error { return nil })
	var problems Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, 7)
	assert.Equal(t, c.Auth.KeyFiles[0], problems[0].File)
	assert.Equal(t, c.Auth.KeyFiles[1], problems[4].File)
	assert.Equal(t, 2, problems[4].Line)
	assert.Equal(t, "cannot read the file: no such file or directory", problems[5].Message)
	assert.Equal(t, "cannot read the file: it is not a regular file", problems[6].Message)

	c = withKeyFiles(t, strings.Repeat("x\n", 10_000), "x\n")
	err = c.ReadKeyFiles(nil)
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, maxProblems+1)
	assert.Equal(t, "and perhaps more problems from here on", problems[maxProblems].Message)
}

func TestReadKeyFilesTellsWhatIsThoughtOfAKey(t *testing.T) {
	line := `{"tenant":"acme","name":"a","hash":"sha256:Zx81kQp0aB3a:` + fileDigest + `"}` + "\n"
	c := withKeyFiles(t, line+line)
	err := c.ReadKeyFiles(func(*Tenant, *Key) error { return errors.New("it is there already") })
	require.EqualError(t, err, c.Auth.KeyFiles[0]+":1:1: it is there already\n"+c.Auth.KeyFiles[0]+":2:1: it is there already")
}

// plainJSON is what a node means.
func plainJSON(n *node) any {
	switch n.kind {
	case nullNode:
		return nil
	case boolNode:
		return n.text == "true"
	case numberNode:
		return json.Number(n.text)
	case textNode:
		return n.text
	case listNode:
		list := []any{}
		for _, item := range n.items {
			list = append(list, plainJSON(item))
		}
		return list
	default:
		m := map[string]any{}
		for _, e := range n.keys {
			m[e.key.text] = plainJSON(e.value)
		}
		return m
	}
}

// FuzzLine holds the parser of lines against encoding/json: what it takes means
// the same, and what it refuses is no JSON object, or one with what lines must not
// have.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, ` {"a" : [1, -0.5e+7 , true,false,null,"x"] , "b":{"c":{}} } `, `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}`,
		`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":tru}`, `{"a"}`, `{"a":1,}`, `[1]`, `{"a":1}x`, `{"a":"\ud800"}`, `{"a":1,"a":2}`, `{"a":-0}`,
	} {
		f.Add(seed)
	}
	var p lineParser
	f.Fuzz(func(t *testing.T, text string) {
		n, err := p.parse(text, 1)
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var want map[string]any
		wrong := d.Decode(&want)
		if wrong == nil {
			if _, more := d.Token(); more != io.EOF {
				wrong = errors.New("more than one")
			}
		}
		if err == nil {
			require.NoError(t, wrong, "%q", text)
			require.Equal(t, want, plainJSON(n), "%q", text)
			return
		}
		message := err.Error()
		excused := !utf8.ValidString(text) || want == nil || strings.Contains(message, "twice") || strings.Contains(message, "levels deep") ||
			strings.Contains(message, "more than 100 keys") || strings.Contains(text, `\u`) && strings.Contains(message, "make a character")
		require.True(t, wrong != nil || excused, "%q: %s", text, message)
	})
}

// FuzzKeyLine: whatever stands on a line, it is a key that was checked, or a problem
// of that line that shows no key.
func FuzzKeyLine(f *testing.F) {
	hash := "sha256:Zx81kQp0aB3a:" + fileDigest
	f.Add(`{"tenant":"acme","name":"a","hash":"` + hash + `","expires":"2027-01-01","limits":{"budget":{"usd":1}}}`)
	f.Add(`{"tenant":"acme","name":"a","hash":"` + hash + `","previous":{"hash":"` + hash + `","until":"2027-01-01"},"revoked":true,"from":["::1"]}`)
	const key = "sk-hfx_live_0123456789ab_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq_3wrNK1"
	for _, field := range []string{"tenant", "name", "hash", "expires", "revoked", "debug", "endpoints", "models", "from", "limits", key} {
		f.Add(`{"tenant":"acme","name":"a","hash":"` + hash + `","` + field + `":"` + key + `"}`)
		f.Add(`{"` + field + `":["` + key + `"]}`)
		f.Add(`{"` + field + `":{"` + key + `":1}}`)
	}
	c := withKeyFiles(f)
	f.Fuzz(func(t *testing.T, line string) {
		taken := 0
		r := newKeyReader(c, func(tenant *Tenant, k *Key) error {
			taken++
			require.NotNil(t, tenant)
			require.Regexp(t, `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, k.Name)
			_, id, why := parseHash(k.Hash)
			require.Empty(t, why)
			require.Len(t, id, idLength)
			return nil
		})
		r.readLine(strings.TrimSpace(line), 7)
		require.Equal(t, strings.TrimSpace(line) != "" && len(r.problems) == 0, taken == 1)
		for _, p := range r.problems {
			require.Equal(t, 7, p.Line)
			require.Empty(t, p.Excerpt)
			require.NotContains(t, p.String(), key)
		}
	})
}

func BenchmarkReadKeyFiles(b *testing.B) {
	const keys = 10_000
	var text bytes.Buffer
	for i := range keys {
		fmt.Fprintf(&text, `{"tenant":"acme","name":"key-%d","hash":"hmac-sha256:1:%012d:%s","expires":"2037-01-01"}`+"\n", i, i, fileDigest)
	}
	c := withKeyFiles(b, text.String())
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, c.ReadKeyFiles(func(*Tenant, *Key) error { return nil }))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keys), "ns/key")
}
