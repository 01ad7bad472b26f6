package router

// The loop of one client connection: requests one after the other, and an end
// that lets the last answer be read.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests sent in one go are answered in order, whatever the pieces they come
// in, each with its own answer.
func TestPipelining(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		n := a.req.Header.Get("X-N")
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf(`data: {"id":"`+n+`"}`+"\n\n"+evFin+evDone) + lastChunk)
			return true
		}
		a.write(jsonAnswer(`{"id":"` + n + `"}`))
		return true
	})))
	all, want := "", ""
	for n := range 12 {
		header := fmt.Sprintf("X-N: %d", n)
		switch n % 6 {
		case 0:
			all += chat(simple, header)
			want += fmt.Sprintf(`200 {"id":"%d"}`, n) + "\n"
		case 1:
			all += "\r\n" + chat(streaming, header) // a stray empty line is legal
			want += "200 data: " + fmt.Sprintf(`{"id":"%d"}`, n) + "\n\n" + evFin + evDone + "\n"
		case 2:
			all += "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
			want += "404 \n"
		case 3:
			all += "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + header + "\r\nTransfer-Encoding: chunked\r\n\r\n" +
				chunkOf(simple[:9]) + chunkOf(simple[9:]) + "0\r\nX-Trailer: a\r\n\r\n"
			want += fmt.Sprintf(`200 {"id":"%d"}`, n) + "\n"
		case 4: // refused before its body was read
			all += postTo("/nowhere", strings.Repeat("x", 20000))
			want += "404 \n"
		case 5:
			all += chat(simple, header, "X-Big: "+strings.Repeat("x", 6000))
			want += fmt.Sprintf(`200 {"id":"%d"}`, n) + "\n"
		}
	}
	for _, size := range []int{len(all), 1000, 4096, 1777} {
		c := w.dial(t)
		go func() {
			for at := 0; at < len(all); at += size {
				_, _ = io.WriteString(c, all[at:min(at+size, len(all))])
				<-time.After(beat)
			}
		}()
		br := bufio.NewReader(c)
		got := ""
		for range 12 {
			a := readAnswer(t, br)
			require.NoError(t, a.err)
			if a.status != 200 {
				a.body = ""
			}
			got += fmt.Sprint(a.status, " ", a.body, "\n")
		}
		require.Equal(t, want, got, "in pieces of %d", size)
		_ = c.Close()
	}
}

// Who is refused with a body on its way is told that the connection ends, and
// reads the answer: also one who wanted it to end, and an old client.
func TestRefusalBeforeTheEnd(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	const size = 4 << 20
	f := func(name, version string, status int, headers ...string) {
		t.Helper()
		for range 5 {
			c := w.dial(t)
			_, err := io.WriteString(c, "POST /v1/chat/completions HTTP/"+version+"\r\nHost: x\r\n"+strings.Join(append(headers, "", ""), "\r\n"))
			require.NoError(t, err)
			sent := make(chan error, 1)
			go func() {
				block := []byte(strings.Repeat(" ", 64<<10))
				var err error
				for n := 0; n < size && err == nil; n += len(block) {
					_, err = c.Write(block)
				}
				sent <- err
			}()
			require.NoError(t, <-sent, "%s: the upload was broken off", name)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err, name)
			assert.Equal(t, status, resp.StatusCode, name)
			assert.True(t, resp.Close, "%s: the answer does not say that the connection ends", name)
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err, name)
			_ = c.Close()
		}
	}
	length := fmt.Sprintf("Content-Length: %d", size)
	f("too large", "1.1", 413, length)
	f("key", "1.1", 401, length, "Authorization: Bearer sk-x")
	f("key, close", "1.1", 401, length, "Authorization: Bearer sk-x", "Connection: close")
	f("too large, close", "1.1", 413, length, "Connection: close")
	f("key, 1.0", "1.0", 401, length, "Authorization: Bearer sk-x")
	f("chunked, close", "1.1", 401, "Transfer-Encoding: chunked", "Authorization: Bearer sk-x", "Connection: close", "", fmt.Sprintf("%x", size))
}

// A cut must not look like an end to a client whose only sign of one is the
// closing of its connection.
func TestCutForOldClients(t *testing.T) {
	big := "{" + strings.Repeat(" ", 500_000)
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkOf(big))
		return false
	})))
	a := w.ask(t, strings.Replace(chat(simple), "HTTP/1.1", "HTTP/1.0", 1))
	assert.Error(t, a.err, "%d bytes and a proper end", len(a.body))
}

// Control characters in a header are refused, or go no further: to the next
// parser a bare CR may be a line's end.
func TestControlCharactersInHeaders(t *testing.T) {
	for _, value := range []string{"a\rX-Evil: b", "a\x00b", "a\x0bb", "a\x7fb", "a\r\rX-Evil: b"} {
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			assert.NotContains(t, a.head, "Evil", "%q reached the backend", value)
			assert.NotContains(t, strings.ReplaceAll(a.head, "\r\n", ""), "\r", "%q reached the backend", value)
			assert.NotContains(t, a.head, "\x00", "%q reached the backend", value)
			a.write("HTTP/1.1 200 OK\r\nX-A: " + value + "\r\nContent-Length: 2\r\n\r\n{}")
			return true
		})))
		for _, raw := range []string{
			chat(simple), chat(simple, "X-A: "+value), chat(simple, "User-Agent: "+value), chat(simple, "x-request-id: "+value),
			strings.Replace(chat(simple), "application/json", "application/json;"+value, 1),
		} {
			c := w.dial(t)
			_, err := io.WriteString(c, raw)
			require.NoError(t, err)
			br := bufio.NewReader(c)
			head, err := readHeadText(br)
			require.NoError(t, err)
			assert.Regexp(t, "^HTTP/1.1 (200|400|502|415) ", head)
			assert.NotContains(t, head, "\x00", "%q", value)
			assert.NotContains(t, strings.ReplaceAll(head, "\r\n", ""), "\r", "%q", value)
			assert.NotContains(t, head, "Evil", "%q", value)
			_ = c.Close()
		}
	}
}

func readHeadText(br *bufio.Reader) (string, error) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		b, err := br.ReadByte()
		if err != nil {
			return head.String(), err
		}
		head.WriteByte(b)
	}
	return head.String(), nil
}

// Thousands of idle connections cost a drain nothing, and none is left open.
func TestDrainClosesIdleConnections(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })))
	conns := make([]*bufio.Reader, 50)
	for i := range conns {
		c := w.dial(t)
		conns[i] = bufio.NewReader(c)
		if i%2 == 0 { // the others have never said a word
			_, err := io.WriteString(c, chat(simple))
			require.NoError(t, err)
			require.Equal(t, 200, readAnswer(t, conns[i]).status)
		}
	}
	began := time.Now()
	w.srv.Drain(t.Context(), 0, time.Minute)
	assert.Less(t, time.Since(began), 30*time.Second, "the limit is a minute")
	for i, br := range conns {
		_, err := br.ReadByte()
		assert.Error(t, err, "connection %d is open", i)
	}
}

// A client that is found to have left only when its answer is written costs
// nothing but its connection.
func TestClientGoneAtTheWrite(t *testing.T) {
	reached, proceed := make(chan struct{}), make(chan struct{})
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		reached <- struct{}{}
		<-proceed
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf(ev1+evFin+evDone) + lastChunk)
		} else {
			a.write(jsonAnswer(`{}`))
		}
		return true
	})))
	for _, raw := range []string{
		chat(simple), chat(streaming), strings.Replace(chat(simple), "HTTP/1.1", "HTTP/1.0", 1), strings.Replace(chat(streaming), "HTTP/1.1", "HTTP/1.0", 1),
	} {
		near, far := net.Pipe() // nobody watches a pipe for its hang-up
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.srv.attach(far).serve()
		}()
		_, err := io.WriteString(near, raw)
		require.NoError(t, err)
		<-reached
		_ = near.Close()
		proceed <- struct{}{}
		<-done
	}
	assert.NotContains(t, w.log.String(), "panic")
	assert.Zero(t, w.srv.inflight.Load())
}
