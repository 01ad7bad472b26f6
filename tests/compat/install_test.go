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
	"sync"
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

// runtime is how the programs of one language are run, after the clients they
// drive were installed.
type runtime struct {
	dir     string
	program string
	args    []string // before the driver's name
}

// runtimes are those of all tests.
var runtimes = newRuntimes()

// newRuntimes returns what installs a runtime: once, for whichever test asks
// first, while others wait.
func newRuntimes() map[string]func(t *testing.T) runtime {
	once := func(install func(t *testing.T) runtime) func(t *testing.T) runtime {
		var first sync.Once
		var r runtime
		return func(t *testing.T) runtime {
			first.Do(func() { r = install(t) })
			require.NotEmpty(t, r.program, "the installation failed in another test")
			return r
		}
	}
	return map[string]func(t *testing.T) runtime{
		"python":     once(func(t *testing.T) runtime { return installPython(t, "python") }),
		"llamaindex": once(func(t *testing.T) runtime { return installPython(t, "python/llamaindex") }),
		"node":       once(installNode),
		"go":         once(buildGo),
		"java":       once(buildJava),
	}
}

// installPython makes a virtual environment of the folder's requirements.
func installPython(t *testing.T, folder string) runtime {
	python := need(t, "python3", "install python3 with its venv module (Debian: python3-venv)")
	dir := absolute(t, folder)
	venv := filepath.Join(dir, ".venv")
	inside := filepath.Join(venv, "bin", "python")
	filled(t, venv, filepath.Join(dir, "requirements.txt"), command(t, dir, python, "-VV"), func() {
		command(t, dir, python, "-m", "venv", ".venv")
		command(t, dir, inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--only-binary=:all:", "--require-hashes", "-r", "requirements.txt")
	})
	return runtime{dir: absolute(t, "python"), program: inside, args: []string{"-B", "main.py"}}
}

func installNode(t *testing.T) runtime {
	node := need(t, "node", "install Node.js, 20 or newer")
	npm := need(t, "npm", "install npm")
	dir := absolute(t, "node")
	filled(t, filepath.Join(dir, "node_modules"), filepath.Join(dir, "package-lock.json"), "", func() {
		command(t, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	})
	return runtime{dir: dir, program: node, args: []string{"main.mjs"}}
}

// buildGo does not optimise the clients, which are large: that halves what the
// first build takes.
func buildGo(t *testing.T) runtime {
	dir := absolute(t, "go")
	program := filepath.Join(absolute(t, "../../bin"), "compat-go")
	command(t, dir, "go", "build",
		"-gcflags=github.com/openai/openai-go/v3/...=-N -l -dwarf=false", "-ldflags=-s -w", "-o", program, ".")
	return runtime{dir: dir, program: program}
}

// buildJava has Maven get the client, and compiles the driver without it.
func buildJava(t *testing.T) runtime {
	java := need(t, "java", "install a Java runtime (Debian: default-jdk-headless)")
	javac := need(t, "javac", "install a JDK, 17 or newer (Debian: default-jdk-headless)")
	maven := need(t, "mvn", "install Maven (Debian: maven)")
	dir := absolute(t, "java")
	filled(t, filepath.Join(dir, "target", "lib"), filepath.Join(dir, "pom.xml"), "", func() {
		command(t, dir, maven, "--batch-mode", "--quiet", "--strict-checksums", "dependency:copy-dependencies",
			"-DincludeScope=runtime", "-DoutputDirectory=target/lib")
	})
	filled(t, filepath.Join(dir, "target", "classes"), filepath.Join(dir, "Driver.java"), command(t, dir, javac, "-version"), func() {
		command(t, dir, javac, "-cp", "target/lib/*", "-d", "target/classes", "Driver.java")
	})
	return runtime{dir: dir, program: java, args: []string{"-cp", "target/classes:target/lib/*", "Driver"}}
}

func absolute(t *testing.T, folder string) string {
	dir, err := filepath.Abs(folder)
	require.NoError(t, err)
	return dir
}

func need(t *testing.T, program, advice string) string {
	path, err := exec.LookPath(program)
	require.NoError(t, err, "cannot find %s, which this test needs: %s", program, advice)
	return path
}

// filled fills a directory anew unless it was filled whole with pins of the same
// content, for the same version of the program that will use it.
func filled(t *testing.T, dir, pins, version string, fill func()) {
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
