package router

// What a client reads of a stream, byte for byte, whatever pieces the backend
// sent it in.

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beat is how long a scripted backend waits between two pieces, so that most of
// them arrive one by one. Nothing depends on it but what is exercised.
const beat = 300 * time.Microsecond

// script is a stream and how it is sent.
type script struct {
	pieces []string
	cut    string // "" ends properly, "fin" and "rst" break off, "mid" breaks off inside a chunk
}

func (s *script) play(a *asked) bool {
	a.write(sseHead)
	for _, p := range s.pieces {
		if p != "" {
			a.write(chunkOf(p))
			<-time.After(beat)
		}
	}
	switch s.cut {
	case "":
		a.write(lastChunk)
		return true
	case "rst":
		_ = a.conn.(*net.TCPConn).SetLinger(0)
	case "mid":
		a.write("ff\r\ndata: {")
	}
	return false
}

// stage plays one script after the other, by the number in the request.
type stage struct {
	*world
	scripts sync.Map // string → *script
	next    atomic.Int64
}

func newStage(t *testing.T, timeouts string) *stage {
	s := &stage{}
	url := newBackend(t, func(a *asked) bool {
		v, _ := s.scripts.Load(a.req.URL.RawQuery)
		return v.(*script).play(a)
	})
	s.world = newWorld(t, open(timeouts, url))
	return s
}

func (s *stage) play(t testing.TB, path, body string, sc *script) answer {
	t.Helper()
	id := "n=" + strings.Repeat("i", int(s.next.Add(1)%50)) + time.Now().Format("150405.000000000")
	s.scripts.Store(id, sc)
	defer s.scripts.Delete(id)
	return s.ask(t, postTo(path+"?"+id, body))
}

const (
	ev1    = `data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	ev2    = `data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"x":1}` + "\n\n"
	evFin  = `data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	evUse  = `data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}` + "\n\n"
	evDone = "data: [DONE]\n\n"

	errFrame = `data: {"error":{"message":"oom","type":"t","param":null,"code":null}}` + "\n\n"
	cutFrame = `data: {"error":{"message":"The backend's answer was interrupted.","type":"server_error","param":null,"code":"upstream_interrupted"}}` + "\n\n"
)

const asksUsage = `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`

// streamRow is a stream, how it is cut, and what the client must read.
type streamRow struct {
	name, path, body, sent, cut, want string
	broken                            bool
}

func (r *streamRow) check(t *testing.T, at int, a answer) {
	t.Helper()
	if a.status == 502 && r.broken {
		return // it broke off before anything was delivered
	}
	assert.Equal(t, 200, a.status)
	if r.cut == "rst" { // how much came before it is the kernel's choice
		assert.True(t, strings.HasSuffix(a.body, cutFrame), "at %d: %q", at, a.body)
		assert.True(t, strings.HasPrefix(ev1+ev2, strings.TrimSuffix(a.body, cutFrame)), "at %d: %q", at, a.body)
	} else {
		assert.Equal(t, r.want, a.body, "split at %d", at)
	}
	if r.broken {
		assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF, "a cut must not look like an end")
	} else {
		assert.NoError(t, a.err)
	}
}

func TestRelayStreams(t *testing.T) {
	s := newStage(t, "")
	crlf := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	nulls := strings.ReplaceAll(ev2, `"x":1`, `"error":null`)
	const chatPath = "/v1/chat/completions"
	completed := "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n"
	delta := "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"a\"}\n\n"
	responsesCut := "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_interrupted\",\"message\":\"The backend's answer was interrupted.\",\"param\":null,\"sequence_number\":1}\n\n"
	rows := []streamRow{
		{"plain", chatPath, streaming, ev1 + ev2 + evFin + evDone, "", ev1 + ev2 + evFin + evDone, false},
		{"usage withheld", chatPath, streaming, ev1 + evFin + evUse + evDone, "", ev1 + evFin + evDone, false},
		{"usage asked", chatPath, asksUsage, ev1 + evFin + evUse + evDone, "", ev1 + evFin + evUse + evDone, false},
		{"error null", chatPath, streaming, ev1 + nulls + evFin + evDone, "", ev1 + strings.Replace(ev2, `,"x":1`, "", 1) + evFin + evDone, false},
		{"crlf", chatPath, streaming, crlf(ev1 + evFin + evUse + evDone), "", crlf(ev1 + evFin + evDone), false},
		{"comments", chatPath, streaming, ": hi\n\n" + ev1 + ": ping\n\n" + evFin + evDone, "", ": hi\n\n" + ev1 + ": ping\n\n" + evFin + evDone, false},
		{"behind the end", chatPath, streaming, ev1 + evFin + evDone + ev2, "", ev1 + evFin + evDone, false},
		{"no end marker, finished", chatPath, streaming, ev1 + evFin, "", ev1 + evFin + evDone, false},
		{"no blank line", chatPath, streaming, ev1 + evFin + "data: [DONE]", "", ev1 + evFin + evDone, false},
		{"no blank line, crlf", chatPath, streaming, crlf(ev1 + evFin + "data: [DONE]\n"), "", crlf(ev1+evFin+"data: [DONE]\n") + "\n", false},
		{"no blank line, cr", chatPath, streaming, ev1 + evFin + "data: [DONE]\r", "", ev1 + evFin + "data: [DONE]\r\n\n", false},
		{"no end marker, usage", chatPath, asksUsage, ev1 + evFin + strings.TrimSpace(evUse), "", ev1 + evFin + evUse + evDone, false},
		{"no end marker, half an event", chatPath, asksUsage, ev1 + evFin + evUse[:30], "", ev1 + evFin + cutFrame, true},
		{"no end marker, not finished", chatPath, streaming, ev1 + ev2, "", ev1 + ev2 + cutFrame, true},
		{"cut at a boundary", chatPath, streaming, ev1 + ev2, "fin", ev1 + ev2 + cutFrame, true},
		{"cut behind the finish", chatPath, streaming, ev1 + evFin, "fin", ev1 + evFin + cutFrame, true},
		{"reset", chatPath, streaming, ev1 + ev2, "rst", "", true},
		{"cut inside", chatPath, streaming, ev1 + ev2, "mid", ev1 + ev2 + cutFrame, true},
		{"half an event", chatPath, streaming, ev1 + ev2[:20], "", ev1 + cutFrame, true},
		{"error", chatPath, streaming, ev1 + errFrame + evDone, "", ev1 + errFrame + evDone, false},
		{"error and no more", chatPath, streaming, ev1 + evFin + errFrame, "", ev1 + evFin + errFrame, false},
		{"error, then cut", chatPath, streaming, ev1 + errFrame, "fin", ev1 + errFrame + cutFrame, true},
		{"error of vllm", chatPath, streaming, ev1 + `data: {"error": {"message": "oom", "type": "t", "param": null, "code": 500}}` + "\n\n" + evDone, "", ev1 + `data: {"error":{"message": "oom", "type": "t", "param": null, "code": null}}` + "\n\n" + evDone, false},
		{"error of tgi", chatPath, streaming, ev1 + `data:{"error":"oom","error_type":"t"}` + "\n\n", "", ev1 + errFrame, false},
		{"error of llama.cpp", chatPath, streaming, ev1 + `error: {"code":500,"message":"oom","type":"t"}` + "\n\n", "", ev1 + `data: {"error":{"param":null,"code":null,"message":"oom","type":"t"}}` + "\n\n", false},
		{"error of lm studio", chatPath, streaming, ev1 + "event: error\ndata: {\"error\":{\"message\":\"oom\",\"type\":\"t\"}}\n\n", "", ev1 + `data: {"error":{"param":null,"code":null,"message":"oom","type":"t"}}` + "\n\n", false},
		{"error in a chunk", chatPath, streaming, ev1 + `data: {"id":"1","choices":[],"error":{"message":"oom","type":"t","param":null,"code":null}}` + "\n\n" + evDone, "", ev1 + errFrame + evDone, false},
		{"empty reasons", chatPath, streaming, strings.ReplaceAll(ev1+ev2, "null", `""`) + strings.ReplaceAll(evFin, `"stop"`, `"eos_token"`), "", ev1 + ev2 + evFin + evDone, false},
		{"completions", "/v1/completions", `{"model":"m","prompt":"x","stream":true}`, ev1 + evFin + evUse + evDone, "", ev1 + evFin + evDone, false},
		{"responses", "/v1/responses", `{"model":"m","input":"x","stream":true}`, delta + completed, "", delta + completed, false},
		{"responses, done behind", "/v1/responses", `{"model":"m","input":"x","stream":true}`, delta + completed + evDone, "", delta + completed, false},
		{"responses cut", "/v1/responses", `{"model":"m","input":"x","stream":true}`, delta, "fin", delta + responsesCut, true},
		{"responses, error", "/v1/responses", `{"model":"m","input":"x","stream":true}`, delta + "data: {\"error\":{\"message\":\"oom\",\"code\":500}}\n\n", "", delta + "event: error\ndata: {\"type\":\"error\",\"code\":null,\"message\":\"oom\",\"param\":null,\"sequence_number\":1}\n\n", false},
		{"responses, own error", "/v1/responses", `{"model":"m","input":"x","stream":true}`, delta + "event: error\ndata: {\"type\":\"error\",\"x\":1}\n\n", "", delta + "event: error\ndata: {\"type\":\"error\",\"x\":1}\n\n", false},
		{"comment, then cut", chatPath, streaming, ": hi\n\n" + ev1[:30], "", ": hi\n\n" + cutFrame, true},
		{"data in two lines", chatPath, streaming, "data: {\"a\":\ndata: 1}\n\n" + evFin + evDone, "", "data: {\"a\":\ndata: 1}\n\n" + evFin + evDone, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			step := 1
			if raceBuild || testing.Short() {
				step = 7
			}
			const workers = 8 // most of the time is waiting
			var wait sync.WaitGroup
			for w := range workers {
				wait.Go(func() {
					for at := w * step; at < len(r.sent) && !t.Failed(); at += workers * step {
						a := s.play(t, r.path, r.body, &script{pieces: []string{r.sent[:at], r.sent[at:]}, cut: r.cut})
						r.check(t, at, a)
					}
				})
			}
			wait.Wait()
		})
	}
}

// An event too long to look at passes as it is, and what follows it is looked
// at again.
func TestRelayLongEvent(t *testing.T) {
	s := newStage(t, "")
	long := `data: {"id":"1","choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 3<<19) + `"}}]}`
	for _, end := range []string{"\n\n", "\r\n\r\n"} {
		sent := ev1 + long + end + evFin + evUse + evDone + ev2
		want := ev1 + long + end + evFin + evDone
		edge := len(ev1) + len(long)
		for at := edge - 3; at <= edge+len(end)+3; at++ {
			a := s.play(t, "/v1/chat/completions", streaming, &script{pieces: []string{sent[:edge/2], sent[edge/2 : at], sent[at:]}})
			require.NoError(t, a.err)
			if !assert.True(t, a.body == want, "%q split at %+d: the end is %q", end, at-edge, tail(a.body)) {
				return
			}
		}
	}
	// Cut in the middle of it: no frame can be put inside an event.
	a := s.play(t, "/v1/chat/completions", streaming, &script{pieces: []string{ev1, long}, cut: "fin"})
	require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
	assert.NotContains(t, a.body, "upstream_interrupted")
}

func tail(s string) string { return s[max(0, len(s)-300):] }
