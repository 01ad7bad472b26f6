// Package compat proves the built binary against the clients that applications
// use, each pinned to one version.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/compat/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it. [Features]
// lists what is proved, [Clients] who must. Each client gets a world of its own: a
// router, a simulated engine as a second process of the same binary, and a
// tests/fakellm for faults. Its driver, a program in its language, does what an
// [Order] on its stdin says and prints an [Answer] of what the client told it, a
// line of JSON each. It judges nothing: what must come of an order is written once,
// in [Features], and held against the answer here, together with what the engine
// says when it is asked directly and what the backends saw.
//
// The verbs, with the fields of the answer that are theirs beside error:
//
//	about                 versions, lacks, blind
//	chat                  text, finish, input_tokens, output_tokens, request_id
//	stream                the same, items, usage_at
//	parallel              texts: one request for each of prompts, all at once
//	tools                 calls; text: what follows when "sunny" is sent back
//	tools-stream          calls, put together from a stream; finish
//	structured            parsed: {name: text, age: integer, tags: [text]}
//	structured-responses  the same by the Responses API
//	image                 text
//	embed                 vectors, input_tokens
//	speak                 audio
//	transcribe            text
//	transcribe-stream     text, events
//	translate             text
//	respond               text, finish (the status), input_tokens, output_tokens
//	respond-stream        the same, events
//	respond-socket        text, finish, output_tokens, by the websocket of /v1/responses
//	realtime              text, events: a session in which a response with the prompt
//	                      as its instructions is asked for
//	complete              text, finish, output_tokens
//	complete-stream       the same, items, usage_at
//	models, model         ids
//	moderate              flagged
//	post                  posts {} to the path in prompt
//	known                 seen: body posted to endpoint, so many times at once
//
// What came before an error is answered beside it. The tool is get_weather, with
// city (text) and days (integer), both required. A driver that is told to leave
// does so as an application would: what its client raises then is an error of a
// unary answer, and none of a stream.
//
// A client that has no way to do something says so in the answer to about: lacks
// names a verb, or the Needs of a case, with the reason, and such cases are not
// run. Fields that a client does not tell its caller are named in blind, and not
// judged. Both are part of the result, kept in results.json and shown in
// docs/reference/clients.md. A run whose results are others fails; with -record
// they are written instead.
//
// # Concurrency
//
// The clients run in parallel and share nothing but the binary and what is
// installed. The orders of one client run one after the other, so that what its
// backends count is its own.
//
// # Ownership
//
// A world owns the processes and servers of one client. What is installed stays
// in the folders of the runtimes, ignored by git, until what pins it changes.
package compat
