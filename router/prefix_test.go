package router

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// prefixed is a plan with nothing but these prefixes.
func prefixed(paths ...string) *Snapshot {
	s := &Snapshot{}
	for _, p := range paths {
		s.prefixes = append(s.prefixes, &prefix{path: p, admin: administrative([]byte(p))})
	}
	slices.SortStableFunc(s.prefixes, func(a, b *prefix) int { return len(b.path) - len(a.path) })
	return s
}

func TestFindPrefix(t *testing.T) {
	s := prefixed("/v1/files", "/v1/files/special", "/v1/fine_tuning", "/api", "/v1/models")
	f := func(s *Snapshot, raw, wantPrefix, wantPath string) {
		t.Helper()
		b, ok := s.findPrefix(find([]byte(raw)).clean)
		assert.Equal(t, wantPrefix != "", ok, raw)
		if ok {
			assert.Equal(t, wantPrefix, b.prefix.path, raw)
			assert.Equal(t, wantPath, string(b.path), raw)
		}
	}
	f(s, "/v1/files", "/v1/files", "/v1/files")
	f(s, "/v1/files/file-1/content", "/v1/files", "/v1/files/file-1/content")
	f(s, "/files/file-1", "/v1/files", "/v1/files/file-1")
	f(s, "//v1///files/", "/v1/files", "/v1/files")
	f(s, "/openai/v1/files/file-1", "/v1/files", "/v1/files/file-1")
	f(s, "/openai/files", "/v1/files", "/v1/files")
	f(s, "/v1/files/special/x", "/v1/files/special", "/v1/files/special/x")
	f(s, "/v1/files/specially", "/v1/files", "/v1/files/specially")
	f(s, "/v1/models/ft:gpt-4o:acme::1", "/v1/models", "/v1/models/ft:gpt-4o:acme::1")
	f(s, "/v1/models/ft%3Agpt-4o", "/v1/models", "/v1/models/ft%3Agpt-4o")
	f(s, "/api/tags", "/api", "/api/tags")
	f(s, "/v1/fine_tuning/jobs/a%40b%2bc", "/v1/fine_tuning", "/v1/fine_tuning/jobs/a%40b%2bc")
	for _, raw := range []string{
		"/v1/filesystem", "/v1/file", "/v1", "/", "", "/v1/api/tags", "/apix", "/v2/files", "/v1/batches", "x/v1/files",
		"/v1/files/.", "/v1/files/..", "/v1/files/../batches", "/v1/files/./file-1", "/v1/files/%2e%2e/x", "/v1/files/%2E./x", "/v1/files/.%2e",
		"/v1/files/%252e%252e/x", "/v1/files/a%2fb", "/v1/files/a%2Fb", "/v1/files/a%5cb", `/v1/files/a\b`, "/v1/files/a%25b", "/v1/files/a%00", "/v1/files/a%0a",
		"/v1/files/a%7f", "/v1/files/a%20", "/v1/files/a b", "/v1/files/a%", "/v1/files/a%4", "/v1/files/a%zz", "/v1/files/%66ile", "/v1/%66iles/file-1",
		"/v1/files/a;b", "/v1/files/a%3bb", "/v1/files/..;/x", "/v1/files/a%3fb", "/v1/files/a%23b", "/v1/files/a#b", "/v1/files/\xc0\xae\xc0\xae", "/v1/files/%c0%ae",
		"/v1/files/é", "/v1/files/%c3%a9", "/v1/files/a\"b", "/v1/files/<a>", "/openai/deployments/m/files",
	} {
		f(s, raw, "", "")
	}

	// A wide prefix takes nothing that is refused or served otherwise in its own spelling.
	wide := prefixed("/v1")
	f(wide, "/v1/anything/at-all", "/v1", "/v1/anything/at-all")
	f(wide, "/anything", "/v1", "/v1/anything")
	for _, raw := range []string{
		"/v1/organization", "/v1/organization/admin_api_keys", "/organization/x", "/projects", "/v1/Organization/x", "/v1/PROJECTS",
		"/v1/chat/Completions", "/Chat/completions", "/v1/%6frganization/x", "/v1/x/../organization", "/v1/organization;/x",
	} {
		f(wide, raw, "", "")
	}
	admin := prefixed("/v1", "/v1/organization/usage")
	f(admin, "/v1/organization/usage/completions", "/v1/organization/usage", "/v1/organization/usage/completions")
	f(admin, "/v1/organization/admin_api_keys", "", "")

	f(&Snapshot{}, "/v1/files", "", "")
}

func TestNextID(t *testing.T) {
	f := func(rest string, want ...string) {
		t.Helper()
		var got []string
		for id, after := nextID([]byte(rest)); id != nil; id, after = nextID(after) {
			got = append(got, string(decodedSegment(id)))
		}
		assert.Equal(t, want, got, rest)
	}
	f("")
	f("/content")
	f("/file-1", "file-1")
	f("/file-1/content", "file-1")
	f("/vs_1/files/file-1", "vs_1", "file-1")
	f("/jobs/ftjob-1/checkpoints/ftckpt_1", "ftjob-1", "ftckpt_1")
	f("/thread_1/runs/run_1/steps/step_1", "thread_1", "run_1", "step_1")
	f("/runs")
	f("/alpha/graders/run")
	f("/ft%3Agpt-4o%40x", "ft:gpt-4o@x")
	f("/something-new/file-1", "something-new", "file-1")
	f("/Content", "Content")
}

func TestCollection(t *testing.T) {
	s := prefixed("/v1/files", "/v1/fine_tuning", "/v1/threads", "/v1", "/custom")
	f := func(raw, want string) {
		t.Helper()
		b, ok := s.findPrefix([]byte(raw))
		require.True(t, ok)
		assert.Equal(t, want, b.collection(), raw)
	}
	f("/v1/files", "files")
	f("/v1/files/file-1", "files")
	f("/v1/files/file-1/content", "files")
	f("/v1/fine_tuning/jobs", "jobs")
	f("/v1/fine_tuning/jobs/ftjob-1/cancel", "jobs")
	f("/v1/threads/runs", "runs")
	f("/v1/threads/thread_1/runs", "threads")
	f("/v1/batches/batch_1", "batches")
	f("/v1/batch_1", "v1")
	f("/custom/x", "custom")
}

// TestPrefixTakesWhatIsLeft: by method, what classes A to C serve stays theirs.
func TestPrefixTakesWhatIsLeft(t *testing.T) {
	s := prefixed("/v1")
	f := func(method, raw string, want helixflow.Op, allowed error) {
		t.Helper()
		c := &clientConn{}
		c.head.SetMethod(method)
		c.head.SetRequestURI(raw)
		e := &Exchange{}
		e.snap, e.conn = s, c
		assert.Equal(t, allowed, e.locate(), raw)
		assert.Equal(t, want, e.op, method+" "+raw)
	}
	f("POST", "/v1/chat/completions", helixflow.OpChatCompletions, nil)
	f("GET", "/v1/chat/completions?limit=1", helixflow.OpPassthrough, nil)
	f("GET", "/v1/chat/completions/chatcmpl-1", helixflow.OpPassthrough, nil)
	f("GET", "/v1/models", helixflow.OpListModels, nil)
	f("GET", "/v1/models/m", helixflow.OpGetModel, nil)
	f("HEAD", "/v1/models/m", helixflow.OpGetModel, nil)
	f("DELETE", "/v1/models/m", helixflow.OpPassthrough, nil)
	f("POST", "/v1/responses", helixflow.OpResponses, nil)
	f("POST", "/v1/responses/resp_1/cancel", helixflow.OpPassthrough, nil)
	f("PUT", "/v1/x", helixflow.OpPassthrough, nil)
	f("PATCH", "/v1/x", helixflow.OpPassthrough, nil)
	f("TRACE", "/v1/x", helixflow.OpPassthrough, errMethod)
	f("OPTIONS", "/v1/x", helixflow.OpPassthrough, errMethod)
	f("CONNECT", "/v1/x", helixflow.OpPassthrough, errMethod)
	f("GET", "/v1/organization", helixflow.OpUnknown, errAdministrative)
	f("GET", "/v2/x", helixflow.OpPassthrough, nil) // below /v1 as clients leave it out
	f("GET", "/openai/deployments/m/chat/completions", helixflow.OpChatCompletions, errMethod)
	s = prefixed("/v1/files")
	f("GET", "/v1/chat/completions", helixflow.OpChatCompletions, errMethod)
	f("GET", "/v1/x", helixflow.OpUnknown, errNotFound)
	f("POST", "/openai/deployments/m/files", helixflow.OpUnknown, errNotFound)
}

// FuzzPrefix: whoever decodes a path that is taken, however often, in whatever
// case, finds the same path: below the prefix, and none that is served or refused
// by name.
func FuzzPrefix(f *testing.F) {
	for _, seed := range []string{"/v1/files/file-1", "/v1/files/%2e%2e/x", "/v1/ft%3Ax", "/v1//x/", "/V1/chat/completions", "/openai/v1/x%2540", "/organization%2f"} {
		f.Add(seed)
	}
	s := prefixed("/v1/files", "/v1", "/api")
	f.Fuzz(func(t *testing.T, raw string) {
		b, ok := s.findPrefix(find([]byte(raw)).clean)
		if !ok {
			return
		}
		sent := string(b.path)
		segments := strings.Count(sent, "/")
		for reading := sent; ; {
			require.Equal(t, reading, path.Clean(reading), "%q", sent)
			require.Equal(t, segments, strings.Count(reading, "/"), "%q", sent)
			require.True(t, reading == b.prefix.path || strings.HasPrefix(reading, b.prefix.path+"/"), "%q", sent)
			require.False(t, strings.ContainsFunc(reading, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`\?#;`, r) }), "%q", sent)
			require.False(t, administrative([]byte(strings.ToLower(reading))), "%q", sent)
			if lower := strings.ToLower(reading); lower != sent {
				require.Equal(t, helixflow.OpUnknown, operations[string(withoutVersion([]byte(lower)))], "%q", sent)
			}
			next, err := url.PathUnescape(reading)
			require.NoError(t, err, "%q", sent)
			if next == reading {
				break
			}
			reading = next
		}
		id, _ := nextID(b.rest())
		want, _ := url.PathUnescape(string(id))
		require.Equal(t, want, string(decodedSegment(id)))
	})
}
