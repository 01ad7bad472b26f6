package openai

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// named lists what a body names, as param=id.
func named(t testing.TB, body string) (list []string) {
	t.Helper()
	require.NoError(t, CheckJSON([]byte(body)), body)
	require.NoError(t, References([]byte(body), func(param string, id []byte) error {
		list = append(list, param+"="+string(id))
		return nil
	}))
	return list
}

func TestReferences(t *testing.T) {
	f := func(body string, want ...string) {
		t.Helper()
		assert.Equal(t, want, named(t, body), body)
	}
	f(`{}`)
	f(`[]`)
	f(`"file-1"`)
	f(`[{"file_id":"file-1"}, {"x":[[{"file_ids":["a",["b"],{"file_id":"c"},7,null,""]}]]}]`,
		"file_id=file-1", "file_ids=a", "file_ids=b", "file_id=c")

	// as OpenAI's API has them
	f(`{"input_file_id":"file-1","endpoint":"/v1/responses","completion_window":"24h","metadata":{"file_id":"file-9"}}`, "input_file_id=file-1")
	f(`{"model":"gpt-4o","training_file":"file-1","validation_file":"file-2"}`, "model=gpt-4o", "training_file=file-1", "validation_file=file-2")
	f(`{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"},{"type":"input_image","file_id":"file-2","detail":"high"}]}],
		"tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]},{"type":"code_interpreter","container":"cntr_1"},{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-3"]}}],
		"previous_response_id":"resp_1","conversation":{"id":"conv_1"}}`,
		"model=m", "file_id=file-1", "file_id=file-2", "vector_store_ids=vs_1", "vector_store_ids=vs_2", "container=cntr_1", "file_ids=file-3",
		"previous_response_id=resp_1", "=conv_1")
	f(`{"assistant_id":"x","thread":{"messages":[{"attachments":[{"file_id":"y"}]}]},"tool_resources":{"file_search":{"vector_stores":[{"file_ids":["z"]}]}}}`,
		"assistant_id=x", "file_id=y", "file_ids=z")
	f(`{"data_source":{"source":{"type":"file_id","id":"file-1"}}}`, "=file-1")
	f(`{"video":{"id":"video_1"},"prompt":"more"}`, "=video_1")
	f(`{"input":[{"type":"item_reference","id":"msg_1"},{"id":"rs_2","type":"item_reference"},{"type":"message","id":"msg_3"}]}`, "input=msg_1", "input=rs_2")

	// what is not one
	f(`{"name":"file-1","text":"vs_1","x":{"model":"m"},"user_id":"u1","request_id":"req_1","id":"msg_1","files":["a.txt"]}`)
	f(`{"tools":[{"function":{"parameters":{"properties":{"file_id":{"type":"string"}},"example":{"file_id":"file-1"}}}}]}`)
	f(`{"input":[{"content":[{"annotations":[{"file_id":"cfile_1","container_id":"cntr_1"}]}]},{"results":[{"file_id":"file-1"}]},{"tool_call_id":"file-1","call_id":"file-2"}]}`)
	f(`{"attributes":{"thread_id":"x"},"filters":{"key":"thread_id","value":"x"}}`)
	f(`{"file_id":7,"file_ids":{"a":"b"},"container":null,"conversation":""}`)

	// hidden
	f(`{"file\u005fid":"\u0066ile-1","FILE_ID":"file-2","file_id":"a","file_id":"b"}`, "file_id=file-1", "file_id=file-2", "file_id=a", "file_id=b")
	f(`{"fi`+"\u212a"+`e_id":"x","file_id`+"\u017f"+`":"y","assi`+"\u017f"+`tant_id":"z"}`, "file_ids=y", "assistant_id=z")
	f(`{"thread_id":"\ud800x"}`, `thread_id=\ud800x`)
	f(`{"thread_id":"`+strings.Repeat("x", 600)+`\n"}`, "thread_id="+strings.Repeat("x", 600)+`\n`)
	f(`{"` + strings.Repeat("x", 60) + `_id":"file-1"}`)
	f(`{"my_own_reference_file":"file-1","other_ids":["vs_1","vs1","vs-"],"Some_Files":["batch_1"]}`, "=file-1", "=vs_1", "=batch_1")
	f(`{"metad\u0061ta":{"file_id":"file-1"},"x":{"metadata":[{"file_id":"file-1"}]}}`)
	f(`{"TYPE":"item\u005freference","ID":"msg_1"}`, "input=msg_1")
	deep := strings.Repeat(`{"a":[`, 255) + `{"file_id":"x"}` + strings.Repeat("]}", 255)
	f(deep, "file_id=x")
}

func TestReferencesStop(t *testing.T) {
	why := errors.New("no")
	calls := 0
	err := References([]byte(`{"file_ids":["a","b"],"x":{"file_id":"c"},"input":[{"type":"item_reference","id":"d"}]}`), func(string, []byte) error {
		calls++
		return why
	})
	assert.Equal(t, why, err)
	assert.Equal(t, 1, calls)
}

func TestFormReference(t *testing.T) {
	f := func(name, value, param string, names bool) {
		t.Helper()
		gotParam, got := FormReference([]byte(name), []byte(value))
		assert.Equal(t, names, got, name)
		assert.Equal(t, param, gotParam, name)
	}
	f("file_id", "x", "file_id", true)
	f("file_id", "", "file_id", false)
	f("file_ids[]", "x", "file_ids", true)
	f("tools[0][vector_store_ids][12]", "x", "vector_store_ids", true)
	f("input_reference[FILE_ID]", "x", "file_id", true)
	f("input_reference[id]", "x", "", false)
	f("input_reference[id]", "file-1", "", true)
	f("purpose", "batch", "", false)
	f("file", "file-1", "", true)
	f("a]", "x", "", false)
	f("[]", "x", "", false)
	f("model", "gpt-4o", "model", true)
	f(strings.Repeat("x", 4000)+"[file_id]", "x", "file_id", true)
}

func TestLikeJSON(t *testing.T) {
	for _, text := range []string{"{", " \r\n\t[1]", "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", "\xfe\xff\x00{\x00}", "{\x00", "\x00\x00\x00{"} {
		assert.True(t, LikeJSON([]byte(text)), "%q", text)
	}
	for _, text := range []string{"", " ", "--boundary", "GGUF", "\x00\x00\x00\x18ftypmp42", "RIFF", "%PDF", "\x1f\x8b", "a={", "\xff\xd8\xff\xe0"} {
		assert.False(t, LikeJSON([]byte(text)), "%q", text)
	}
}

func TestCheckJSON(t *testing.T) {
	for _, text := range []string{`{}`, ` [1, {"a": "b"}] `, `null`, `"x"`, `0`, strings.Repeat("[", 511) + strings.Repeat("]", 511)} {
		assert.NoError(t, CheckJSON([]byte(text)), text)
	}
	for _, text := range []string{``, ` `, `{`, `{} {}`, `{"a":1,}`, `nul`, "\xef\xbb\xbf{}", "{\x00}", `{'a':1}`, strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
		var e *helixflow.Error
		require.ErrorAs(t, CheckJSON([]byte(text)), &e, text)
		assert.Equal(t, helixflow.KindInvalidJSON, e.Kind)
	}
}

func TestReadMade(t *testing.T) {
	f := func(body, collection string, makes bool, want ...string) {
		t.Helper()
		made := ReadMade([]byte(body), collection, makes)
		var got []string
		for _, v := range made.Spans() {
			got = append(got, body[v.Start:v.End])
		}
		assert.Equal(t, want, got, body)
	}
	f(`{"id":"file-1","object":"file","filename":"a","metadata":{"id":"x","thread_id":"y"}}`, "files", true, "file-1")
	f(`{"id":"file-1","object":"file"}`, "files", false)
	batch := `{"object":"batch","id":"batch_1","input_file_id":"file-0","output_file_id":"file-1","error_file_id":null}`
	f(batch, "batches", false, "file-1")
	f(batch, "batches", true, "batch_1", "file-1")
	f(`{"id":"run_1","thread_id":"thread_1","assistant_id":"asst_1"}`, "runs", true, "run_1", "thread_1")
	job := `{"object":"fine_tuning.job","fine_tuned_model":"ft:gpt-4o::1","result_files":["file-1","file-2",3],"training_file":"file-0"}`
	f(job, "jobs", false, "ft:gpt-4o::1", "file-1", "file-2")
	f(`{"file":{"id":"file-1","object":"file"},"id":"upload_1","object":"upload"}`, "uploads", true, "file-1", "upload_1")
	f(`{"id":"resp_1","object":"response","output":[{"id":"rs_1"},{"type":"code_interpreter_call","container_id":"cntr_1","id":"ci_1","outputs":[{"id":"no"}]},7],"previous_response_id":"resp_0"}`,
		"responses", true, "resp_1", "rs_1", "cntr_1", "ci_1")
	f(`{"id":"resp_1","object":"response","output":[{"id":"rs_1"},{"id":"cu`, "responses", true, "resp_1", "rs_1")

	// What is not the backend's own word there.
	everything := `{"output_file_id":"a","error_file_id":"b","thread_id":"c","fine_tuned_model":"d","result_files":["e"],"file":{"id":"f"},"output":[{"id":"g"}]}`
	f(everything, "files", true)
	f(everything, "", true)
	f(everything, "batches", true, "a", "b")
	f(everything, "threads", true, "c")

	f(`{"data":[{"id":"a"}],"first_id":"a","last_id":"b","object":"list"}`, "files", true)
	f(`{"id":7,"thread_id":["x"]}`, "threads", true)
	f(`{"output":{},"id":{}}`, "responses", true)
	f(`{"result_files":"y"}`, "jobs", true)
	f(`{"file":"y"}`, "uploads", true)
	f(`{"id":"a\u0062"}`, "files", true)
	f(`{"id":""}`, "files", true)
	f(`["id"]`, "files", true)
	f(`not json`, "files", true)
	f(``, "files", true)
	many := `{"result_files":["` + strings.Repeat(`a","`, 100) + `"]}`
	made := ReadMade([]byte(many), "jobs", true)
	assert.Len(t, made.Spans(), maxMade)
}

func TestCreatedData(t *testing.T) {
	f := func(ev, want string) {
		t.Helper()
		assert.Equal(t, want, string(CreatedData([]byte(ev))))
	}
	f("event: thread.run.created\ndata: {\"id\":\"run_1\"}\n\n", `{"id":"run_1"}`)
	f("event: thread.message.delta\ndata: {\"id\":\"msg_1\"}\n\n", "")
	f("event: x.created\ndata: {\ndata: }\n\n", "")
	f("data: {}\n\n", "")
	f("event: thread.created\n\n", "")
}

func TestConversation(t *testing.T) {
	f := func(v string, want ...string) {
		t.Helper()
		var got []string
		require.NoError(t, Conversation([]byte(v), func(id []byte) error {
			got = append(got, string(id))
			return nil
		}))
		assert.Equal(t, want, got, v)
	}
	f(`"conv_1"`, "conv_1")
	f(`"x\u0079"`, "xy")
	f(`""`)
	f(`{"id":"mine"}`, "mine")
	f(`{"id":"mine","\u0049D":"other","x":{"id":"no"}}`, "mine", "other")
	f(`{}`)
	f(`{"id":7}`)
	assert.Error(t, Conversation([]byte(`{"id":"a","x":"b"}`), func([]byte) error { return errors.New("no") }))
}

func TestReadMessageHead(t *testing.T) {
	f := func(event, kind, response string, ends bool) {
		t.Helper()
		h := ReadMessageHead([]byte(event))
		assert.Equal(t, kind, string(h.Type.In([]byte(event))))
		assert.Equal(t, response, string(h.Response.In([]byte(event))))
		assert.Equal(t, ends, h.Ends([]byte(event)))
	}
	f(`{"type":"response.created","response":{"id":"resp_1","object":"resp`, "response.created", "resp_1", false)
	f(`{"response":{"object":"response", "id" : "resp_1"},"type":"response.created"}`, "response.created", "resp_1", false)
	f(`{"type":"response.output_item.added","item":{"id":"msg_1"}}`, "response.output_item.added", "", false)
	f(`{"type":"x","response":"resp_1","id":"x"}`, "x", "", false)
	f(`{"type":"x","response":{"x":{"id":"no"}}}`, "x", "", false)
	f(`{"response":{"id":"resp`, "", "", false)
	f(`{"response":{},"x":{"response":{"id":"no"}}}`, "", "", false)
	f(``, "", "", false)
	f(`[]`, "", "", false)

	// What may be the last word of a response.
	f(`{"type":"response.completed","response":{"id":"resp_1","out`, "response.completed", "resp_1", true)
	f(`{"type":"response.incomplete","resp`, "response.incomplete", "", true)
	f(`{"type":"response.failed"`, "response.failed", "", true)
	f(`{"type":"response.done","event_id":"e","response":{"object":"realtime.response"`, "response.done", "", true)
	f(`{"response":{"id":"resp_1","output":[{"type":"message"`, "", "resp_1", true)
	f(`{"response":{"id":"resp_1"},"sequence_number":7,"type":"response.in_progress"}`, "response.in_progress", "resp_1", false)
}

func TestReadMessage(t *testing.T) {
	f := func(msg string, terminal bool, want helixflow.Usage) {
		t.Helper()
		var ev Event
		ReadMessage([]byte(msg), &ev)
		assert.Equal(t, terminal, ev.Terminal, "%s", msg)
		assert.Equal(t, want, ev.Usage, "%s", msg)
	}
	none := helixflow.Usage{}
	f(`{"type":"response.completed","response":{"id":"r","output":[{"usage":{"input_tokens":99}}],"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":2},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":12}}}`,
		true, helixflow.Usage{InputTokens: 5, CachedTokens: 2, OutputTokens: 7, ReasoningTokens: 3, Reported: true})
	f(`{"type":"response.done","event_id":"e","response":{"object":"realtime.response","usage":{"total_tokens":253,"input_tokens":132,"output_tokens":121,"input_token_details":{"text_tokens":119,"audio_tokens":13,"cached_tokens":64},"output_token_details":{"text_tokens":30,"audio_tokens":91}}}}`,
		true, helixflow.Usage{InputTokens: 132, CachedTokens: 64, OutputTokens: 121, Reported: true})
	f(`{"response":{"usage":{"input_tokens":5,"output_tokens":7}},"type":"response.failed"}`, true, helixflow.Usage{InputTokens: 5, OutputTokens: 7, Reported: true})
	f(`{"type":"response.created","response":{"id":"r","usage":null}}`, false, none)
	f(`{"type":"response.completed","response":{"id":"r","usage":null}}`, true, none)
	f(`{"type":"response.completed","response":{"usage":{"input_tokens":"5","output_tokens":1e400}}}`, true, none)
	for _, bad := range []string{``, `x`, `{`, `[]`, `{"type":"response.completed","response":{"usage":{"input_tokens":5}}`, `{"type":"response.completed"} {}`} {
		f(bad, false, none)
	}
}

func TestReadID(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		assert.Equal(t, want, string(ReadID([]byte(body)).In([]byte(body))))
	}
	f(`{"id":"resp_1","output":[`, "resp_1")
	f(`{"object":"response", "id": "resp_1"}`, "resp_1")
	f(`{"object":{"id":"x"}}`, "")
	f(`{"output":[`, "")
	f(``, "")
}

func TestResponseOfEvent(t *testing.T) {
	f := func(ev, want string) {
		t.Helper()
		var out Event
		ReadEvent([]byte(ev), helixflow.OpResponses, &out)
		assert.Equal(t, want, string(out.Response.In([]byte(ev))))
		ReadEvent([]byte(ev), helixflow.OpChatCompletions, &out)
		assert.False(t, out.Response.Present())
	}
	f("event: response.created\ndata: {\"type\":\"response.created\",\"response\": {\"id\":\"resp_1\"} ,\"sequence_number\":0}\n\n", `{"id":"resp_1"}`)
	f("data: {\"response\":\"x\"}\n\n", "")
	f("data: {\"type\":\"response.output_text.delta\"}\n\n", "")
	f("data: {\"response\":{}\n\n", "")
}

// slowReferences is References by the standard library's decoder.
func slowReferences(t testing.TB, body string) (list []string) {
	d := json.NewDecoder(strings.NewReader(body))
	token := func() json.Token {
		tok, err := d.Token()
		require.NoError(t, err)
		return tok
	}
	sure := regexp.MustCompile(`^(file_ids?|input_file_id|(training|validation)_file|vector_store_ids?|container(_id)?|(assistant|thread|previous_response)_id|conversation)$`)
	perhaps := regexp.MustCompile(`^(id|files?|.+(_ids?|_files?))$`)
	looks := regexp.MustCompile(`^(file|cfile|vs|batch|resp|conv|asst|thread|cntr|upload|ftjob|video|skill)[-_](?s:.)`)
	skip := regexp.MustCompile(`^(metadata|attributes|parameters|schema|json_schema|input_schema|annotations|results)$`)
	var value func(key string, skipped, top bool) (whole any)
	value = func(key string, skipped, top bool) any {
		switch tok := token().(type) {
		case json.Delim:
			if tok == '[' {
				for d.More() {
					value(key, skipped, false)
				}
				token()
				return nil
			}
			var kind, id any
			for d.More() {
				name := token().(string)
				if len(name) > maxReferenceKey+3 { // more than any fold takes away
					name = ""
				}
				name = strings.ToLower(strings.NewReplacer("\u017f", "s", "\u212a", "k").Replace(name))
				if len(name) > maxReferenceKey {
					name = ""
				}
				if name == "model" && !top || name == "tool_call_id" || name == "call_id" {
					name = "-"
				}
				v := value(name, skipped || skip.MatchString(name), false)
				if text, ok := v.(string); ok && name == "type" {
					kind = text
				}
				if name == "id" {
					id = nil
					if text, ok := v.(string); ok {
						id = text
					}
				}
				if name == "type" {
					kind = v
				}
			}
			token()
			if id, ok := id.(string); ok && kind == "item_reference" && !skipped && id != "" {
				list = append(list, "input="+id)
			}
			return nil
		case string:
			switch {
			case skipped || tok == "":
			case key == "model" || sure.MatchString(key):
				list = append(list, key+"="+tok)
			case perhaps.MatchString(key) && looks.MatchString(tok):
				list = append(list, "="+tok)
			}
			return tok
		default:
			return tok
		}
	}
	value("", false, true)
	return list
}

// FuzzReferences holds References to the standard library.
func FuzzReferences(f *testing.F) {
	f.Add(`{"a":[1,{"b":"c"}]}`)
	f.Add(`{"model":"x","a":[{"FILE_ID":"\u0066ile-1","files":["vs_1"],"x":{"model":"y"}}],"metadata":{"file_id":"x"}}`)
	f.Add(`{"input":[{"type":"item_reference","id":"file-1"},{"id":"x","id":7,"type":"item_reference"}],"container":["x",["y"]],"tool_call_id":"file-1"}`)
	f.Add(`{"file_id\u017f":"x","\u212aonversation":"y","a_file":"resp_1","b_files":["conv-2"],"schema":[{"id":"vs_1"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		if CheckJSON([]byte(body)) != nil || !utf8.ValidString(body) || regexp.MustCompile(`(?i)\\ud[89a-f]`).MatchString(body) {
			return // of which decoders make different things
		}
		want := slowReferences(t, body)
		got := named(t, body)
		for _, v := range want {
			if len(v) > maxReference {
				return // compared as written
			}
		}
		require.Equal(t, want, got)
	})
}

func TestObjectsDoNotAllocate(t *testing.T) {
	body := []byte(`{"id":"resp_1","object":"response","output":[{"id":"rs_1"}],"thread_id":"x","file":{"id":"y"},"result_files":["z"]}`)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		made := ReadMade(body, "responses", true)
		_ = made.Spans()
		_ = ReadID(body)
	}))
}

func BenchmarkReferences(b *testing.B) {
	body := []byte(`{"model":"m","messages":[` + strings.TrimSuffix(strings.Repeat(`{"role":"user","content":[{"type":"text","text":"`+strings.Repeat("words and ", 30)+`"}]},`, 100), ",") + `]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	visit := func(string, []byte) error { return nil }
	for b.Loop() {
		_ = References(body, visit)
	}
}
