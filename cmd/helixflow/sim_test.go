// These tests start simulated engines by the command line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSimServesUntilStopped(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	read, write := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"sim", "--listen", "127.0.0.1:0", "--model", "llama", "--model", "qwen", "--seed", "7", "--json"},
			&Env{Stdout: write, Stderr: &stderr, Ctx: ctx})
	}()
	line, err := bufio.NewReader(read).ReadString('\n')
	require.NoError(t, err)
	var announced struct {
		BaseURL string `json:"base_url"`
	}
	require.NoError(t, json.Unmarshal([]byte(line), &announced))

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(announced.BaseURL + "/models")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Contains(t, string(body), `"llama"`)
	assert.Contains(t, string(body), `"qwen"`)

	stop()
	assert.Equal(t, exitGood, <-code)
	assert.Empty(t, stderr.String())
	_, err = client.Get(announced.BaseURL + "/models")
	assert.Error(t, err, "the listener is closed")
}

func TestSimRefuses(t *testing.T) {
	f := func(code int, want string, args ...string) {
		t.Helper()
		r := helixflow("", append([]string{"sim"}, args...)...)
		assert.Equal(t, code, r.code)
		assert.Empty(t, r.stdout)
		assert.Contains(t, r.stderr, want)
	}
	f(exitUsage, "h100-8b", "--preset", "h200")
	f(exitUsage, "time scale", "--time-scale", "0.0000001")
	f(exitUsage, "seed", "--seed", "x")
	f(exitProblem, "cannot listen", "--listen", "127.0.0.1:99999")
}

// TestSimThatCannotSpeakStops: nobody would know its address.
func TestSimThatCannotSpeakStops(t *testing.T) {
	var stderr strings.Builder
	code := run([]string{"sim", "--listen", "127.0.0.1:0"}, &Env{Stdout: fullDisk{}, Stderr: &stderr, Ctx: context.Background()})
	assert.Equal(t, exitProblem, code)
}
