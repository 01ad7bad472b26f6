//go:build unix

package router

// What a request costs among very many keys and tenants.

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyKeys writes a file of n keys over these tenants, some of which are known:
// as many as asked for.
func manyKeys(b *testing.B, n, tenants, known int) (path string, keys []string) {
	b.Helper()
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	path = filepath.Join(b.TempDir(), "keys.jsonl")
	var text bytes.Buffer
	random := rand.NewChaCha8([32]byte{4})
	for i := range n {
		var hash string
		if i%max(n/known, 1) == 0 {
			var key string
			key, hash = newKey(b)
			keys = append(keys, key)
		} else {
			var id [12]byte
			var digest [32]byte
			for j := range id {
				id[j] = base62[random.Uint64()%62]
			}
			_, _ = random.Read(digest[:])
			hash = "sha256:" + string(id[:]) + ":" + base64.RawURLEncoding.EncodeToString(digest[:])
		}
		fmt.Fprintf(&text, `{"tenant":"t%d","name":"key-%d","hash":"%s"}`+"\n", i%tenants, i, hash)
	}
	require.NoError(b, os.WriteFile(path, text.Bytes(), 0o600))
	return path, keys
}

// BenchmarkWalkAmong sends requests of one key, and of keys at random of a million
// over ten thousand tenants, in turn.
func BenchmarkWalkAmong(b *testing.B) {
	url := newReplier(b, jsonAnswer(`{"id":"1","choices":[]}`))
	f := func(name string, count, tenants int) *asker {
		path, keys := manyKeys(b, count, tenants, 20_000)
		var list strings.Builder
		for i := range tenants {
			fmt.Fprintf(&list, "{name: t%d},", i)
		}
		config := strings.Replace(open("", url), "auth: {anonymous: all}\ntenants: [{name: all}]",
			"auth: {key_files: ["+path+"]}\ntenants: ["+list.String()+"]", 1)
		raw := []byte(chat(`{"model":"m","messages":["`+strings.Repeat("x", 1000)+`"]}`, bearerLine(keys[0])))
		at, ask := bytes.Index(raw, []byte(keys[0])), newWorld(b, config).loopOf(b, raw, "]}")
		return &asker{name: name, once: func() {
			copy(raw[at:], keys[rand.IntN(len(keys))])
			ask()
		}}
	}
	inTurn(b, 64, f("one", 1, 1), f("million", 1_000_000, 10_000), f("same", 1, 1))
}
