package router

// The pure parts: who is tried again, what errors look like, which path means
// what.

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
)

// allFailures is every failure a try can have: phase × timeout × gone.
func allFailures() (list []*backends.Failure) {
	for phase := backends.PhaseConnect; phase <= backends.PhaseBody; phase++ {
		for _, timeout := range []bool{false, true} {
			for _, gone := range []bool{false, true} {
				list = append(list, &backends.Failure{Phase: phase, Timeout: timeout, Gone: gone, Backend: "http://b", Err: errors.New("x")})
			}
		}
	}
	return list
}

func TestJudge(t *testing.T) {
	for _, more := range []bool{false, true} {
		for status := 100; status < 600; status++ {
			want := Delivered
			switch status {
			case 401, 404, 408, 425, 429, 500, 502, 503, 504, 529:
				if more {
					want = TryAnother
				}
			}
			assert.Equal(t, want, judge(trial{status: status}, more), "status %d, more %v", status, more)
		}
		for _, f := range allFailures() {
			again := f.Phase == backends.PhaseConnect || !f.Timeout && f.Phase != backends.PhaseBody
			want := GiveUp
			switch {
			case f.Gone:
				want = ClientGone
			case again && more:
				want = TryAnother
			}
			assert.Equal(t, want, judge(trial{failure: f}, more), "%+v, more %v", *f, more)
		}
	}
}

func TestBlame(t *testing.T) {
	for _, f := range allFailures() {
		want := helixflow.KindBackendBroken
		switch {
		case f.Gone:
			want = helixflow.KindClientGone
		case f.Phase == backends.PhaseConnect:
			want = helixflow.KindNoBackend
		case f.Timeout:
			want = helixflow.KindBackendTimeout
		}
		p := blame(f)
		assert.Equal(t, want, p.Kind)
		assert.NotContains(t, string(problemBody(nil, p)), "http://b", "the caller learns no backend's name")
	}
}

func TestEveryKindHasItsForm(t *testing.T) {
	for k := helixflow.KindInternal; k < helixflow.NumKinds; k++ {
		f := forms[k]
		assert.True(t, f.status >= 400 && f.status < 600, "%v", k)
		assert.NotEmpty(t, f.text, "%v", k)
		assert.Equal(t, f.status >= 500 || f.status == 499, f.typ == typeServer, "%v", k)
		assert.Regexp(t, `^[A-Z].*\.$`, f.text, "%v", k)
		assert.Equal(t, strings.ToLower(f.code), f.code)
		for _, param := range []string{"", "model"} {
			var object map[string]map[string]any
			body := problemBody(nil, &helixflow.Error{Kind: k, Param: param})
			require.NoError(t, json.Unmarshal(body, &object))
			require.Len(t, object, 1)
			inner := object["error"]
			require.Len(t, inner, 4, "%s", body)
			assert.Equal(t, f.text, inner["message"])
			assert.Equal(t, f.typ, inner["type"])
			for _, key := range []string{"param", "code"} {
				_, present := inner[key]
				assert.True(t, present, "%s: no %s", body, key)
			}
		}
	}
}

func TestRetryHeaders(t *testing.T) {
	f := func(p *helixflow.Error, want string) {
		t.Helper()
		got := strings.NewReplacer(": ", "=", "\r\n", " ").Replace(string(appendRetryHeaders(nil, p)))
		assert.Equal(t, want, strings.TrimSpace(got))
	}
	f(&helixflow.Error{Kind: helixflow.KindInvalidJSON}, "")
	f(&helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: 1500 * time.Millisecond}, "x-should-retry=true retry-after=2 retry-after-ms=1500")
	f(&helixflow.Error{Kind: helixflow.KindBackendCredential}, "x-should-retry=false")
	f(&helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: -time.Second}, "x-should-retry=true")
}

func TestFind(t *testing.T) {
	f := func(path string, op helixflow.Op, model string) {
		t.Helper()
		p := find([]byte(path))
		assert.Equal(t, op, p.op, "%q", path)
		assert.Equal(t, model, string(p.model), "%q", path)
	}
	f("/v1/chat/completions", helixflow.OpChatCompletions, "")
	f("/chat/completions", helixflow.OpChatCompletions, "")
	f("/v1/completions", helixflow.OpCompletions, "")
	f("/v1/responses", helixflow.OpResponses, "")
	f("/v1/responses/compact", helixflow.OpResponsesCompact, "")
	f("/v1/embeddings", helixflow.OpEmbeddings, "")
	f("/v1/moderations", helixflow.OpModerations, "")
	f("/v1/audio/speech", helixflow.OpSpeech, "")
	f("/audio/transcriptions", helixflow.OpTranscriptions, "")
	f("/v1/videos", helixflow.OpVideos, "")
	f("/tokenize", helixflow.OpTokenize, "")
	f("/v1/tokenize", helixflow.OpTokenize, "")
	f("/v2/rerank", helixflow.OpRerank, "")
	f("/rerank", helixflow.OpRerank, "")
	f("/v1/models", helixflow.OpListModels, "")
	f("/v1/models/m", helixflow.OpGetModel, "m")
	f("/models/org/m:8b", helixflow.OpGetModel, "org/m:8b")
	f("/v1/models/org%2Fm%3a8b", helixflow.OpGetModel, "org/m:8b")
	f("/v1/models/a%20b", helixflow.OpGetModel, "a b")
	// Stray slashes.
	f("/v1/chat/completions/", helixflow.OpChatCompletions, "")
	f("/v1/chat/completions//", helixflow.OpChatCompletions, "")
	f("//v1//chat/completions", helixflow.OpChatCompletions, "")
	f("/v1/models/", helixflow.OpListModels, "")
	f("/v1/models/a/", helixflow.OpGetModel, "a")
	// Azure's prefixes.
	f("/openai/v1/chat/completions", helixflow.OpChatCompletions, "")
	f("/openai/v1/models", helixflow.OpListModels, "")
	f("/openai/embeddings", helixflow.OpEmbeddings, "")
	f("/openai/deployments/gpt-4o/chat/completions", helixflow.OpChatCompletions, "gpt-4o")
	f("/openai/deployments/org%2Fm/audio/transcriptions", helixflow.OpTranscriptions, "org/m")
	for _, unknown := range []string{
		"", "/", "/v1", "/v1/", "*", "v1/models", "/V1/models", "/v1/Models", "/v1/v1/models",
		"/v1/chat%2Fcompletions", "/v1/chat/./completions", "/v1/x/../models", "/v1/models/.", "/v1/models/..", "/v1/models/a/../b",
		"/v1/models/%2e%2e", "/v1/models/a%2f%2e%2e%2fb", "/v1/models/%2Fa", "/v1/models/a%25b", "/v1/models/%252e",
		"/v1/models/%", "/v1/models/%2", "/v1/models/%zz", "/v1/models/%+1", "/v1/models/%00", "/v1/models/a%0d%0ab", "/v1/models/a%7f", "/v1/models/a\\b", "/v1/models/a%5cb",
		"http://host/v1/models", "/v1/models#x", "/v1/chat/completions;x", "/v1/completions/x", "/v1/responses/resp_1",
		"/openai", "/openai/", "/openai/v2/models", "/openai/deployments/m", "/openai/deployments//embeddings",
		"/openai/deployments/%2e%2e/chat/completions", "/openai/deployments/m%252f/chat/completions", "/openai/deployments/m/models",
		"/openai/deployments/m/v1/chat/completions",
	} {
		f(unknown, helixflow.OpUnknown, "")
	}
}

func TestAdministrative(t *testing.T) {
	f := func(path string, want bool) {
		t.Helper()
		assert.Equal(t, want, administrative(find([]byte(path)).clean), "%q", path)
	}
	f("/v1/organization", true)
	f("/v1/organization/admin_api_keys", true)
	f("/organization/users", true)
	f("//v1//projects/", true)
	f("/openai/v1/organization/costs", true)
	f("/v1/organizations", false)
	f("/v1/models/organization", false)
}

func TestWithoutParameter(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		assert.Equal(t, want, string(withoutParameter([]byte(query), "api-version")))
	}
	f("", "")
	f("a=b", "a=b")
	f("api-version=2024-10-21", "")
	f("a=b&api-version=2024-10-21&c=d", "a=b&c=d")
	f("x-api-version=1", "x-api-version=1")
}

func TestKeyInQuery(t *testing.T) {
	f := func(query string, want bool) {
		t.Helper()
		assert.Equal(t, want, keyInQuery([]byte(query)), "%q", query)
	}
	f("", false)
	f("beta=true", false)
	f("a=b&api_key=x", true)
	f("API-KEY=x", true)
	f("apikey=x", true)
	f("key=x", true)
	f("token", true)
	f("access_token=x&a=b", true)
	f("Authorization=Bearer%20x", true)
	f("max_tokens=5&keys=a&tokens=b", false)
	f("a=sk-hfx_live_1_2_3", true)
}

func FuzzFind(f *testing.F) {
	for _, seed := range []string{"/v1/models/a", "/models/%2e%2e/a", "/v1/models/a%2Fb%25", "/v1/chat/completions", "//v1/models/", "/openai/deployments/a%2Fb/embeddings"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := find([]byte(path))
		require.NotContains(t, string(p.clean), "//")
		if p.op == helixflow.OpUnknown {
			return
		}
		require.True(t, strings.HasPrefix(path, "/"))
		for seg := range strings.SplitSeq(string(p.model), "/") {
			require.NotContains(t, []string{".", ".."}, seg)
			require.True(t, seg != "" || len(p.model) == 0)
		}
		require.False(t, strings.ContainsAny(string(p.model), "%\\\x00\r\n"), "%q", p.model)
		require.NotContains(t, path, "%25")
	})
}
