package compat

// The list: what every client is asked to do.

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	unicode = "\"quotes\" \\ \n\t日本語 🦊👩‍👩‍👧 \u2028 ñ \x7f"
	// picture is the smallest PNG.
	picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	events  = "response.created response.output_item.added response.output_text.delta " +
		"response.output_text.done response.output_item.done response.completed"
	session = "session.created response.created response.output_text.delta response.output_text.done response.done"
	sound   = "ID3\x04\x00\xff\xfb\x90\x00, not quite a sound\r\n"
	heard   = `data: {"type":"transcript.text.delta","delta":"w1 "}` + "\n\n" +
		`data: {"type":"transcript.text.delta","delta":"w2 "}` + "\n\n" +
		`data: {"type":"transcript.text.done","text":"w1 w2 "}` + "\n\n"
	ids = "fake gpt-4o-mini limited llama-3.1-8b omni-moderation-latest org/model:7b socket text-embedding-3-small"
)

// Features is the list, the same for all clients.
var Features = []Feature{
	{"chat", []Case{
		{
			Name: "chat", Proves: "text, finish reason and usage are the engine's",
			Order: ask("chat", "sim:tokens=12; hello"),
			Want:  Want{Text: engineText, Finish: "stop", Input: 1, Output: 12, Received: 1},
		},
		{
			Name: "chat-unicode", Proves: "the backend gets the prompt as it was",
			Order: fake("chat", unicode), Want: Want{Text: "w1 w2 w3 ", Sent: unicode},
		},
		{
			Name: "chat-large", Proves: "a prompt of 200 KB arrives whole",
			Order: ask("chat", "sim:tokens=3; "+strings.Repeat("lorem ipsum ", 200*1024/12)),
			Want:  Want{Input: 10_000, Output: 3},
		},
		{
			Name: "chat-parallel", Proves: "twenty at once get an answer each, the right one",
			Order: Order{Do: "parallel", Model: "gpt-4o-mini", Prompts: twenty()},
			Want:  Want{Text: engineText, Received: 20},
		},
	}},
	{"stream", []Case{
		{
			Name: "stream", Proves: "an item for each token, together the text of the unary answer",
			Order: ask("stream", "sim:tokens=20; stream"), Want: Want{Text: engineText, Finish: "stop", Items: 20},
		},
		{
			Name: "stream-usage", Proves: "usage that was asked for stands in the last item alone", Needs: "stream usage",
			Order: Order{Do: "stream", Model: "gpt-4o-mini", Prompt: "sim:tokens=5; hi", Usage: true},
			Want:  Want{Output: 5, UsageAt: UsageLast},
		},
		{
			Name: "stream-without-usage", Proves: "no usage that nobody asked for",
			Order: ask("stream", "sim:tokens=5; hi"), Want: Want{Finish: "stop", UsageAt: UsageNowhere},
		},
	}},
	{"tools", []Case{
		{
			Name: "tools", Proves: "a call, its result sent back, and the text that follows",
			Order: ask("tools", "sim:tool=get_weather; Paris?"), Want: Want{Call: true, Text: anyText, Received: 2},
		},
		{
			Name: "tools-stream", Proves: "a call assembled from its pieces",
			Order: Order{Do: "tools-stream", Model: "gpt-4o-mini", Prompt: "hi", Force: true},
			Want:  Want{Call: true, Finish: "tool_calls"},
		},
	}},
	{"structured output", []Case{
		{
			Name: "structured", Proves: "the client's helper gets an object of the schema",
			Order: ask("structured", "who?"), Want: Want{Person: true},
		},
		{
			Name: "structured-responses", Proves: "the same by the Responses API",
			Order: ask("structured-responses", "who?"), Want: Want{Person: true},
		},
	}},
	{"images in prompts", []Case{
		{
			Name: "image", Proves: "the backend gets the picture beside the text",
			Order: Order{Do: "image", Model: "fake", Prompt: "what is this?", Image: picture},
			Want:  Want{Text: "w1 w2 w3 ", Sent: picture},
		},
	}},
	{"embeddings", []Case{
		{
			Name: "embeddings", Proves: "the vectors of the engine, in the client's own encoding",
			Order: embed("", 0), Want: Want{Vectors: 384},
		},
		{
			Name: "embeddings-float", Proves: "as numbers", Needs: "encoding",
			Order: embed("float", 0), Want: Want{Vectors: 384},
		},
		{
			Name: "embeddings-base64", Proves: "as base64", Needs: "encoding",
			Order: embed("base64", 0), Want: Want{Vectors: 384},
		},
		{
			Name: "embeddings-short", Proves: "fewer dimensions, as asked",
			Order: embed("", 64), Want: Want{Vectors: 64},
		},
	}},
	{"audio", []Case{
		{
			Name: "speech", Proves: "the bytes of the engine",
			Order: Order{Do: "speak", Model: "fake", Prompt: "say it"}.queue("header=Content-Type:audio/mpeg chunked split=3 body=" + escape(sound)),
			Want:  Want{Audio: sound, Sent: "say it"},
		},
		{
			Name: "transcription", Proves: "the engine gets the file, the caller its text",
			Order: hear("transcribe"), Want: Want{Text: "w1 w2 w3 ", Uploaded: true},
		},
		{
			Name: "transcription-stream", Proves: "the text in pieces",
			Order: hear("transcribe-stream").queue("header=Content-Type:text/event-stream chunked split=40 body=" + escape(heard)),
			Want:  Want{Text: "w1 w2 ", Events: "transcript.text.delta transcript.text.done", Uploaded: true},
		},
		{
			Name: "translation", Proves: "the same for translations",
			Order: hear("translate"), Want: Want{Text: "w1 w2 w3 ", Uploaded: true},
		},
		{
			Name: "transcription-unknown", Proves: "a model that is not there, refused while the client still sends",
			Order: hear("transcribe").of("gpt-9"), Want: Want{Status: 404, Code: "model_not_found"},
		},
		{
			Name: "transcription-retry", Proves: "a file is sent again when the engine has no room", Needs: "retry",
			Order: hear("transcribe").retries(1).queue("status=503 header=Retry-After-Ms:20"), Want: Want{Text: "w1 w2 w3 "},
		},
	}},
	{"responses", []Case{
		{
			Name: "responses", Proves: "text, status and usage are the engine's",
			Order: ask("respond", "sim:tokens=9; say"), Want: Want{Text: engineText, Finish: "completed", Input: 1, Output: 9},
		},
		{
			Name: "responses-stream", Proves: "every event in its order, together the same text",
			Order: ask("respond-stream", "sim:tokens=9; say"),
			Want:  Want{Text: engineText, Finish: "completed", Output: 9, Events: events},
		},
	}},
	{"websockets", []Case{
		{
			Name: "realtime", Proves: "a session of `/v1/realtime`: text in pieces, and the caller's key stays here",
			Order: Order{Do: "realtime", Model: "socket", Prompt: "say it"},
			Want:  Want{Text: "w1 w2 ", Events: session, Said: "say it"},
		},
		{
			Name: "realtime-unknown", Proves: "a model that is not there is refused before the session",
			Order: Order{Do: "realtime", Model: "gpt-9", Prompt: "say it"}, Want: Want{Fails: true, Message: "404"},
		},
		{
			Name: "realtime-cut", Proves: "a session that breaks off raises, after what came",
			Order: Order{Do: "realtime", Model: "socket", Prompt: "break off"}, Want: Want{Text: "w1 ", Fails: true},
		},
		{
			Name: "responses-socket", Proves: "`/v1/responses`, routed by the model in its first message",
			Order: Order{Do: "respond-socket", Model: "socket", Prompt: "say it"},
			Want:  Want{Text: "w1 w2 ", Finish: "completed", Output: 2, Said: "say it"},
		},
	}},
	{"other endpoints", []Case{
		{
			Name: "completions", Proves: "the old API",
			Order: ask("complete", "sim:tokens=7; once").of("llama-3.1-8b"), Want: Want{Text: engineText, Finish: "stop", Output: 7},
		},
		{
			Name: "completions-length", Proves: "and its limit",
			Order: Order{Do: "complete", Model: "llama-3.1-8b", Prompt: "sim:tokens=7; once", MaxTokens: 3},
			Want:  Want{Finish: "length", Output: 3},
		},
		{
			Name: "completions-stream", Proves: "and its stream",
			Order: ask("complete-stream", "sim:tokens=7; once").of("llama-3.1-8b"),
			Want:  Want{Text: engineText, Finish: "stop", UsageAt: UsageNowhere},
		},
		{Name: "models", Proves: "the names this key may use", Order: ask("models", ""), Want: Want{IDs: ids}},
		{
			Name: "models-small", Proves: "and no others",
			Order: ask("models", "").by(keySmall), Want: Want{IDs: "fake"},
		},
		{
			Name: "model", Proves: "a name with a slash in it",
			Order: ask("model", "").of("org/model:7b"), Want: Want{IDs: "org/model:7b"},
		},
		{
			Name: "model-bare", Proves: "a base URL without /v1",
			Order: Order{Do: "model", Model: "org/model:7b", BaseURL: bareURL}, Want: Want{IDs: "org/model:7b"},
		},
		{
			Name: "model-unknown", Proves: "a name that is not there",
			Order: ask("model", "").of("no/such:model"), Want: Want{Status: 404, Code: "model_not_found"},
		},
		{
			Name: "unknown-path", Proves: "a path that nobody serves",
			Order: Order{Do: "post", Prompt: "nothing/here"}, Want: Want{Status: 404, Code: "unknown_url"},
		},
		{
			Name: "moderations", Proves: "a verdict for each input",
			Order: Order{Do: "moderate", Model: "omni-moderation-latest", Prompts: []string{"fine", "good"}},
			Want:  Want{Innocent: 2},
		},
		{Name: "request-id", Proves: "each answer has one of its own", Order: ask("chat", "hi"), Want: Want{Distinct: true}},
	}},
	{"errors", []Case{
		{
			Name: "error-400", Proves: "an engine's refusal",
			Order: ask("chat", "sim:error=400; hi"), Want: Want{Status: 400, Code: "simulated_error", Received: 1},
		},
		{
			Name: "error-400-param", Proves: "a field of the wrong type is named", Needs: "extra",
			Order: ask("chat", "hi").extra("max_completion_tokens", "many"),
			Want:  Want{Status: 400, Type: "invalid_request_error", Param: "max_completion_tokens"},
		},
		{
			Name: "error-401", Proves: "a wrong key; it is not repeated, nor tried again",
			Order: ask("chat", "hi").by("sk-wrong").retries(2),
			Want:  Want{Status: 401, Type: "invalid_request_error", Code: "invalid_api_key"},
		},
		{
			Name: "error-403", Proves: "a model that the key may not use",
			Order: ask("chat", "hi").by(keySmall), Want: Want{Status: 403, Code: "model_not_allowed"},
		},
		{
			Name: "error-404-model", Proves: "a model that is not there, by name",
			Order: ask("chat", "hi").of("gpt-9"), Want: Want{Status: 404, Code: "model_not_found", Message: "gpt-9"},
		},
		{
			Name: "error-409", Proves: "a conflict",
			Order: ask("chat", "sim:error=409; hi"), Want: Want{Status: 409, Code: "simulated_error", Received: 1},
		},
		{
			Name: "error-413", Proves: "refused while the client still sends: it reads the answer, not a reset",
			Order: ask("chat", strings.Repeat("x", 2<<20)), Want: Want{Status: 413, Code: "request_too_large"},
		},
		{
			Name: "error-413-key", Proves: "and so is a large body with a wrong key",
			Order: ask("chat", strings.Repeat("x", 2<<20)).by("sk-wrong"), Want: Want{Status: 401, Code: "invalid_api_key"},
		},
		{
			Name: "error-422", Proves: "a body that the engine cannot process",
			Order: ask("chat", "sim:error=422; hi"), Want: Want{Status: 422, Code: "simulated_error", Received: 1},
		},
		{
			Name: "error-429", Proves: "a limit, with the time to wait",
			Order: ask("chat", "sim:error=429,retry_after=2s; hi").of("limited"),
			Want:  Want{Status: 429, Type: "requests", Code: "rate_limit_exceeded", Wait: "2", Received: 1},
		},
		{
			Name: "error-500", Proves: "an engine's failure",
			Order: ask("chat", "sim:error=500; hi"), Want: Want{Status: 500, Code: "simulated_error", Received: 1},
		},
		{
			Name: "error-503", Proves: "an engine that has no room",
			Order: ask("chat", "sim:error=503; hi"), Want: Want{Status: 503, Code: "simulated_error", Received: 1},
		},
	}},
	{"retries", []Case{
		{
			Name: "retry-500", Proves: "a failure is tried again",
			Order: ask("chat", "sim:error=500; hi").retries(1), Needs: "retry", Want: Want{Fails: true, Received: 2},
		},
		{
			Name: "retry-after-429", Proves: "after the time that the engine named, twice", Needs: "retry-after",
			Order: ask("chat", "sim:error=429,retry_after=800ms,id="+uniqueID+",times=2,tokens=4; hi").retries(2),
			Want:  Want{Output: 4, Received: 3, AtLeast: 1600 * time.Millisecond},
		},
		{
			Name: "retry-after-503", Proves: "the same of an engine that has no room", Needs: "retry-after",
			Order: ask("chat", "sim:error=503,retry_after=800ms,id="+uniqueID+",times=2,tokens=4; hi").retries(2),
			Want:  Want{Output: 4, Received: 3, AtLeast: 1600 * time.Millisecond},
		},
		{
			Name: "retry-none", Proves: "not with `x-should-retry: false`", Needs: "x-should-retry",
			Order: ask("chat", "sim:error=401; hi").retries(2), Want: Want{Status: 502, Code: "upstream_error", Received: 1},
		},
		{
			Name: "retry-count", Proves: "tries are numbered, and none brings the caller's key to the backend", Needs: "retry-count",
			Order: fake("chat", "hi").retries(2).queue("status=503 header=Retry-After-Ms:20 times=2"),
			Want:  Want{Text: "w1 w2 w3 ", Tries: 3},
		},
	}},
	{"cancel", []Case{
		{
			Name: "cancel-prefill", Proves: "a client that leaves before the first token frees the engine", Needs: "cancel",
			Order: Order{Do: "chat", Model: "gpt-4o-mini", Prompt: "sim:ttft=20s; slow", LeaveMS: 500},
			Want:  Want{Fails: true, Received: 1, Left: true},
		},
		{
			Name: "cancel-stream", Proves: "and so does one that leaves a stream",
			Order: Order{Do: "stream", Model: "gpt-4o-mini", Prompt: "sim:ttft=10ms,gap=20ms,tokens=1000; slow", LeaveAfter: 3},
			Want:  Want{Received: 1, Left: true, AtMost: 15 * time.Second},
		},
	}},
	{"cut stream", []Case{
		{
			Name: "cut-unary", Proves: "an answer that breaks off is an error",
			Order: fake("chat", "fake:close@body+40; hi"), Want: Want{Status: 502, Code: "upstream_error"},
		},
		{
			Name: "cut-stream-clean", Proves: "a stream that breaks off between events raises, after what came",
			Order: fake("stream", "fake:close@chunk:2; hi"), Want: Want{Text: "w1 w2 ", Fails: true, Code: "upstream_interrupted"},
		},
		{
			Name: "cut-stream-reset", Proves: "and one that is reset inside an event",
			Order: fake("stream", "fake:reset@chunk:2+9; hi"), Want: Want{Text: "w1 w2 ", Fails: true, Code: "upstream_interrupted"},
		},
		{
			Name: "cut-responses-stream", Proves: "and one of the Responses API",
			Order: fake("respond-stream", "fake:close@chunk:3; hi"), Want: Want{Text: "w1 w2 ", Fails: true},
		},
		{
			Name: "error-in-stream", Proves: "an engine's error inside a stream raises",
			Order: ask("stream", "sim:error_after=3,tokens=9; hi"), Want: Want{Items: 3, Fails: true, Code: "simulated_error"},
		},
		{
			Name: "stall-before-answer", Proves: "a backend that never answers is a 504",
			Order: fake("chat", "fake:stall@head; hi"), Want: Want{Status: 504, Code: "upstream_timeout"},
		},
		{
			Name: "stall-in-stream", Proves: "one that falls silent inside a stream raises after the idle time-out",
			Order: fake("stream", "fake:stall@chunk:2; hi"),
			Want: Want{
				Text: "w1 w2 ", Fails: true, Code: "upstream_timeout",
				AtLeast: 2700 * time.Millisecond, AtMost: 20 * time.Second,
			},
		},
	}},
}

// escape makes a text one word of a script.
func escape(text string) string { return strings.ReplaceAll(url.PathEscape(text), ",", "%2C") }

// hear is an order with a file of 3 MB.
func hear(do string) Order {
	return Order{Do: do, Model: "fake", Audio: bytes.Repeat([]byte(sound+"--\r\n"), 3<<20/len(sound))}
}

// twenty prompts that are answered in so many tokens each.
func twenty() []string {
	list := make([]string, 20)
	for i := range list {
		list[i] = fmt.Sprintf("sim:tokens=%d,ttft=50ms; number %d", i+1, i)
	}
	return list
}
