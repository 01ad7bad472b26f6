// Package fakellm is a scripted, faulty inference backend for tests: it speaks
// OpenAI's API over plain TCP sockets, so that it can also misspeak it, byte for
// byte.
//
// # Overview
//
// A [Server] answers chat completions, completions, responses, embeddings,
// moderations and models; left alone it is a good backend. A [Script] changes
// one answer. Scripts come from three places, first match wins:
//
//   - an order in the request body, the text "fake:SCRIPT;" anywhere in it, so
//     that any client can ask for a fault through whatever stands between;
//   - the queue (Server.Queue), one script per POST or websocket;
//   - the good answer.
//
// A script is a list of directives parted by commas or spaces:
//
//	status=503 header=Retry-After:5 body=TEXT   another answer (%XX in header and body for space, comma, semicolon)
//	json | sse                                  force the form; by default "stream":true decides
//	events=N ttft=D gap=D drip=D                content events; delay before the head, between chunks, between bytes
//	usage | nousage                             the usage chunk, whatever the request asked
//	chunked | length | eof | http10             framing: by default chunked for SSE, length for JSON
//	split=N | join=N                            N bytes of body, or N events, in each chunk
//	lie=±N dupcl=N extra=TEXT                   wrong Content-Length, a second one, bytes behind the answer
//	trailers connclose bye bye=D                trailers; Connection: close; close after the answer without a word
//	info=103 bighead=64KiB garbage              1xx before the answer, a long header, no HTTP at all
//	errnull crlf noblank nodone nofinish        shapes of SSE seen in the field
//	comment after big=1MiB                      comments between events, data behind [DONE], a long event or message
//	reset@P close@P stall@P stall=D@P           a fault at a point of the answer
//	times=N                                     (queue only) the same for N requests
//
// a stall without a time lasts until the peer leaves, or until [Server.Resume],
// and a point is one of
//
//	accept      when the connection is accepted (queue only)
//	head        before the first byte of the head;      head+N   N bytes into it
//	body        between the head and the body;          body+N   N bytes into the body
//	chunk:K     behind the K-th chunk, on its boundary; chunk:K+N  N bytes into the next
//	byte:N      N bytes into the whole answer;          end      behind the last byte
//
// A GET of …/realtime or …/responses that asks for a websocket becomes one, unless
// the queue has a script. It answers the events that OpenAI's clients send; a
// response.create may hold an order, of which events, ttft, gap and the faults at
// head and chunk:K (here: before the K-th event) count. Besides it knows
//
//	{"type":"fake.echo", …}                      sent back as it came; binary messages too
//	{"type":"fake.bytes","bytes":N}              a binary message of N bytes
//	{"type":"fake.close","code":N,"reason":"…"}  a close frame
//
// The texts that came are the request's body, a line for each.
//
// Everything a peer did is recorded: each request's raw head and body and when
// it arrived, when its peer left before the answer's end and how, and each
// connection. Query with [Server.Requests] and [Server.Conns], wait with
// [Server.Wait], or over HTTP with [Server.Control].
//
// # Concurrency
//
// A Server is safe for concurrent use. Each connection has two goroutines, one
// that reads (and so notices at once when the peer leaves) and one that
// answers; Close waits for all of them.
//
// # Ownership
//
// Requests, connections and scripts are handed out as copies; the byte slices
// in them are shared and must not be changed.
package fakellm
