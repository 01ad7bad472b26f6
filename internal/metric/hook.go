package metric

// What is counted per hook.

import (
	"sync/atomic"
	"time"
)

// HookResult is what came of asking a hook.
type HookResult uint8

// The results.
const (
	HookAllowed  HookResult = iota
	HookDenied              // the caller got an error instead
	HookReplaced            // the body was replaced
	HookFailed              // no reply, or one that makes no sense
	HookTimedOut            // no reply in time
	HookBusy                // it was not asked: as many questions as are allowed were under way
	HookUnseen              // it was not asked: what it is to see could not be shown
	HookLeft                // the caller left meanwhile, or the router's drain ended
	numHookResults
)

var hookResultNames = [numHookResults]string{"allow", "deny", "replace", "error", "timeout", "busy", "unseen", "left"}

// String returns the result as metrics and logs write it.
func (r HookResult) String() string { return hookResultNames[r] }

// hookPhases are the values of the label "phase".
var hookPhases = [...]string{"before", "after"}

// HookSeries is what is counted per hook. Its methods are safe for concurrent
// use, take no lock and do not allocate.
type HookSeries struct {
	name      string
	results   [len(hookPhases)][numHookResults]atomic.Uint64
	durations [len(hookPhases)]histogram
}

func newHookSeries(name string) *HookSeries {
	s := &HookSeries{name: name}
	for i := range s.durations {
		s.durations[i].bounds = hookBounds
	}
	return s
}

// Asked counts one look at a request, or at an answer where after is true, and
// times it.
func (s *HookSeries) Asked(after bool, result HookResult, took time.Duration) {
	phase := 0
	if after {
		phase = 1
	}
	s.results[phase][result].Add(1)
	if result != HookUnseen && result != HookBusy {
		s.durations[phase].observe(took)
	}
}

// writeHooks writes the families that have a hook label.
func writeHooks(t *text, hooks []*HookSeries) {
	if len(hooks) == 0 {
		return
	}
	t.family(hookRequests)
	for _, s := range hooks {
		for phase := range s.results {
			for result := range s.results[phase] {
				if n := s.results[phase][result].Load(); n > 0 {
					t.sample(hookRequests.name, n, "hook", s.name, "phase", hookPhases[phase], "result", hookResultNames[result])
				}
			}
		}
	}
	t.family(hookDuration)
	for _, s := range hooks {
		for phase := range s.durations {
			s.durations[phase].write(t, hookDuration.name, "hook", s.name, "phase", hookPhases[phase])
		}
	}
}
