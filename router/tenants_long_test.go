//go:build long && !race

package router

// Whether a tenant can tell by the clock what others have asked.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testtiming"
)

// The time of a question that another tenant has asked is that of one which nobody
// has; where tenants are to share it is not, which shows that the test can tell.
func TestTimeOfOthersAnswers(t *testing.T) {
	f := func(rule string) float64 {
		keys, hashes := make([]string, 2), make([]string, 2)
		for i := range keys {
			keys[i], hashes[i] = newKey(t)
		}
		config := strings.Replace(remembering(newReplier(t, jsonAnswer(whole)), rule), "auth: {anonymous: all}\ntenants: [{name: all}]", fmt.Sprintf(
			"tenants:\n  - {name: a, keys: [{name: k, hash: %q}]}\n  - {name: b, keys: [{name: k, hash: %q}]}", hashes[0], hashes[1]), 1)
		w := newWorld(t, config)
		const digits = "000000000000"
		ask := func(key string) func(question uint64) {
			raw := []byte(chat(strings.Replace(zero, "hi", digits, 1), bearerLine(key)))
			at := bytes.Index(raw, []byte(digits))
			once := w.loopOf(t, raw, "}}")
			return func(question uint64) {
				copy(raw[at:], fmt.Sprintf("%012d", question))
				once()
			}
		}
		other, own := ask(keys[0]), ask(keys[1])
		var asked, fresh []float64
		for n := range 20_000 {
			question := rand.Uint64() % 1e12
			known := rand.IntN(2) == 0
			if known {
				other(question)
			} else {
				other(rand.Uint64() % 1e12) // the machine does the same before
			}
			began := time.Now()
			own(question)
			switch took := float64(time.Since(began)); {
			case n < 1000:
			case known:
				asked = append(asked, took)
			default:
				fresh = append(fresh, took)
			}
		}
		return testtiming.MannWhitney(asked, fresh)
	}
	// What the machine does besides can make a difference once; a leak does each time.
	const unlikely = 0.001
	p := 0.0
	for try := 0; try < 4 && p < unlikely; try++ {
		p = f("")
		t.Logf("apart: p = %.3g", p)
	}
	require.GreaterOrEqual(t, p, unlikely, "the time tells what another tenant has asked")
	p = f(", scope: model")
	t.Logf("shared: p = %.3g", p)
	assert.Less(t, p, 1e-9, "the test cannot tell a hit from a miss")
}
