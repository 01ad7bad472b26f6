// Package sim is a simulated inference engine: a pure model of vLLM's
// scheduler, and an HTTP server around it that speaks OpenAI's API.
//
// # Overview
//
// [Engine] is the model: continuous batching with chunked prefill, a paged KV
// cache whose full blocks are shared by prefix, preemption by recompute. It has
// no clock, no goroutine and no randomness but its seed's; whoever owns it says
// what time it is. [Server] runs one engine in real time and answers chat
// completions, completions, responses, embeddings, moderations, models, /health,
// vLLM's /metrics and, for tests, /sim/stats. Words are filler; their number,
// their timing and the usage reported follow the model.
//
// # Orders
//
// A test steers one answer with orders in its last user message (or prompt, or
// input): "sim:" at the start of a word, then name=value pairs with commas
// between them and a semicolon at the end.
//
//	sim:ttft=200ms,tokens=50,gap=20ms; anything else
//
//	ttft=DUR         the first token comes this long after arrival
//	gap=DUR          and every next one this long after the one before
//	tokens=N         so many tokens (fewer only if the request's own limit is lower)
//	size=SIZE        each token is so many bytes: 4, 4B, 16KiB (at most 1MiB)
//	finish=REASON    stop, length or content_filter
//	tool=NAME        call this tool of the request, until its result is in the prompt
//	error=STATUS     answer this status, 400 to 599, with OpenAI's error body
//	retry_after=DUR  with that error, retry-after and retry-after-ms
//	id=NAME,times=N  only the first N requests with this id get the error
//	error_after=K    after K content chunks one error event, as vLLM writes it
//	cut_after=K      after K content chunks the connection closes
//	stall_after=K    after K content chunks nothing more is sent
//
// ttft and gap are real time, whatever the time scale, and such a sequence takes
// no part in the batch: it holds its KV blocks and is counted as running. An
// answer that is not a stream fails with 500 on error_after, and is cut or stalls
// in the middle of its body. Orders that are unknown, malformed or repeated are
// answered 400.
//
// # Concurrency
//
// An Engine belongs to one goroutine at a time. A Server is safe for concurrent
// use: one goroutine steps the engine, the handlers wait for their sequences
// without a goroutine or timer of their own, and one mutex guards everything they
// share. Close ends the goroutine and waits for the handlers.
//
// # Ownership
//
// A sequence belongs to the handler that submitted it, which gives it back
// exactly once, when the answer is out, the client has left or the server closes;
// its KV blocks are free from then on.
package sim
