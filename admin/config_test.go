package admin_test

// What /-/config shows of a configuration that is full of secrets.

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/secret"
)

// filler puts a value of its own into every field that there is.
type filler struct {
	n       int
	secrets []string // may not be shown
	plain   []string // must be shown
}

func (f *filler) next(prefix string) string {
	f.n++
	return fmt.Sprintf("%s-%04d-end", prefix, f.n)
}

// fill fills v; hidden says that its texts are secrets by the field's name.
func (f *filler) fill(v reflect.Value, hidden bool) {
	if v.Type() == reflect.TypeFor[secret.Text]() {
		s := f.next("canary")
		f.secrets = append(f.secrets, s)
		v.Set(reflect.ValueOf(secret.New(s)))
		return
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		s := f.next("json")
		f.plain = append(f.plain, s)
		v.Set(reflect.ValueOf(json.RawMessage(`{"value":"` + s + `"}`)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				f.fill(v.Field(i), field.Name == "Hash")
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0), hidden)
		f.fill(v.Index(1), hidden)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		f.fill(value, true)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(f.next("name")), value)
	case reflect.String:
		s := f.next("text")
		if hidden {
			f.secrets = append(f.secrets, s)
		} else {
			f.plain = append(f.plain, s)
		}
		v.SetString(s)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(f.n) * 1000)
	case reflect.Bool:
		v.SetBool(true)
	}
}

func TestConfigShowsNoSecret(t *testing.T) {
	var cfg configs.Config
	var f filler
	f.fill(reflect.ValueOf(&cfg).Elem(), false)
	require.Greater(t, len(f.secrets), 8)
	require.Greater(t, len(f.plain), 20)
	w := newWorld()
	w.config = &cfg
	addr := start(t, "127.0.0.1:0", w.deps())
	resp, body := ask(t, addr, "GET", "/-/config")
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, gjson.Valid(body))
	for _, s := range f.secrets {
		assert.NotContains(t, body, s)
	}
	for _, s := range f.plain {
		assert.Contains(t, body, s)
	}
	assert.Equal(t, "[redacted]", gjson.Get(body, "server.admin_token").String())
	assert.Equal(t, "[redacted]", gjson.Get(body, "pools.0.api_key").String())
	assert.Equal(t, "[redacted]", gjson.Get(body, "tenants.1.keys.0.hash").String())
}

func TestConfigReadsAsItWasWritten(t *testing.T) {
	cfg, err := configs.Parse("router.yaml", []byte(`
server: {admin: "127.0.0.1:9191", max_body: 1MiB, drain_timeout: 90s}
tenants: [{name: acme, keys: [{name: k, hash: "sha256:abcdefghijkl:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}]
pools: [{name: p, headers: {X-Team: red}, proxy: "http://u:pw@proxy:1", backends: [{url: "http://127.0.0.1:1", max_inflight: 4}]}]
models: [{name: m, targets: [{pool: p}]}]
`), nil, nil)
	require.NoError(t, err)
	w := newWorld()
	w.config = cfg
	addr := start(t, "127.0.0.1:0", w.deps())
	_, body := ask(t, addr, "GET", "/-/config")
	f := func(path, want string) {
		t.Helper()
		assert.Equal(t, want, gjson.Get(body, path).String(), path)
	}
	f("server.admin", "127.0.0.1:9191")
	f("server.max_body", "1048576")
	f("server.drain_timeout", "1m30s")
	f("server.cors.origins", "[]")
	f("tenants.0.keys.0.hash", "[redacted]")
	f("tenants.0.keys.0.expires", "")
	f("pools.0.headers.X-Team", "[redacted]")
	f("pools.0.proxy", "[redacted]")
	f("pools.0.api_key", "")
	f("pools.0.backends.0.url", "http://127.0.0.1:1")
	f("pools.0.backends.0.max_inflight", "4")
	f("models.0.timeouts.first_token", "1m0s")
	assert.Less(t, strings.Index(body, `"server"`), strings.Index(body, `"auth"`), "in the order of the file")
}

// TestConfigOfAnyShape: what types may come is not known here, and what is not
// known is not shown.
func TestConfigOfAnyShape(t *testing.T) {
	type loop struct{ Next *loop }
	cycle := &loop{}
	cycle.Next = cycle
	w := newWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	f := func(v any, want string) {
		t.Helper()
		w.set(func(w *world) { w.config = v })
		resp, body := ask(t, addr, "GET", "/-/config")
		assert.Equal(t, 200, resp.StatusCode)
		if want != "" {
			assert.JSONEq(t, want, body)
		}
	}
	f(nil, `null`)
	f((*configs.Config)(nil), `null`)
	f(struct{ hidden string }{"x"}, `{}`)
	f(struct{ F func() }{func() {}}, `{"f":"[redacted]"}`)
	f(struct{ C chan int }{}, `{"c":"[redacted]"}`)
	f(struct{ Key []byte }{[]byte("k")}, `{"key":"[redacted]"}`)
	f(struct{ Secret, MyToken, APIKey, Plain string }{"a", "", "c", "d"}, `{"secret":"[redacted]","my_token":"","api_key":"[redacted]","plain":"d"}`)
	f(map[string]any{"password": "x", "n": 1.5, "list": []string{"a"}}, `{"password":"[redacted]","n":1.5,"list":["a"]}`)
	f(map[string]any{"nan": math.NaN(), "inf": math.Inf(1)}, `{"nan":"NaN","inf":"+Inf"}`)
	f(struct{ Raw, Bad json.RawMessage }{[]byte(`{"token":"x","y":["z"]}`), []byte(`{`)}, `{"raw":{"token":"[redacted]","y":["z"]},"bad":"[redacted]"}`)
	f(struct{ URL, Plain string }{"https://u:p@h/x?key=v", "a@b?c"}, `{"url":"https://[redacted]@h/x?[redacted]","plain":"a@b?c"}`)
	f([]any{time.Second, time.Unix(0, 0).UTC(), uint8(3), true}, `["1s","1970-01-01T00:00:00Z",3,true]`)
	f([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, `["10.0.0.0/8"]`)
	f(cycle, "")
}
