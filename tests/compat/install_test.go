//go:build integration

// Getting the clients: what is pinned in each folder, installed once and kept
// there until the pins change.

package compat

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
		command(t, "../..", "go", "build", "-o", bin, "./cmd/helixflow")
	}
	bin, err := filepath.Abs(bin)
	require.NoError(t, err)
	return bin
}

// installPython returns a Python that has the client.
func installPython(t *testing.T) string {
	python := need(t, "python3", "install python3 with its venv module (Debian: python3-venv)")
	dir := folder(t)
	venv := filepath.Join(dir, ".venv")
	inside := filepath.Join(venv, "bin", "python")
	once(t, venv, filepath.Join(dir, "requirements.txt"), command(t, dir, python, "-VV"), func() {
		command(t, dir, python, "-m", "venv", ".venv")
		command(t, dir, inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--only-binary=:all:", "--require-hashes", "-r", "requirements.txt")
	})
	return inside
}

// installNode returns a Node; the client is where it looks for it.
func installNode(t *testing.T) string {
	node := need(t, "node", "install Node.js, 20 or newer")
	npm := need(t, "npm", "install npm")
	dir := folder(t)
	once(t, filepath.Join(dir, "node_modules"), filepath.Join(dir, "package-lock.json"), "", func() {
		command(t, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	})
	return node
}

// buildGo returns the client's program. Not optimising the client, which is
// large, halves what the first build takes.
func buildGo(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "client")
	command(t, folder(t), "go", "build",
		"-gcflags=github.com/openai/openai-go/v3/...=-N -l -dwarf=false", "-ldflags=-s -w", "-o", program, ".")
	return program
}

func need(t *testing.T, program, advice string) string {
	path, err := exec.LookPath(program)
	require.NoError(t, err, "cannot find %s, which this test needs: %s", program, advice)
	return path
}

// once fills a directory anew unless it was filled whole with pins of the same
// content, for the same version of the program that will use it.
func once(t *testing.T, dir, pins, version string, fill func()) {
	data, err := os.ReadFile(pins)
	require.NoError(t, err)
	digest := sha256.Sum256(append(data, version...))
	sum := []byte(hex.EncodeToString(digest[:]))
	stamp := filepath.Join(dir, "installed.sha256")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, sum) {
		return
	}
	require.NoError(t, os.RemoveAll(dir))
	fill()
	require.NoError(t, os.WriteFile(stamp, sum, 0o600))
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir, name string, args ...string) string {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "cannot run %v:\n%s", cmd.Args, out)
	return string(out)
}
