package authn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMayUse(t *testing.T) {
	f := func(models []string, model string, want bool) {
		t.Helper()
		assert.Equal(t, want, Anonymous("acme", models).MayUse([]byte(model)), "%q in %q", model, models)
	}
	f(nil, "anything", true)
	f([]string{}, "", true)
	f([]string{"llama"}, "llama", true)
	f([]string{"llama"}, "llama-3", false)
	f([]string{"llama"}, "LLAMA", false)
	f([]string{"llama-*"}, "llama-3", true)
	f([]string{"llama-*"}, "llama-", true)
	f([]string{"llama-*"}, "llama", false)
	f([]string{"llama-*"}, "my-llama-3", false)
	f([]string{"*"}, "", true)
	f([]string{"*"}, "org/model:7b", true)
	f([]string{"org/model:*"}, "org/model:7b", true)
	f([]string{"a", "b*"}, "bc", true)
	f([]string{"a", "b*"}, "", false)
	f([]string{"a"}, "a*", false)
}

func TestAnonymousCopiesItsModels(t *testing.T) {
	models := []string{"a"}
	p := Anonymous("acme", models)
	models[0] = "b"
	assert.True(t, p.MayUse([]byte("a")))
	assert.False(t, p.MayUse([]byte("b")))
}

func TestAllowed(t *testing.T) {
	p := Anonymous("acme", nil)
	granted := map[int]bool{0: true, 63: true, 64: true, 200: true}
	assert.False(t, p.Allowed(0), "nothing is granted at first")
	for route := range granted {
		p.Allow(route)
	}
	for route := -65; route < 400; route++ {
		require.Equal(t, granted[route], p.Allowed(route), "route %d", route)
	}
}

func TestPrincipalAllocs(t *testing.T) {
	p := Anonymous("acme", []string{"gpt-4o", "llama-*"})
	p.Allow(70)
	model, other := []byte("llama-3.1-70b-instruct"), []byte("a-name-long-enough-not-to-fit-a-small-buffer")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if !p.MayUse(model) || p.MayUse(other) || !p.Allowed(70) || p.Allowed(7000) {
			t.Error("wrong answer")
		}
	}))
}
