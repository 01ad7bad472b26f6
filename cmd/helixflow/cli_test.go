// These tests run whole command lines, as main does, without the process.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/internal/build"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

// helixflow runs a command line to its end.
func helixflow(stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(args, &Env{
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Ctx: context.Background(),
	})
	return result{code, stdout.String(), stderr.String()}
}

// file writes a file of the test's own and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "helixflow.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const goodConfig = `
tenants:
  - name: acme
    keys: [{name: ci, generate: true}]
pools:
  - name: local
    backends:
      - {url: "http://127.0.0.1:8000"}
models:
  - name: llama
    targets:
      - {pool: local}
`

const pepperedConfig = goodConfig + `
auth:
  peppers:
    - {version: 1, secret: "0123456789abcdef0123456789abcdef"}
    - {version: 2, secret: "fedcba9876543210fedcba9876543210"}
`

func TestUsage(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		r := helixflow("", args...)
		assert.Equal(t, exitUsage, r.code, args)
		assert.Empty(t, r.stdout)
		assert.Contains(t, r.stderr, want)
		assert.Contains(t, r.stderr, "--help")
	}
	f("expected one of")
	f("unexpected argument", "srve")
	f("unknown flag --jsno", "version", "--jsno")
	f("<file>", "check")
	f("must be one of", "keys", "new", "--env", "staging")
	f("no key", "keys", "hash")
	f("no key", "keys", "inspect", "-")
}

func TestUsageRepeatsNoKey(t *testing.T) {
	key := strings.TrimSpace(helixflowKey(t).Key)
	for _, args := range [][]string{{key}, {"--" + key}, {"keys", "hash", "x", key}, {"keys", "new", "--env", strings.TrimPrefix(key, "sk-")}} {
		r := helixflow("", args...)
		assert.Equal(t, exitUsage, r.code)
		assert.NotContains(t, r.stderr, strings.TrimPrefix(key, "sk-"))
		assert.Contains(t, r.stderr, "[key]")
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"keys", "--help"}, {"check", "--help"}, {"-h"}} {
		r := helixflow("", args...)
		assert.Equal(t, exitGood, r.code)
		assert.Contains(t, r.stdout, "Usage: helixflow")
		assert.Empty(t, r.stderr)
	}
}

func TestVersion(t *testing.T) {
	r := helixflow("", "version")
	assert.Equal(t, result{exitGood, build.Info().String() + "\n", ""}, r)

	r = helixflow("", "version", "--json")
	assert.Equal(t, exitGood, r.code)
	var got build.Version
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.Equal(t, build.Info(), got)
}

func TestCheckGood(t *testing.T) {
	path := file(t, goodConfig)
	assert.Equal(t, result{exitGood, path + ": no problems\n", ""}, helixflow("", "check", path))
	assert.Equal(t, result{exitGood, "[]\n", ""}, helixflow("", "check", "--json", path))
}

func TestCheckProblems(t *testing.T) {
	path := file(t, strings.Replace(goodConfig, "pool: local", "pool: lokal", 1)+"modles: []\n")
	r := helixflow("", "check", path)
	assert.Equal(t, exitProblem, r.code)
	assert.Empty(t, r.stderr)
	assert.Contains(t, r.stdout, path+":")
	assert.Contains(t, r.stdout, "lokal")
	assert.Contains(t, r.stdout, "modles")
	assert.Contains(t, r.stdout, "^", "the excerpt points at the column")

	r = helixflow("", "check", path, "--json")
	assert.Equal(t, exitProblem, r.code)
	var problems []map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &problems))
	require.Len(t, problems, 2)
	for _, p := range problems {
		require.Len(t, p, 5)
		assert.Equal(t, path, p["file"])
		assert.Positive(t, p["line"])
		assert.Positive(t, p["column"])
		assert.NotEmpty(t, p["path"])
		assert.NotEmpty(t, p["message"])
	}
}

func TestCheckMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	r := helixflow("", "check", path)
	assert.Equal(t, exitProblem, r.code)
	assert.Contains(t, r.stdout, path)
	r = helixflow("", "check", path, "--json")
	assert.Equal(t, exitProblem, r.code)
	assert.Contains(t, r.stdout, `"line":0`)
}

type newKey struct{ Key, Hash, ID string }

// helixflowKey makes a key with "keys new".
func helixflowKey(t *testing.T, flags ...string) newKey {
	t.Helper()
	r := helixflow("", append([]string{"keys", "new", "--json"}, flags...)...)
	require.Equal(t, exitGood, r.code, r.stderr)
	var fields map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &fields))
	require.Len(t, fields, 3)
	return newKey{fields["key"], fields["hash"], fields["id"]}
}

func TestKeysNew(t *testing.T) {
	live, test := helixflowKey(t), helixflowKey(t, "--env", "test")
	assert.True(t, strings.HasPrefix(live.Key, "sk-hfx_live_"+live.ID+"_"), live.Key)
	assert.True(t, strings.HasPrefix(live.Hash, "sha256:"+live.ID+":"), live.Hash)
	assert.True(t, strings.HasPrefix(test.Key, "sk-hfx_test_"+test.ID+"_"), test.Key)
	assert.NotEqual(t, live.ID, test.ID)

	peppered := helixflowKey(t, "-c", file(t, pepperedConfig))
	assert.True(t, strings.HasPrefix(peppered.Hash, "hmac-sha256:2:"+peppered.ID+":"), peppered.Hash)
	plain := helixflowKey(t, "-c", file(t, goodConfig))
	assert.True(t, strings.HasPrefix(plain.Hash, "sha256:"), plain.Hash)

	human := helixflow("", "keys", "new")
	assert.Equal(t, exitGood, human.code)
	assert.Contains(t, human.stdout, "key   sk-hfx_live_")
	assert.Contains(t, human.stdout, `{name: NAME, hash: "sha256:`)
	assert.NotContains(t, human.stdout, "key_files")

	again := helixflowKey(t, "--id", live.ID)
	assert.Equal(t, live.ID, again.ID)
	assert.NotEqual(t, live.Key, again.Key)
	assert.NotEqual(t, live.Hash, again.Hash)
	wrong := helixflow("", "keys", "new", "--id", "too-short")
	assert.Equal(t, result{exitProblem, "", "helixflow: cannot generate key: an id is 12 letters and digits\n"}, wrong)
}

func TestKeysNewForAFileOfKeys(t *testing.T) {
	r := helixflow("", "keys", "new", "--tenant", "acme", "--name", "ci")
	require.Equal(t, exitGood, r.code, r.stderr)
	line := regexp.MustCompile(`(?m)^  (\{"tenant":"acme","name":"ci","hash":"sha256:.+"\})$`).FindStringSubmatch(r.stdout)
	require.NotNil(t, line, r.stdout)

	var made struct {
		Key   string
		Entry json.RawMessage
	}
	r = helixflow("", "keys", "new", "--tenant", "acme", "--name", "ci2", "--json")
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &made))
	keys := filepath.Join(t.TempDir(), "keys.jsonl")
	require.NoError(t, os.WriteFile(keys, []byte(line[1]+"\n"+string(made.Entry)+"\n"), 0o600))
	config := file(t, goodConfig+"auth: {key_files: ["+keys+"]}\n")
	r = helixflow("", "check", config)
	assert.Equal(t, result{exitGood, config + ": no problems\n", ""}, r)
	r = helixflow(made.Key, "keys", "verify", "-c", config)
	assert.Equal(t, exitGood, r.code, r.stdout)

	r = helixflow("", "keys", "new", "--tenant", "acme")
	assert.Equal(t, exitUsage, r.code)
}

func TestCheckReadsFilesOfKeys(t *testing.T) {
	key := helixflowKey(t)
	line := `{"tenant":"acme","name":"a","hash":"` + key.Hash + `"}` + "\n"
	keys := filepath.Join(t.TempDir(), "keys.jsonl")
	require.NoError(t, os.WriteFile(keys, []byte(line+"{\n"+line), 0o600))
	r := helixflow("", "check", file(t, goodConfig+"auth: {key_files: ["+keys+"]}\n"))
	assert.Equal(t, result{exitProblem, keys + ":2:2: is not JSON: a key in \"quotes\" must stand here\n" +
		keys + `:3:1: it has the same id as key "a" of tenant "acme"` + "\n", ""}, r)
}

func TestKeysVerify(t *testing.T) {
	good, old, gone, early := helixflowKey(t), helixflowKey(t), helixflowKey(t), helixflowKey(t)
	config := file(t, strings.Replace(goodConfig, "{name: ci, generate: true}", `
      {name: good, hash: "`+good.Hash+`", expires: 2100-01-01, debug: true, models: [llama], endpoints: ["chat_*"], from: [10.0.0.0/8]},
      {name: old, hash: "`+old.Hash+`", expires: 2020-01-01},
      {name: gone, hash: "`+gone.Hash+`", revoked: true},
      {name: early, hash: "`+early.Hash+`", not_before: 2100-01-01}`, 1))
	f := func(key string, code int, want string) {
		t.Helper()
		r := helixflow("", "keys", "verify", "-c", config, key)
		assert.Equal(t, result{code, want, ""}, r)
		r = helixflow(key+"\n", "keys", "verify", "-c", config, "--json")
		assert.Equal(t, code, r.code)
		var v verdict
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &v))
		assert.Equal(t, code == exitGood, v.Valid)
		assert.NotContains(t, r.stdout, key[len(key)-20:])
	}
	f(good.Key, exitGood, "valid     yes\nid        "+good.ID+`
tenant    acme
key       good
until     2100-01-01T00:00:00Z
models    all
of these  llama
endpoints chat_completions
from      10.0.0.0/8
debug     may ask how it was routed
`)
	whose := func(k newKey, name string) string {
		return "id        " + k.ID + "\ntenant    acme\nkey       " + name + "\n"
	}
	f(old.Key, exitProblem, "valid     no: it has expired\n"+whose(old, "old")+"until     2020-01-01T00:00:00Z\nmodels    all\nendpoints all\n")
	f(gone.Key, exitProblem, "valid     no: it was revoked\n"+whose(gone, "gone")+"models    all\nendpoints all\n")
	f(early.Key, exitProblem, "valid     no: its time has not come\n"+whose(early, "early")+"models    all\nendpoints all\n")
	f(helixflowKey(t, "--id", good.ID, "--env", "test").Key, exitProblem, "valid     no: its id is known, with another secret\n"+whose(good, "good")+
		"until     2100-01-01T00:00:00Z\nmodels    all\nof these  llama\nendpoints chat_completions\nfrom      10.0.0.0/8\ndebug     may ask how it was routed\n")
	stranger := helixflowKey(t)
	f(stranger.Key, exitProblem, "valid     no: the configuration has no key of its id\nid        "+stranger.ID+"\n")
	f("sk-proj-something-that-is-no-key-of-ours", exitProblem, "valid     no: it is not of the form of a key\n")

	r := helixflow(good.Key, "keys", "verify")
	assert.Equal(t, exitUsage, r.code)
	r = helixflow(good.Key, "keys", "verify", "-c", file(t, "pols: []\n"))
	assert.Equal(t, exitProblem, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, "pols")
}

func TestKeysNewWithBrokenConfig(t *testing.T) {
	r := helixflow("", "keys", "new", "-c", file(t, "pols: []\n"))
	assert.Equal(t, exitProblem, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, "pols")
}

func TestKeysHash(t *testing.T) {
	config := file(t, pepperedConfig)
	plain, peppered := helixflowKey(t), helixflowKey(t, "-c", config)
	f := func(want string, stdin string, args ...string) {
		t.Helper()
		assert.Equal(t, result{exitGood, want + "\n", ""}, helixflow(stdin, append([]string{"keys", "hash"}, args...)...))
	}
	f(plain.Hash, "", plain.Key)
	f(plain.Hash, plain.Key+"\n")
	f(plain.Hash, "  "+plain.Key+"\r\n", "-")
	f(peppered.Hash, "", "-c", config, peppered.Key)
	f(`{"hash":"`+plain.Hash+`","id":"`+plain.ID+`"}`, "", plain.Key, "--json")

	mistyped := plain.Key[:30] + "!" + plain.Key[31:]
	r := helixflow("", "keys", "hash", mistyped)
	assert.Equal(t, exitProblem, r.code)
	assert.Empty(t, r.stdout)
	assert.NotContains(t, r.stderr, mistyped)

	r = helixflow(strings.Repeat("x", 1<<20), "keys", "hash")
	assert.Equal(t, exitProblem, r.code)
	assert.Contains(t, r.stderr, "more than a key")
}

func TestKeysInspect(t *testing.T) {
	key := helixflowKey(t, "--env", "test")
	r := helixflow("", "keys", "inspect", key.Key)
	assert.Equal(t, result{exitGood, "env       test\nid        " + key.ID + "\nchecksum  right\n", ""}, r)
	r = helixflow(key.Key, "keys", "inspect", "--json")
	assert.Equal(t, result{exitGood, `{"env":"test","id":"` + key.ID + `","checksum_ok":true}` + "\n", ""}, r)

	last := "0"
	if strings.HasSuffix(key.Key, last) {
		last = "1"
	}
	r = helixflow("", "keys", "inspect", key.Key[:len(key.Key)-1]+last)
	assert.Equal(t, exitProblem, r.code)
	assert.Contains(t, r.stdout, "checksum  wrong")
	assert.Empty(t, r.stderr)

	r = helixflow("", "keys", "inspect", "sk-proj-something-else")
	assert.Equal(t, exitProblem, r.code)
	assert.NotContains(t, r.stderr, "something-else")
	assert.NotEmpty(t, r.stderr)
}

// fullDisk fails every write.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

// TestUnwritableOutputIsAProblem: a key that was shown to nobody must not look
// like success.
func TestUnwritableOutputIsAProblem(t *testing.T) {
	for _, args := range [][]string{{"keys", "new"}, {"keys", "new", "--json"}, {"version"}, {"check", file(t, goodConfig)}} {
		var stderr bytes.Buffer
		code := run(args, &Env{Stdout: fullDisk{}, Stderr: &stderr, Ctx: context.Background()})
		assert.Equal(t, exitProblem, code, args)
		assert.NotEmpty(t, stderr.String())
	}
}
