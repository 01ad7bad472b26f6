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
	"time"

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

// BenchmarkWalkAmong sends requests of different keys, sockets and this client
// included.
func BenchmarkWalkAmong(b *testing.B) {
	for _, size := range []struct{ keys, tenants int }{{1, 1}, {1_000_000, 10_000}} {
		b.Run(fmt.Sprintf("%d", size.keys), func(b *testing.B) {
			path, keys := manyKeys(b, size.keys, size.tenants, 20_000)
			var tenants strings.Builder
			for i := range size.tenants {
				fmt.Fprintf(&tenants, "{name: t%d},", i)
			}
			config := strings.Replace(open("", newReplier(b, jsonAnswer(`{"id":"1","choices":[]}`))), "auth: {anonymous: all}\ntenants: [{name: all}]",
				"auth: {key_files: ["+path+"]}\ntenants: ["+tenants.String()+"]", 1)
			w := newWorld(b, config)
			c := w.dial(b)
			raw := []byte(chat(`{"model":"m","messages":["`+strings.Repeat("x", 1000)+`"]}`, bearerLine(keys[0])))
			at := bytes.Index(raw, []byte(keys[0]))
			answer := make([]byte, 64<<10)
			require.NoError(b, c.SetDeadline(time.Now().Add(time.Hour)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				copy(raw[at:], keys[rand.IntN(len(keys))])
				if _, err := c.Write(raw); err != nil {
					b.Fatal(err)
				}
				for n := 0; !bytes.HasSuffix(answer[:n], []byte("]}")); {
					k, err := c.Read(answer[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += k
				}
			}
		})
	}
}
