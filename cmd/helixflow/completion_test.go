package main

// The completion scripts: bash's is run, the others are read by their shells
// where there are any.

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script prints a shell's script to a file.
func script(t *testing.T, shell string) (path, text string) {
	t.Helper()
	r := helixflow("", "completion", shell)
	require.Equal(t, exitGood, r.code, r.stderr)
	require.Empty(t, r.stderr)
	path = filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(path, []byte(r.stdout), 0o600))
	return path, r.stdout
}

// offered completes words, the last of which the cursor is at the end of, as
// bash's readline would.
const offered = `source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_helixflow 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"`

func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	require.NoError(t, err, "make test needs bash")
	path, _ := script(t, "bash")
	out, err := exec.CommandContext(t.Context(), bash, "-n", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "my router.yaml"), nil, 0o600))
	f := func(line, want string) {
		t.Helper()
		args := append([]string{"-c", offered, "bash", path, "helixflow"}, strings.Split(line, " ")...)
		cmd := exec.CommandContext(t.Context(), bash, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.Equal(t, want, strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " "), line)
	}
	f("se", "serve")
	f("", "serve check diff explain cache keys sim replay bench healthcheck completion version")
	f("x", "")
	f("--", "--help")
	f("keys ", "new hash inspect verify")
	f("keys h", "hash")
	f("keys new --e", "--env")
	f("keys new --env ", "live test")
	f("keys new --env = t", "test")
	f("keys new --env =", "live test")
	f("completion ", "bash zsh fish")
	f("completion z", "zsh")
	f("serve --li", "--listen")
	f("serve --listen ", "")
	f("serve -c ", "my router.yaml")
	f("serve --config = my", "my router.yaml")
	f("serve ", "")
	f("check m", "my router.yaml")
	f("check --json m", "my router.yaml")
	f("diff x m", "my router.yaml")
	f("explain --admin http://localhost:9090 --mo", "--model")
	f("nonsense ", "serve check diff explain cache keys sim replay bench healthcheck completion version")
}

// TestOtherCompletions holds what each script must have, and has the shell
// itself read it where there is one.
func TestOtherCompletions(t *testing.T) {
	f := func(shell string, lines ...string) {
		t.Helper()
		path, text := script(t, shell)
		for _, line := range lines {
			assert.Contains(t, text, line+"\n")
		}
		assert.NotContains(t, text, "$path", "zsh's own variable")
		if bin, err := exec.LookPath(shell); err == nil {
			out, err := exec.CommandContext(t.Context(), bin, "-n", path).CombinedOutput()
			assert.NoError(t, err, "%s", out)
		}
	}
	f("zsh",
		"#compdef helixflow",
		`            " keys") place="keys"; (( depth++ )) ;;`,
		`            "keys new") place="keys new"; (( depth++ )) ;;`,
		`                'sim:Run a simulated inference engine'`,
		`                '(-c --config)--config=[Configuration file]:file:_files' \`,
		`                '(--env)--env=[Environment the key says it is for\: live,test]:value:(live test)' \`,
		`                '1:argument:(bash zsh fish)' ;;`,
		`                '*:file:_files' ;;`,
	)
	f("fish",
		`complete -c helixflow -n "__helixflow_at ''" -a sim -d 'Run a simulated inference engine'`,
		`complete -c helixflow -n "__helixflow_at 'keys'" -a new -d 'Make a key, and the hash to configure for it'`,
		`complete -c helixflow -n "__helixflow_at 'keys new'" -l env -x -a 'live test' -d 'Environment the key says it is for: live,test'`,
		`complete -c helixflow -n "__helixflow_at 'serve'" -s c -l config -r -F -d 'Configuration file'`,
		`complete -c helixflow -n "__helixflow_at 'check'" -F`,
	)
}

func TestCompletionOfNoShell(t *testing.T) {
	r := helixflow("", "completion", "tcsh")
	assert.Equal(t, exitUsage, r.code)
	assert.Contains(t, r.stderr, `"bash","zsh","fish"`)
	assert.Equal(t, exitUsage, helixflow("", "completion").code)
}
