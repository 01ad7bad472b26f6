//go:build !race

package router

// Whether a client can tell by the clock what is wrong with its key.

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testtiming"
)

func TestTimeOfA401(t *testing.T) { timeOfA401(t, 3000) }

// timeOfA401 fails if the time from a request to its refusal, over a connection to
// this machine, tells an unknown id, a wrong secret and a revoked key apart. What
// else the machine does can make a difference once; a leak does each time.
func timeOfA401(t *testing.T, samples int) {
	t.Helper()
	const each = 32
	requestOf := func(key string) []byte {
		return []byte("GET /v1/models HTTP/1.1\r\nHost: test\r\n" + bearerLine(key) + "\r\n\r\n")
	}
	var lines []string
	var unknown, wrong, revoked [][]byte
	for i := range each {
		stranger, _ := newKey(t)
		unknown = append(unknown, requestOf(stranger))
		_, hash := newKey(t)
		wrong = append(wrong, requestOf(keyWithID(t, hash[7:19])))
		lines = append(lines, fmt.Sprintf("{name: w%d, hash: %q}", i, hash))
		key, hash := newKey(t)
		revoked = append(revoked, requestOf(key))
		lines = append(lines, fmt.Sprintf("{name: r%d, hash: %q, revoked: true}", i, hash))
	}
	w := newWorld(t, tenantOf(t, "auth: {failures_per_minute: 0}", lines...))
	conn := w.dial(t)
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Minute)))
	br := bufio.NewReader(conn)
	ask := func(request []byte) {
		_, err := conn.Write(request)
		require.NoError(t, err)
		_, err = br.Peek(1)
		require.NoError(t, err)
		head := br.Buffered()
		_, err = io.CopyN(io.Discard, br, int64(head)) // it is one small write
		require.NoError(t, err)
	}
	worst := testtiming.Difference{T: testtiming.Leaky}
	for try := 0; try < 4 && worst.T >= testtiming.Leaky; try++ {
		worst = testtiming.Differ([][][]byte{unknown, wrong, revoked}, samples, ask)
		t.Logf("%d samples of each of 3 classes: %v", samples, worst)
	}
	require.Less(t, worst.T, testtiming.Leaky)
}
