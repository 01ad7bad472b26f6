package backends

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestAdapters: an adapter that nobody uses any more is taken to be in memory until
// others need the room; a restart, and silence, forget everything.
func TestAdapters(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		began, told := 1, 0
		tell := func(running, waiting string) {
			told++
			e.says("/metrics", metrics(fmt.Sprintf("process_start_time_seconds %d\nvllm:num_requests_running 1\n"+
				"vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=%q,waiting_lora_adapters=%q} %d\n", 1000*began, running, waiting, told)))
			w.wait(2500 * time.Millisecond)
		}
		held := func(want ...string) {
			t.Helper()
			assert.Equal(t, want, ep.watch.adapters.Load().held)
		}
		queued := func(model string) bool {
			absent, queued := w.m.Adapters(model, time.Now())
			assert.Zero(t, absent)
			return queued.Has(0)
		}
		w.retain()
		assert.False(t, queued("b")) // nobody told yet
		tell("a", "b")
		held("a")
		assert.True(t, queued("b"))
		assert.False(t, queued("a"))
		assert.False(t, queued("c")) // which nobody knows: it may be no adapter
		tell("", "")
		held("a")
		tell("b", "")
		held("b", "a")
		tell("c,a", "b")
		held("c", "a")
		shown := ep.Told(time.Now())
		assert.Equal(t, []string{"c", "a"}, shown.Held)
		assert.Equal(t, []string{"b"}, shown.Queued)
		assert.True(t, queued("b"))
		began++
		tell("b", "a")
		held("b")
		e.says("/metrics", page("text/html", "<html>"))
		w.wait(2 * adapterStale)
		assert.False(t, queued("a"))
		assert.Nil(t, ep.Told(time.Now()).Held)
		tell("", "a")
		w.wait(watchBackoff)
		assert.True(t, queued("a"))
		e.says("/metrics", metrics("vllm:num_requests_running 1\n"))
		w.wait(2 * time.Second)
		assert.Nil(t, ep.watch.adapters.Load())
		assert.False(t, queued("a"))
	})
}
