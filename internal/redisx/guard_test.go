package redisx

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		var r reply
		assert.Equal(t, want, r.follow([]byte(text)), "%.80q", text)
	}
	f("", true)
	f("+OK\r\n-ERR x\r\n:-12\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n", true)
	f("$5\r\n*9999\r\n:1\r\n", true)
	f("$67108864\r\nx", true)
	f("$67108865\r\n", false)
	f("$99999999999999999999999\r\n", false)
	f("*65536\r\n", true)
	f("*65537\r\n", false)
	f("*2000000000\r\n", false)
	f(strings.Repeat("*1\r\n", maxDepth)+":1\r\n", true)
	f(strings.Repeat("*1\r\n", maxDepth+1), false)
	f(strings.Repeat("*2\r\n:1\r\n", maxDepth+1), false)
	f(strings.Repeat("*2\r\n:1\r\n:2\r\n", 100), true)
	f(strings.Repeat("*2\r\n$1\r\nx\r\n*1\r\n+a\r\n", 100), true)
	f("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n*1\r\n", true)
	f(":12345678901234567890\r\n", true)
}

// However a reply is cut into pieces, it is judged the same.
func FuzzGuard(f *testing.F) {
	f.Add("*2\r\n$3\r\nabc\r\n:1\r\n", uint8(3))
	f.Add("*9\r\n*9\r\n*70000\r\n", uint8(1))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		var whole, pieces reply
		want, got := whole.follow([]byte(text)), true
		for rest := []byte(text); len(rest) > 0 && got; {
			n := min(int(size)+1, len(rest))
			got = pieces.follow(rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, want, got)
		if want {
			require.Equal(t, whole, pieces)
			require.LessOrEqual(t, whole.skip, int64(maxBulk+2))
		}
	})
}
