package openai

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

func TestAppendErrorFrame(t *testing.T) {
	f := func(op helixflow.Op, code, want string) {
		t.Helper()
		frame := AppendErrorFrame([]byte("x"), op, "cut \"off\"\n", "server_error", code, 7)
		assert.Equal(t, "x"+want, string(frame))
		assert.Equal(t, len(want), EventEnd(frame[1:]))
		var e Event
		ReadEvent(frame[1:], op, &e)
		assert.Equal(t, Event{Failed: true}, e)
	}
	const said = `"message":"cut \"off\"\n"`
	f(helixflow.OpChatCompletions, "upstream_interrupted", `data: {"error":{`+said+`,"type":"server_error","param":null,"code":"upstream_interrupted"}}`+"\n\n")
	f(helixflow.OpCompletions, "", `data: {"error":{`+said+`,"type":"server_error","param":null,"code":null}}`+"\n\n")
	f(helixflow.OpResponses, "c", "event: error\ndata: "+`{"type":"error","code":"c",`+said+`,"param":null,"sequence_number":7}`+"\n\n")
	f(helixflow.OpResponses, "", "event: error\ndata: "+`{"type":"error","code":null,`+said+`,"param":null,"sequence_number":7}`+"\n\n")
}

func TestAppendErrorBody(t *testing.T) {
	assert.Equal(t, `{"error":{"message":"m","type":"t","param":null,"code":null}}`, string(AppendErrorBody(nil, "m", "t", "", "")))
	assert.Equal(t, `{"error":{"message":"m","type":"t","param":"p","code":"c"}}`, string(AppendErrorBody(nil, "m", "t", "p", "c")))
}

func TestAppendJSONString(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		assert.Equal(t, want, string(AppendJSONString(nil, s)))
	}
	f("", `""`)
	f("meta/llama <&> é😀", `"meta/llama <&> é😀"`)
	f("a\"b\\c", `"a\"b\\c"`)
	f("\n\r\t\x00\x1f\x7f", `"\n\r\t\u0000\u001f\u007f"`)
	f("a\xffb\xc3", `"a`+"\ufffd"+`b`+"\ufffd"+`"`)
	f("\ufffd", `"`+"\ufffd"+`"`)
}

func FuzzAppendJSONString(f *testing.F) {
	f.Add("a\"\\\x00\xff\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		require.NoError(t, json.Unmarshal(AppendJSONString(nil, s), &got))
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &want))
		require.Equal(t, want, got)
	})
}
