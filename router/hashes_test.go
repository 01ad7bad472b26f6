package router

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/accesslog"
)

// The access log shows how prompts begin, if it is told to: prompts that begin alike
// have the same hashes there, and nothing tells what they say.
func TestAccessHashes(t *testing.T) {
	url := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + `{"choices":[]}`)
		return true
	})
	shared, long := strings.Repeat("open sesame ", 200), strings.Repeat("x", 300)
	ask := func(text string) string { return `{"model":"m","messages":[{"role":"user","content":"` + text + `"}]}` }
	f := func(hashes bool, bodies ...string) (list []string) {
		t.Helper()
		w := newWorld(t, open("", url))
		path := filepath.Join(t.TempDir(), "access.log")
		log, err := accesslog.Open(path, accesslog.Options{Sample: 1, Hashes: hashes})
		require.NoError(t, err)
		w.srv.SetAccess(log)
		for _, body := range bodies {
			require.Equal(t, 200, w.ask(t, chat(body)).status)
			w.settled(t) // their lines in their order
		}
		w.settled(t)
		w.srv.SetAccess(nil)
		require.NoError(t, log.Close())
		file, err := os.Open(path)
		require.NoError(t, err)
		defer func() { _ = file.Close() }()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var line struct {
				Hashes string `json:"prefix_hashes"`
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
			assert.NotContains(t, lines.Text(), "sesame")
			list = append(list, line.Hashes)
		}
		return list
	}
	assert.Equal(t, []string{"", ""}, f(false, ask(shared), ask(long)))

	got := f(true, ask(shared+long), ask(shared+"y"+long), ask(long), ask("short"))
	require.Len(t, got, 4)
	assert.Len(t, got[0], 8*(2760/256), "a hash of 8 digits for each block of 256 bytes")
	const alike = 8 * (2440 / 256) // what begins the same, as far as it fills blocks
	assert.Equal(t, got[0][:alike], got[1][:alike])
	assert.NotEqual(t, got[0][alike:], got[1][alike:])
	assert.NotEqual(t, got[0][:8], got[2][:8])
	assert.Empty(t, got[3])
}
