package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// splitInto is the events of a Response, by their data.
func splitInto(t testing.TB, body string) (kinds []string, data []map[string]any, ok bool) {
	t.Helper()
	stream, ok := AppendSplit([]byte("before"), []byte(body), helixflow.OpResponses, true)
	require.True(t, strings.HasPrefix(string(stream), "before"))
	if stream = stream[6:]; !ok {
		require.Empty(t, stream)
		return nil, nil, false
	}
	for n := 0; len(stream) > 0; n++ {
		end := EventEnd(stream)
		require.Positive(t, end)
		lines := strings.Split(strings.TrimSuffix(string(stream[:end]), "\n\n"), "\n")
		require.Len(t, lines, 2, "%s", stream[:end])
		kind, text := strings.TrimPrefix(lines[0], "event: "), strings.TrimPrefix(lines[1], "data: ")
		var event map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &event), text)
		require.Equal(t, kind, event["type"])
		require.EqualValues(t, n, event["sequence_number"])
		kinds, data = append(kinds, kind), append(data, event)
		stream = stream[end:]
	}
	return kinds, data, true
}

// The events in the order, and with the members, that a recorded stream of
// OpenAI's has them.
func TestSplitResponse(t *testing.T) {
	f := func(output string, want ...string) {
		t.Helper()
		body := `{"id":"resp_1","status":"completed","completed_at":9,"output":` + output + `,"usage":{"input_tokens":1}}`
		begun := `{"id":"resp_1","status":"in_progress","completed_at":null,"output":[],"usage":null}`
		want = append([]string{`{"type":"response.created","response":` + begun, `{"type":"response.in_progress","response":` + begun}, want...)
		want = append(want, `{"type":"response.completed","response":`+body)
		text := "before"
		for n, data := range want {
			kind, _, _ := strings.Cut(strings.TrimPrefix(data, `{"type":"`), `"`)
			text += fmt.Sprintf("event: %s\ndata: %s,\"sequence_number\":%d}\n\n", kind, data, n)
		}
		got, ok := AppendSplit([]byte("before"), []byte(body), helixflow.OpResponses, false)
		require.True(t, ok)
		assert.Equal(t, text, string(got))
		whole, ok := AppendAssembled(nil, got[6:], helixflow.OpResponses)
		assert.True(t, ok)
		assert.Equal(t, body, string(whole))
	}
	f(`[]`)
	f(`[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi"}],"role":"assistant"}]`,
		`{"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}`,
		`{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}`,
		`{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"logprobs":[],"delta":"Hi"`,
		`{"type":"response.output_text.done","item_id":"msg_1","output_index":0,"content_index":0,"logprobs":[],"text":"Hi"`,
		`{"type":"response.content_part.done","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi"}],"role":"assistant"}`)
	f(`[{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"city\":\"Beijing\"}","call_id":"call_1","name":"get_weather"}]`,
		`{"type":"response.output_item.added","output_index":0,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"get_weather"}`,
		`{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":"{\"city\":\"Beijing\"}"`,
		`{"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":0,"name":"get_weather","arguments":"{\"city\":\"Beijing\"}"`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"city\":\"Beijing\"}","call_id":"call_1","name":"get_weather"}`)
	f(`[{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"One"}]},{"type":"custom_tool_call","id":"ct_1","call_id":"c","name":"sql","input":"SELECT 1","status":"completed"}]`,
		`{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}`,
		`{"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}`,
		`{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":"One"`,
		`{"type":"response.reasoning_summary_text.done","item_id":"rs_1","output_index":0,"summary_index":0,"text":"One"`,
		`{"type":"response.reasoning_summary_part.done","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"One"}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"One"}]}`,
		`{"type":"response.output_item.added","output_index":1,"item":{"type":"custom_tool_call","id":"ct_1","call_id":"c","name":"sql","input":"","status":"in_progress"}`,
		`{"type":"response.custom_tool_call_input.delta","item_id":"ct_1","output_index":1,"delta":"SELECT 1"`,
		`{"type":"response.custom_tool_call_input.done","item_id":"ct_1","output_index":1,"input":"SELECT 1"`,
		`{"type":"response.output_item.done","output_index":1,"item":{"type":"custom_tool_call","id":"ct_1","call_id":"c","name":"sql","input":"SELECT 1","status":"completed"}`)
}

func TestSplitResponseParts(t *testing.T) {
	const message = `{"id":"r","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"id":"m","type":"message","content":[%s]}]}`
	f := func(part, want string) {
		t.Helper()
		kinds, events, ok := splitInto(t, fmt.Sprintf(message, part))
		require.True(t, ok)
		require.Equal(t, "response.incomplete", kinds[len(kinds)-1])
		assert.Nil(t, events[0]["response"].(map[string]any)["incomplete_details"])
		short := strings.NewReplacer("response.", "", "output_item.", "", "content_part.", "part ", "output_text.", "text ", "refusal.", "refusal ")
		assert.Equal(t, want, short.Replace(strings.Join(kinds[3:len(kinds)-2], ", ")))
		assertTold(t, events)
	}
	f(``, "")
	f(`{"type":"output_text","text":""}`, "part added, text done, part done")
	f(`{"type":"refusal","refusal":"No."}`, "part added, refusal delta, refusal done, part done")
	f(`{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"x"},{"type":"file_citation"}],"logprobs":[{"token":"a","logprob":-1}]}`,
		"part added, text delta, text annotation.added, text annotation.added, text done, part done")
	f(`{"type":"output_text","text":"a","logprobs":null,"annotations":null},{"type":"refusal","refusal":"b"},{"text":"\ud83e\udd8a\n","type":"output_text"}`,
		"part added, text delta, text done, part done, part added, refusal delta, refusal done, part done, part added, text delta, text done, part done")

	// What is spread over lines is one line of an event.
	_, events, ok := splitInto(t, "{\"id\":\"r\",\n \"status\": \"completed\",\r\n\t\"output\" : [ {\"type\":\"function_call\",\n\"id\":\"f\",\"name\":\"n\",\"arguments\":\"{\\n}\"} ] }")
	require.True(t, ok)
	assertTold(t, events)

	refuse := func(body string) {
		t.Helper()
		_, _, ok := splitInto(t, body)
		assert.False(t, ok, body)
	}
	refuse(``)
	refuse(`[]`)
	refuse(`{"output":[]}`)
	refuse(`{"status":"in_progress","output":[]}`)
	refuse(`{"status":"failed","output":[]}`)
	refuse(`{"status":"completed"}`)
	refuse(`{"status":"completed","output":{}}`)
	refuse(`{"status":"completed","output":[]} x`)
	for _, item := range []string{
		`7`, `null`, `{}`, `{"type":"message","content":[]}`, `{"id":7,"type":"message","content":[]}`, `{"id":"m","type":"message"}`,
		`{"id":"m","type":"message","content":"x"}`, `{"id":"m","type":"message","content":[{"type":"output_audio"}]}`,
		`{"id":"m","type":"message","content":[{"type":"output_text"}]}`, `{"id":"m","type":"message","content":[{"type":"output_text","text":7}]}`,
		`{"id":"m","type":"message","content":[{"type":"summary_text","text":"x"}]}`, `{"id":"w","type":"web_search_call"}`,
		`{"id":"f","type":"function_call","name":"n"}`, `{"id":"f","type":"function_call","arguments":"{}"}`, `{"id":"r","type":"reasoning"}`,
		`{"id":"r","type":"reasoning","summary":[],"content":"x"}`,
	} {
		refuse(`{"status":"completed","output":[` + item + `]}`)
	}
}

// assertTold holds that what the events say step by step is what the last of them
// says at once: by another way than that by which they are made.
func assertTold(t testing.TB, events []map[string]any) {
	t.Helper()
	var output []any
	text := map[string]string{} // by place
	place := func(e map[string]any) string {
		return fmt.Sprint(e["output_index"], e["content_index"], e["summary_index"])
	}
	for _, e := range events {
		kind := e["type"].(string)
		switch {
		case kind == "response.output_item.added":
			require.EqualValues(t, len(output), e["output_index"])
			output = append(output, e["item"])
		case kind == "response.output_item.done":
			item, begun := e["item"].(map[string]any), output[int(e["output_index"].(float64))].(map[string]any)
			require.Equal(t, item["id"], begun["id"])
			require.Equal(t, item["type"], begun["type"])
			output[int(e["output_index"].(float64))] = item
		case strings.HasSuffix(kind, ".delta"):
			text[place(e)] += e["delta"].(string)
		case strings.HasSuffix(kind, "_part.done"):
		case strings.HasSuffix(kind, ".done"):
			for _, name := range []string{"text", "refusal", "arguments", "input"} {
				if said, is := e[name].(string); is {
					require.Equal(t, said, text[place(e)], "%v", e)
				}
			}
		}
	}
	last := events[len(events)-1]["response"].(map[string]any)
	if len(output) == 0 {
		output = []any{}
	}
	assert.Equal(t, last["output"], output)
}

func FuzzSplitResponse(f *testing.F) {
	f.Add(`{"id":"r","status":"completed","output":[{"id":"m","type":"message","content":[{"type":"output_text","text":"a","annotations":[1]},{"type":"refusal","refusal":"b"}]}]}`)
	f.Add(`{"status":"incomplete","output":[{"id":"f","type":"function_call","name":"n","arguments":"{}"},{"id":"r","type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"content":[{"type":"reasoning_text","text":"t"}]}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		stream, ok := AppendSplit(nil, []byte(body), helixflow.OpResponses, true)
		if !ok {
			return
		}
		_, events, _ := splitInto(t, body)
		assertTold(t, events)
		whole, ok := AppendAssembled(nil, stream, helixflow.OpResponses)
		require.True(t, ok)
		assert.JSONEq(t, body, string(whole))
	})
}
