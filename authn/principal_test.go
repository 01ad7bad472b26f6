package authn

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
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

func TestKeyModelsNarrow(t *testing.T) {
	f := func(tenant, key []string, model string, want bool) {
		t.Helper()
		r := Rights{Models: tenant, KeyModels: key}
		assert.Equal(t, want, r.MayUse([]byte(model)), "%q in %q and %q", model, tenant, key)
	}
	f(nil, nil, "a", true)
	f(nil, []string{"a"}, "a", true)
	f(nil, []string{"a"}, "b", false)
	f([]string{"a*"}, []string{"ab"}, "ab", true)
	f([]string{"a*"}, []string{"ab"}, "ac", false)
	f([]string{"a*"}, []string{"*"}, "b", false)
	f([]string{"a*"}, []string{"b"}, "b", false)
}

func TestMayCall(t *testing.T) {
	f := func(patterns string, op helixflow.Op, want bool) {
		t.Helper()
		r := Rights{Endpoints: Endpoints(strings.Fields(patterns))}
		assert.Equal(t, want, r.MayCall(op), "%s in %q", op, patterns)
	}
	for op := range helixflow.NumOps {
		f("", op, true)
		f("*", op, true)
		f("nothing_like_it", op, false)
		f("embeddings", op, op == helixflow.OpEmbeddings)
	}
	f("image_* embeddings", helixflow.OpImageEdits, true)
	f("image_* embeddings", helixflow.OpEmbeddings, true)
	f("image_* embeddings", helixflow.OpChatCompletions, false)
	f("responses", helixflow.OpResponsesCompact, false)
	assert.Equal(t, []string{"embeddings", "image_generations", "image_edits", "image_variations"}, Endpoints([]string{"image_*", "embeddings"}).Names())
	assert.Nil(t, Endpoints(nil).Names())
	assert.True(t, new(Rights).MayCall(helixflow.OpSpeech))
}

func TestMayCallFrom(t *testing.T) {
	f := func(prefixes, addr string, want bool) {
		t.Helper()
		var from []netip.Prefix
		for p := range strings.FieldsSeq(prefixes) {
			from = append(from, netip.MustParsePrefix(p))
		}
		r := Rights{From: Addresses(from)}
		var a netip.Addr
		if addr != "" {
			a = netip.MustParseAddr(addr)
		}
		assert.Equal(t, want, r.MayCallFrom(a), "%s in %s", addr, prefixes)
	}
	f("10.0.0.0/8 192.0.2.1/32", "10.1.2.3", true)
	f("10.0.0.0/8 192.0.2.1/32", "192.0.2.1", true)
	f("10.0.0.0/8 192.0.2.1/32", "192.0.2.2", false)
	f("10.0.0.0/8", "::ffff:10.1.2.3", true)
	f("2001:db8::/32", "2001:db8::1", true)
	f("2001:db8::/32", "10.1.2.3", false)
	f("0.0.0.0/0", "", false)
	assert.True(t, new(Rights).MayCallFrom(netip.Addr{}))
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
