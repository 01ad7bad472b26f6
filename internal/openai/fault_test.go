package openai

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

var faultDefault = FaultDefault{Message: "The backend answered 500.", Type: "server_error"}

// Bodies as engines and the servers around them write them.
func TestFaultAppendBody(t *testing.T) {
	f := func(name, body, want string, status int) {
		t.Helper()
		fault := ReadFault([]byte(body))
		assert.Equal(t, want, string(fault.AppendBody(nil, faultDefault)), name)
		assert.Equal(t, status, fault.Status, name)
		assert.Equal(t, body == want, fault.Regular, name)
		requireRegular(t, []byte(want))
	}
	// object is what a body becomes that is told anew.
	object := func(message, typ, param, code string) string {
		return `{"error":{"message":` + message + `,"type":"` + typ + `","param":` + param + `,"code":` + code + `}}`
	}
	server := func(message string) string { return object(message, "server_error", "null", "null") }
	mute := server(`"The backend answered 500."`)

	// OpenAI's own passes as it is, whatever else is in it.
	for _, regular := range []string{
		`{"error":{"message":"m","type":"t","param":null,"code":null}}`,
		`{"error":{"message":"m","type":"t","param":"model","code":"model_not_found"}}`,
		"{\n    \"error\": {\n        \"message\": \"Incorrect API key provided: sk-1.\",\n        \"type\": \"invalid_request_error\",\n        \"param\": null,\n        \"code\": \"invalid_api_key\"\n    }\n}\n",
		`{"error":{"message":"m","type":"t","param":null,"code":"c","innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true}}}},"requestId":"r"}`,
		`{"error":{"message":"","type":"","param":null,"code":null}}`,
	} {
		f("openai", regular, regular, 0)
	}

	// vLLM since 0.10, SGLang in a stream: the code is the status once more.
	f("vllm", `{"error":{"message":"The model `+"`x`"+` does not exist.","type":"NotFoundError","param":"model","code":404}}`,
		`{"error":{"message":"The model `+"`x`"+` does not exist.","type":"NotFoundError","param":"model","code":null}}`, 404)
	f("vllm, object inside", `{"error": {"object": "error", "message": "boom", "type": "InternalServerError", "param": null, "code": 500}}`,
		`{"error": {"object": "error", "message": "boom", "type": "InternalServerError", "param": null, "code": null}}`, 500)
	// vLLM before, SGLang, TensorRT-LLM: nothing around it.
	f("vllm, old", `{"object":"error","message":"max_tokens must be at least 1, got -2815.","type":"BadRequestError","param":null,"code":400}`,
		`{"error":{"object":"error","message":"max_tokens must be at least 1, got -2815.","type":"BadRequestError","param":null,"code":null}}`, 400)
	// llama.cpp.
	f("llama.cpp", `{"error":{"code":400,"message":"request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9412,"n_ctx":8192}}`,
		`{"error":{"param":null,"code":"context_length_exceeded","message":"request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9412,"n_ctx":8192}}`, 400)
	f("llama.cpp, loading", `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`,
		`{"error":{"param":null,"message":"Loading model","type":"unavailable_error","code":null}}`, 503)
	// TGI.
	f("tgi", `{"error":"Input validation error: `+"`inputs`"+` must have less than 4095 tokens. Given: 5000","error_type":"validation"}`,
		object("\"Input validation error: `inputs` must have less than 4095 tokens. Given: 5000\"", "validation", "null", "null"), 0)
	f("tgi, in a stream", `{"error":{"message":"Model is overloaded","http_status_code":422}}`,
		`{"error":{"type":"server_error","param":null,"code":null,"message":"Model is overloaded","http_status_code":422}}`, 422)
	// Ollama, Triton; Ollama's own OpenAI layer is regular.
	f("ollama", `{"error":"model \"x\" not found, try pulling it first"}`, server(`"model \"x\" not found, try pulling it first"`), 0)
	f("localai", `{"error":{"code":500,"message":"could not load model: rpc error","type":""}}`,
		`{"error":{"param":null,"code":null,"message":"could not load model: rpc error","type":"server_error"}}`, 500)
	// FastAPI.
	f("fastapi", `{"detail":"Not Found"}`, server(`"Not Found"`), 0)
	f("fastapi, validation", `{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required","input":{"model":"m","prompt":"secret"},"url":"https://errors.pydantic.dev/2.8/v/missing"},{"type":"string_type","loc":["body","stop",0,"x"],"msg":"Input should be a valid string","input":1}]}`,
		object(`"messages: Field required; stop[0].x: Input should be a valid string"`, "server_error", `"messages"`, "null"), 0)
	f("fastapi, no JSON", `{"detail":[{"type":"json_invalid","loc":["body",12],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting ',' delimiter"}}]}`,
		server(`"JSON decode error"`), 0)
	f("fastapi, many", `{"detail":[`+strings.Repeat(`{"loc":["query","q"],"msg":"no"},`, 5)+`{"loc":[],"msg":""}]}`,
		object(`"q: no; q: no; q: no; q: no; …"`, "server_error", `"q"`, "null"), 0)
	f("fastapi, one alone", `{"detail":{"loc":["header","x"],"msg":"no"}}`, object(`"header.x: no"`, "server_error", `"header.x"`, "null"), 0)
	f("fastapi, nothing said", `{"detail":[{"loc":[],"msg":""}]}`, mute, 0)
	f("tabby, litellm", `{"detail":{"error":{"message":"boom","code":"429"}}}`, `{"error":{"type":"server_error","param":null,"message":"boom","code":"429"}}`, 429)
	// Others in front of engines.
	f("azure", `{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}`,
		`{"error":{"type":"server_error","param":null,"code":"DeploymentNotFound","message":"The API deployment does not exist."}}`, 0)
	f("anthropic", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}`,
		`{"type":"error","error":{"param":null,"code":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}`, 0)
	f("gemini", `[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"x"}]}}]`,
		`{"error":{"type":"server_error","param":null,"code":null,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"x"}]}}`, 400)
	f("api gateway", `{"message":"Forbidden"}`, `{"error":{"type":"server_error","param":null,"code":null,"message":"Forbidden"}}`, 0)
	f("mistral", `{"object":"error","message":{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required","input":{}}]},"type":"invalid_request_error","param":null,"code":null}`,
		object(`"model: Field required"`, "server_error", `"model"`, "null"), 0)
	f("spring", `{"timestamp":"now","status":503,"error":"Service Unavailable","message":"no instances","path":"/v1"}`,
		`{"error":{"type":"server_error","param":null,"code":null,"timestamp":"now","status":503,"error":"Service Unavailable","message":"no instances","path":"/v1"}}`, 503)
	f("problem details", `{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"no upstream"}`, server(`"no upstream"`), 502)
	f("errors", `{"success":false,"errors":[{"code":10013,"message":"unknown"}]}`, `{"error":{"type":"server_error","param":null,"code":null,"message":"unknown"}}`, 0)

	// Text.
	f("uvicorn", "Internal Server Error", server(`"Internal Server Error"`), 0)
	f("go", "upstream \"a\"\n timed out\n", server(`"upstream \"a\"\n timed out"`), 0)
	f("string", `"boom"`, server(`"boom"`), 0)
	f("nginx", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", mute, 0)
	f("page", "  <!DOCTYPE html><html>", mute, 0)
	f("s3", `<?xml version="1.0"?><Error><Code>x</Code></Error>`, mute, 0)
	f("page in JSON", `{"error":"<html><body>no</body></html>"}`, mute, 0)
	f("page in Go's JSON", `{"detail":"\u003chtml\u003e"}`, mute, 0)
	f("page in an object", `{"error":{"message":"<html>no","type":"t","x":1}}`, `{"error":{"param":null,"code":null,"message":"The backend answered 500.","type":"t","x":1}}`, 0)
	f("no page", "<|im_start|> is not allowed", server(`"<|im_start|> is not allowed"`), 0)
	f("nothing", "", mute, 0)
	f("blank", " \r\n", mute, 0)
	f("binary", "\x1f\x8b\x08\x00", mute, 0)
	f("not UTF-8", "caf\xe9 closed", server("\"caf\ufffd closed\""), 0)
	f("not UTF-8, in an object", "{\"error\":{\"message\":\"caf\xe9\",\"type\":\"t\",\"param\":null,\"code\":null}}", "{\"error\":{\"message\":\"caf\ufffd\",\"type\":\"t\",\"param\":null,\"code\":null}}", 0)
	f("a stream", "data: {\"error\":\"boom\"}\n\ndata: [DONE]\n\n", server(`"boom"`), 0)

	// What is nothing known is told as it is.
	f("unknown", `{"foo":1}`, server(`"{\"foo\":1}"`), 0)
	f("null", `{"error":null}`, server(`"{\"error\":null}"`), 0)
	f("empty", `{"error":""}`, mute, 0)
	f("list of texts", `{"error":["boom","b"]}`, server(`"boom"`), 0)
	f("deep", `{"error":{"error":{"error":{"error":{"error":{"message":"m"}}}}}}`, server(`"{\"error\":{\"error\":{\"error\":{\"error\":{\"error\":{\"message\":\"m\"}}}}}}"`), 0)
	f("wrapped twice", `{"error":{"error":{"message":"m","type":"t"}}}`, `{"error":{"param":null,"code":null,"message":"m","type":"t"}}`, 0)

	// Types that no client expects.
	f("odd types", `{"error":{"message":"m","type":1,"param":[],"code":{"a":1},"x":1}}`, `{"error":{"message":"m","type":"server_error","param":null,"code":null,"x":1}}`, 0)
	f("a byte order mark", "\xef\xbb\xbf"+`{"error":{"message":"m","type":"t","param":null,"code":null}}`, `{"error":{"message":"m","type":"t","param":null,"code":null}}`, 0)

	// Keys about which parsers disagree: told anew, so that none is left.
	f("twice", `{"error":{"message":"m","type":"t","param":null,"code":null,"code":5}}`, object(`"m"`, "t", "null", "null"), 0)
	f("escaped", `{"error":{"message":"m","type":"t","param":null,"code":null,"c\u006fde":5}}`, object(`"m"`, "t", "null", "null"), 0)
	f("another case", `{"error":{"message":"m","type":"t","param":null,"code":"c","Code":5}}`, object(`"m"`, "t", "null", `"c"`), 0)
	f("error twice", `{"error":{"message":"m","type":"t","param":null,"code":null},"Error":5}`, object(`"m"`, "t", "null", "null"), 0)

	// Cut off, or with something behind it.
	f("cut", `{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required","input":{"prompt":"aaaa`, object(`"messages: Field required"`, "server_error", `"messages"`, "null"), 0)
	f("cut, object", `{"error":{"message":"m","type":"t","code":500,"trace":"aaaa`, object(`"m"`, "t", "null", "null"), 500)
	f("trailing", `{"error":{"message":"m","type":"t","param":null,"code":null}} x`, object(`"m"`, "t", "null", "null"), 0)
}

// What engines answered to requests that are wrong, as tests/engines caught it.
func TestFaultsOfEngines(t *testing.T) {
	files, err := filepath.Glob("../../tests/engines/testdata/*/errors.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var answers []struct {
			Name   string
			Status int
			Body   string
		}
		require.NoError(t, json.Unmarshal(text, &answers))
		for _, a := range answers {
			if a.Status < 400 {
				continue
			}
			fault := ReadFault([]byte(a.Body))
			b := fault.AppendBody(nil, faultDefault)
			requireRegular(t, b)
			assert.NotContains(t, string(b), faultDefault.Message, "%s: %s", file, a.Name)
			if fault.Status != 0 {
				assert.Equal(t, a.Status, fault.Status, "%s: %s", file, a.Name)
			}
		}
	}
}

// However long what a backend says, what a client reads is not.
func TestFaultIsBounded(t *testing.T) {
	long := strings.Repeat("é\\u00e9\\n", 5000)
	for _, body := range []string{
		long, `{"error":"` + long + `"}`, `{"error":{"message":"` + long + `"}}`, `{"detail":"` + long + `"}`,
		`{"message":"` + long + `"}`, `{"detail":[{"loc":["` + long + `","` + long + `"],"msg":"` + long + `"},{"loc":[],"msg":"` + long + `"}]}`,
		`{"unknown":"` + long + `"}`, `{"error":"m","error_type":"` + long + `","code":"` + long + `"}`,
	} {
		fault := ReadFault([]byte(body))
		out := fault.AppendBody(nil, faultDefault)
		requireRegular(t, out)
		assert.Less(t, len(out), 2*maxFaultText+512, "%.40s", body)
	}
}

func TestFaultAppendFrame(t *testing.T) {
	f := func(op helixflow.Op, ev, want string) {
		t.Helper()
		fault := EventFault([]byte(ev))
		assert.Equal(t, want, string(fault.AppendFrame(nil, op, faultDefault, 7)), ev)
	}
	frame := func(rest string) string { return `data: {"error":{` + rest + "}}\n\n" }
	f(chat, "data: {\"id\":\"1\",\"choices\":[],\"error\": {\"code\":502,\"message\":\"m\"}}\n\n", frame(`"type":"server_error","param":null,"code":null,"message":"m"`))
	f(chat, "error: {\"code\":500,\"message\":\"m\",\"type\":\"server_error\"}\n\n", frame(`"param":null,"code":null,"message":"m","type":"server_error"`))
	f(chat, "event: error\r\ndata: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":null,\"code\":null}}\r\n\r\n", frame(`"message":"m","type":"t","param":null,"code":null`))
	f(chat, "event: error\ndata: out of memory\n\n", frame(`"message":"out of memory","type":"server_error","param":null,"code":null`))
	f(chat, "event: error\ndata: {\ndata: }\n\n", frame(`"message":"The backend answered 500.","type":"server_error","param":null,"code":null`))
	f(completions, "data: {\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}\n\n", frame(`"message":"Model is overloaded","type":"overloaded","param":null,"code":null`))
	f(chat, "data: {\"error\":\rx{}}\n\n", frame(`"message":"The backend answered 500.","type":"server_error","param":null,"code":null`))

	flat := func(code, message, param string) string {
		return `event: error` + "\n" + `data: {"type":"error","code":` + code + `,"message":` + message + `,"param":` + param + `,"sequence_number":7}` + "\n\n"
	}
	f(responses, "data: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}\n\n", flat(`"c"`, `"m"`, `"p"`))
	f(responses, "error: {\"code\":500,\"message\":\"m\"}\n\n", flat("null", `"m"`, "null"))
	f(responses, "data: {\"error\":\"m\"}\n\n", flat("null", `"m"`, "null"))
}

func TestReadFaultAllocates(t *testing.T) {
	for _, s := range faultSeeds(t) {
		b := []byte(s)
		assert.Zero(t, testing.AllocsPerRun(10, func() { ReadFault(b); EventFault(b) }), s)
	}
}

// faultSeeds are bodies that engines were seen to answer.
func faultSeeds(t testing.TB) []string {
	raw, err := os.ReadFile("testdata/faults.txt")
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// requireRegular holds b to OpenAI's error object as three kinds of parsers see
// it: exact keys, keys in any case, and keys in order.
func requireRegular(t testing.TB, b []byte) {
	t.Helper()
	var root map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(b, &root), "%q", b)
	var members map[string]any
	require.NoError(t, json.Unmarshal(root["error"], &members), "%q", b)
	require.IsType(t, "", members["message"], "%q", b)
	require.IsType(t, "", members["type"], "%q", b)
	for _, key := range []string{"param", "code"} {
		v, has := members[key]
		_, text := v.(string)
		require.True(t, has && (v == nil || text), "%s: %q", key, b)
	}
	var typed struct {
		Error *struct {
			Message, Type string
			Param, Code   *string
		}
	}
	require.NoError(t, json.Unmarshal(b, &typed), "%q", b)
	require.NotNil(t, typed.Error, "%q", b)
}

func FuzzFault(f *testing.F) {
	for _, s := range faultSeeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		fault := ReadFault(body)
		out := fault.AppendBody([]byte("x"), faultDefault)
		require.Equal(t, before, body)
		require.Equal(t, byte('x'), out[0])
		out = out[1:]
		requireRegular(t, out)
		if fault.Regular {
			require.Equal(t, body, out)
		}
		again := ReadFault(out)
		require.True(t, again.Regular, "%q became %q", body, out)

		for _, op := range []helixflow.Op{chat, responses} {
			frame := fault.AppendFrame(nil, op, faultDefault, 3)
			require.Equal(t, len(frame), EventEnd(frame), "%q", frame)
			var e Event
			ReadEvent(frame, op, &e)
			require.Equal(t, Event{Failed: true}, e, "%q", frame)
		}
	})
}
