//go:build integration

// A client's program, that does one order after the other.

package compat

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/outside"
)

// patience bounds one order. The first waits for the program, which may be large.
const patience = time.Minute

// driver is a running program. Not safe for concurrent use.
type driver struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
	kill   context.CancelFunc
}

// startDriver runs the program until the test ends.
func startDriver(t *testing.T, r runtime, client *Client) *driver {
	ctx, kill := context.WithCancel(context.Background()) // t's is over before its cleanup
	cmd := exec.CommandContext(ctx, r.program, append(r.args[:len(r.args):len(r.args)], client.Driver)...)
	cmd.Dir = r.dir
	cmd.Env = plainEnv()
	var stderr outside.Output
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close() // it ends by itself then
		timer := time.AfterFunc(patience, kill)
		defer timer.Stop()
		defer kill()
		assert.NoError(t, cmd.Wait(), "the client's program did not end well")
		if t.Failed() {
			t.Logf("the client on stderr:\n%s", stderr.String())
		}
	})
	return &driver{stdin: stdin, stdout: bufio.NewReader(stdout), kill: kill}
}

// do returns the answer as it was written, too, and how long it took.
func (d *driver) do(t *testing.T, o Order) (a Answer, raw string, took time.Duration) {
	t.Helper()
	line, err := json.Marshal(o)
	require.NoError(t, err)
	timer := time.AfterFunc(patience, d.kill)
	defer timer.Stop()
	start := time.Now()
	_, err = d.stdin.Write(append(line, '\n'))
	require.NoError(t, err, "the client's program is gone")
	raw, err = d.stdout.ReadString('\n')
	took = time.Since(start)
	require.NoError(t, err, "no answer within %v", patience)
	require.NoError(t, json.Unmarshal([]byte(raw), &a), "the client's program printed %q", raw)
	require.Empty(t, a.Bug, "the client's program has a bug")
	return a, raw, took
}
