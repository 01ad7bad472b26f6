package router

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever a client sends, the engine reads its tenant's salt, and no two tenants
// have the same.
func TestCacheSalt(t *testing.T) {
	var last string
	url := newBackend(t, func(a *asked) bool { last = a.body; a.write(jsonAnswer(whole)); return true })
	key, hash := newKey(t)
	other, otherHash := newKey(t)
	config := strings.Replace(open("", url), "auth: {anonymous: all}\ntenants: [{name: all}]", fmt.Sprintf(
		"tenants:\n  - {name: a, keys: [{name: k, hash: %q}]}\n  - {name: b, keys: [{name: k, hash: %q}]}", hash, otherHash), 1)
	salted := newWorld(t, strings.Replace(config, "    balance:", "    cache_salt: tenant\n    balance:", 1))
	plain := newWorld(t, config)
	ask := func(w *world, key, path, body string) (salt any) {
		t.Helper()
		require.Equal(t, 200, w.ask(t, postTo(path, body, "Authorization: Bearer "+key)).status)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(last), &got), last)
		salt = got["cache_salt"]
		delete(got, "cache_salt")
		delete(got, "stream_options")
		rest, err := json.Marshal(got)
		require.NoError(t, err)
		var sent map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &sent))
		delete(sent, "cache_salt")
		want, err := json.Marshal(sent)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(rest))
		return salt
	}
	const completions = "/v1/chat/completions"
	mine, theirs := ask(salted, key, completions, simple), ask(salted, other, completions, simple)
	assert.Len(t, mine, 43)
	assert.Len(t, theirs, 43)
	assert.NotEqual(t, mine, theirs)
	for _, body := range []string{
		`{"model":"m","messages":[],"cache_salt":"forged"}`, `{"cache_salt":"forged","model":"m","messages":[]}`,
		`{"cache_salt":null,"model":"m","messages":[]}`, `{"cache_salt":{"a":[1]},"model":"m","messages":[]}`,
		`{"cache_salt":"x","model":"m","messages":[],"cache_salt":"y"}`, `{"cache_salt":"x","model":"m","messages":[],"cache_salt":null}`,
	} {
		assert.Equal(t, mine, ask(salted, key, completions, body), body)
	}
	assert.Equal(t, mine, ask(salted, key, "/v1/completions", `{"model":"m","prompt":"x"}`))
	assert.Equal(t, mine, ask(salted, key, "/v1/embeddings", `{"model":"m","input":"x","cache_salt":"forged"}`))
	assert.Nil(t, ask(salted, key, "/v1/embeddings", `{"model":"m","input":"x"}`))
	assert.Nil(t, ask(plain, key, completions, simple))
	assert.Equal(t, "mine", ask(plain, key, completions, `{"model":"m","messages":[],"cache_salt":"mine"}`))
	again := newWorld(t, strings.Replace(config, "    balance:", "    cache_salt: tenant\n    balance:", 1))
	assert.Equal(t, mine, ask(again, key, completions, simple), "after a restart")
}
