//go:build integration

// The runner: builds the binary, makes the keys, runs the scripts.

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/tests/outside"
)

// bench is what the scripts share; set before any runs, then read only.
type bench struct {
	root, bin string
	vars      map[string]string
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScripts(t *testing.T) {
	b, err := newBench(t.TempDir())
	require.NoError(t, err)
	files, err := filepath.Glob("*.txtar")
	require.NoError(t, err)
	var timed, others []string
	for _, f := range files {
		if strings.HasPrefix(f, "hangup") || strings.HasPrefix(f, "alldown") {
			timed = append(timed, f)
		} else {
			others = append(others, f)
		}
	}
	t.Run("alone", func(t *testing.T) { testscript.RunT(alone{t}, b.params(timed)) })
	t.Run("together", func(t *testing.T) { testscript.Run(t, b.params(others)) })
}

// alone is a testscript.T that runs scripts one after the other.
type alone struct{ *testing.T }

func (alone) Parallel() {}

func (alone) Verbose() bool { return testing.Verbose() }

func (a alone) Run(name string, f func(testscript.T)) {
	a.T.Run(name, func(t *testing.T) { f(alone{t}) })
}

func newBench(dir string) (*bench, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, bin: os.Getenv("HELIXFLOW_BIN"), vars: map[string]string{"ROOT": root}}
	if b.bin == "" {
		b.bin = filepath.Join(dir, "helixflow")
		build := exec.Command("go", "build", "-o", b.bin, "./cmd/helixflow")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot build helixflow: %w\n%s", err, out)
		}
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return nil, err
	}
	return b, errors.Join(b.makeKey("KEY"), b.makeKey("KEY2"))
}

func (b *bench) makeKey(name string) error {
	out, err := exec.Command(b.bin, "keys", "new", "--json").Output()
	if err != nil {
		return fmt.Errorf("cannot make a key: %w", err)
	}
	var key struct{ Key, Hash, ID string }
	if err := json.Unmarshal(out, &key); err != nil {
		return fmt.Errorf("cannot read keys new --json: %w", err)
	}
	b.vars[name], b.vars[name+"_HASH"], b.vars[name+"_ID"] = key.Key, key.Hash, key.ID
	return nil
}

func (b *bench) params(files []string) testscript.Params {
	return testscript.Params{
		Files:              files,
		RequireUniqueNames: true,
		ContinueOnError:    true,
		Setup:              b.setup,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"helixflow":  on((*world).helixflow),
			"router":     on((*world).router),
			"cert":       on((*world).cert),
			"fake":       on((*world).fake),
			"idp":        on((*world).idp),
			"token":      on((*world).token),
			"authority":  on((*world).authority),
			"client":     on((*world).client),
			"http":       on((*world).http),
			"join":       on((*world).join),
			"refused":    on((*world).refused),
			"raw":        on((*world).raw),
			"hangup":     on((*world).hangup),
			"bystanders": on((*world).bystanders),
			"ws":         on((*world).ws),
		},
	}
}

func (b *bench) setup(env *testscript.Env) error {
	w := newWorld(b, env.T().(testing.TB))
	for k, v := range b.vars {
		w.vars[k] = v
		env.Setenv(k, v)
	}
	dead, err := outside.Address()
	if err != nil {
		return err
	}
	w.vars["DEAD"] = dead
	env.Setenv("DEAD", dead)
	env.Values[worldKey{}] = w
	env.Defer(w.close)
	return nil
}
