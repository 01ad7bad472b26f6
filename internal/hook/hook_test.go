package hook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuestion(t *testing.T) {
	q := Question{
		Phase: Before, Hook: "pii", RequestID: "req_1", Tenant: "acme", Key: "ci", Model: `m"`, Endpoint: "chat_completions",
	}
	assert.Equal(t, `{"version":1,"phase":"before","hook":"pii","request_id":"req_1","tenant":"acme","key":"ci","model":"m\"",`+
		`"endpoint":"chat_completions","stream":false,"body":{"a":1}}`, string(q.AppendTo(nil))+`{"a":1}`+End)
	q.Phase, q.Stream, q.Status = After, true, 200
	after := string(q.AppendTo([]byte(" "))) + NoBody + AnswerKey + `{}` + End
	assert.Contains(t, after, `"stream":true,"status":200,"body":null,"answer":{}}`)
	assert.True(t, json.Valid([]byte(after)))
}

// show is a reply as "action message code body", or the error.
func show(text string) string {
	r, err := ReadReply([]byte(text))
	if err != nil {
		return "error: " + err.Error()
	}
	return strings.TrimSpace([]string{"allow", "deny", "replace"}[r.Action] + " " + strings.TrimSpace(r.Message+" "+r.Code+" "+string(r.Body)))
}

func TestReadReply(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		assert.Equal(t, want, show(text), text)
	}
	f(`{"action":"allow"}`, "allow")
	f(` {"version":1,"action":"allow","score":[0.5],"message":"fine","code":null,"body":null} `, "allow")
	f(`{"action":"deny"}`, "deny")
	f(`{"action":"deny","message":"No \u00e9.","code":"pii-found"}`, "deny No é. pii-found")
	f(`{"code":"a","body":{},"action":"deny"}`, "deny a")
	f(`{"action":"replace","body":{"model":"m"}}`, `replace {"model":"m"}`)
	f(`{"action":"replace","body": { } , "message":""}`, `replace { }`)

	// who denies is believed
	f(`{"action":"deny","message":5,"code":"a b"}`, "deny")
	f(`{"action":"deny","message":"no","code":"`+strings.Repeat("x", maxCode+1)+`"}`, "deny no")
	f(`{"action":"deny","message":"`+strings.Repeat("é", maxMessage)+`"}`, "deny "+strings.Repeat("é", maxMessage/2))
	f(`{"action":"deny","message":"\ud800"}`, "deny \ufffd")

	for text, want := range map[string]error{
		``: errNotObject, `allow`: errNotObject, `"allow"`: errNotObject, `[{"action":"allow"}]`: errNotObject, `null`: errNotObject,
		`{"action":"allow"`: errNotObject, `{"action":"allow"}}`: errNotObject, `{"action":"allow"} trailing`: errNotObject,
		`{"action":"allow",}`: errNotObject, "\xef\xbb\xbf" + `{"action":"allow"}`: errNotObject,
		`<html>`: errNotObject, `{'action':'allow'}`: errNotObject,
		"{\"action\":\"allow\",\"x\":\"\xff\"}": errNotUTF8,
		`{}`:                                    errAction, `{"Action":"allow"}`: errAction, `{"action":"Allow"}`: errAction, `{"action":"block"}`: errAction,
		`{"action":null}`: errAction, `{"action":true}`: errAction, `{"action":["allow"]}`: errAction, `{"\u0061ction":"allow"}`: errAction,
		`{"action":"allow","action":"deny"}`: errTwice, `{"action":"deny","action":"allow"}`: errTwice,
		`{"action":"replace","body":{},"body":{}}`: errTwice,
		`{"action":"replace"}`:                     errNoBody, `{"action":"replace","body":null}`: errNoBody, `{"action":"replace","body":"{}"}`: errNoBody,
		`{"action":"replace","body":[]}`:                  errNoBody,
		`{"action":"allow","body":{}}`:                    errSpareBody,
		`{"action":"allow","message":5}`:                  errWrongTypes,
		`{"action":"replace","body":{},"code":["a"]}`:     errWrongTypes,
		`{"action":"allow","message":{"text":"a reply"}}`: errWrongTypes,
	} {
		f(text, "error: "+want.Error())
	}
}

// TestReplyIsACopy: the text it was read from goes back to a pool.
func TestReplyIsACopy(t *testing.T) {
	text := []byte(`{"action":"replace","body":{"a":"b"}}`)
	r, err := ReadReply(text)
	require.NoError(t, err)
	clear(text)
	assert.Equal(t, `{"a":"b"}`, string(r.Body))
}

// FuzzReadReply holds the reader to encoding/json: what it accepts says there
// what it says here.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{
		`{"action":"allow"}`, `{"action":"deny","message":"no","code":"x"}`, `{"action":"replace","body":{"a":[1]}}`,
		`{"action":"deny","action":"allow"}`, `{"a":{"action":"allow"},"action":"deny"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReadReply([]byte(text))
		if err != nil {
			require.Contains(t, []error{errNotUTF8, errNotObject, errTwice, errAction, errNoBody, errSpareBody, errWrongTypes}, err, "it quotes nothing")
			return
		}
		var want map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		if strings.Contains(text, `\`) {
			return // a key in disguise means nothing here, and something there
		}
		switch r.Action {
		case Allow:
			require.Equal(t, "allow", want["action"])
			require.Nil(t, want["body"])
		case Deny:
			require.Equal(t, "deny", want["action"])
			require.LessOrEqual(t, len(r.Message), maxMessage)
		case Replace:
			require.Equal(t, "replace", want["action"])
			var body any
			require.NoError(t, json.Unmarshal(r.Body, &body))
			require.Equal(t, want["body"], body)
		}
	})
}
