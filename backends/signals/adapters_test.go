package signals

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdapters: the newest line counts, and a text that makes no sense tells nothing.
func TestAdapters(t *testing.T) {
	f := func(text, running, waiting string, most int) {
		t.Helper()
		for _, piece := range []int{1, 7, 1 << 20} {
			s := NewScanner(Of("vllm"))
			s.Reset()
			for rest := []byte(text); len(rest) > 0; {
				n := min(piece, len(rest))
				require.NoError(t, s.Feed(rest[:n]))
				rest = rest[n:]
			}
			_ = s.Report()
			a, b, n, ok := s.Adapters()
			if most < 0 {
				assert.False(t, ok, text)
				continue
			}
			assert.True(t, ok, text)
			assert.Equal(t, []any{running, waiting, most}, []any{string(a), string(b), n}, text)
		}
	}
	line := func(running, waiting, most, at string) string {
		return fmt.Sprintf("vllm:lora_requests_info{max_lora=%q,running_lora_adapters=%q,waiting_lora_adapters=%q} %s\n", most, running, waiting, at)
	}
	f("", "", "", -1)
	f("vllm:num_requests_running 3\n", "", "", -1)
	f(line("", "", "4", "1.7e9"), "", "", 4)
	f(line("a,b", "c", "2", "1.7e9"), "a,b", "c", 2)
	f(line("old", "", "2", "1.6e9")+line("new", "", "2", "1.7e9")+line("older", "", "2", "1.5e9"), "new", "", 2)
	f(strings.Replace(line("a", "", "2", "5"), "vllm:", "vllm_", 1), "a", "", 2)
	f(line("a", "", "many", "5"), "a", "", 0)
	f(line("a", "", "-1", "5"), "a", "", 0)
	f(line("a", "", "1e9", "5"), "a", "", 0)
	f("vllm:lora_requests_info 5\n", "", "", 0)
	f(line("a", "", "2", "NaN"), "", "", -1)
	f(line("a", "", "2", "1e300"), "", "", -1)
	f(line("a", "", "2", "5")+"vllm:lora_requests_info{oops 5\n", "", "", -1)
	f("vllm:lora_requests_info{oops 5\n"+line("a", "", "2", "5"), "", "", -1)
	f(line(strings.Repeat("a,", maxLine), "", "2", "5"), "", "", -1)

	var names []string
	EachAdapter([]byte(" a,,b , c"), func(name []byte) { names = append(names, string(name)) })
	assert.Equal(t, []string{"a", "b", "c"}, names)
	assert.True(t, Of("vllm").TellsAdapters())
	assert.False(t, Of("sglang").TellsAdapters())
}
