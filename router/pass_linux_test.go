package router

// Streams whose plain middle is passed on in the loop.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testtiming"
)

// onStep has told called after each step, with what it returned.
func onStep(t *testing.T, told func(e *Exchange, done bool)) {
	fresh := exchanges.New
	exchanges.New = func() any {
		e := fresh().(*Exchange)
		pass := e.pass
		e.pass = func() bool {
			done := pass()
			told(e, done)
			return done
		}
		return e
	}
	forget := func() { // what the pool has
		runtime.GC()
		runtime.GC()
	}
	forget()
	t.Cleanup(func() { exchanges.New = fresh; forget() })
}

// countSteps counts how often a step passed on what there was, and how often it gave
// back to its goroutine.
func countSteps(t *testing.T) (on, back *atomic.Int64) {
	on, back = new(atomic.Int64), new(atomic.Int64)
	onStep(t, func(_ *Exchange, done bool) {
		if done {
			back.Add(1)
		} else {
			on.Add(1)
		}
	})
	return on, back
}

// Between its first token and its end a plain stream does not wake its goroutine.
func TestPlainEventsArePassedOn(t *testing.T) {
	const n = 50
	on, back := countSteps(t) // once: a later hook would miss what the pool has by then
	f := func(raw, events, end string, passed bool) {
		t.Helper()
		on.Store(0)
		back.Store(0)
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			a.write(sseHead)
			for range n {
				a.write(chunkOf(events) + chunkOf(events))
				time.Sleep(2 * time.Millisecond)
			}
			a.write(chunkOf(end) + lastChunk)
			return true
		})))
		a := w.ask(t, raw)
		require.NoError(t, a.err)
		w.settled(t)
		require.Equal(t, strings.Repeat(events, 2*n)+end, a.body)
		if !passed {
			assert.Zero(t, on.Load())
			return
		}
		assert.Greater(t, on.Load(), int64(5), "or the machine stood still")
		assert.LessOrEqual(t, back.Load(), int64(2))
	}
	f(chat(streaming), ev2, evFin+evDone, true)
	f(chat(streaming), ev2+ev2, evFin+evDone, true)
	f(chat(`{"model":"m","messages":[{"role":"user","content":"`+strings.Repeat("long ", 20_000)+`"}],"stream":true}`), ev2, evFin+evDone, true)
	f(postTo("/v1/completions", `{"model":"m","prompt":"p","stream":true}`), `data: {"choices":[{"text":"a","finish_reason":null}]}`+"\n\n", evFin+evDone, true)
	const delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"a\"}\n\n"
	const completed = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	f(postTo("/v1/responses", `{"model":"m","input":"p","stream":true}`), delta, completed, true)
	f(strings.Replace(chat(streaming), "HTTP/1.1", "HTTP/1.0", 1), ev2, evFin+evDone, false)
}

// Whatever comes, in whatever pieces, goes out as it came.
func TestPassingOnChangesNothing(t *testing.T) {
	kinds := []string{
		ev2, ev2, ev2, ev2, ev1,
		": a comment\n\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"crlf\"}}]}\r\n\r\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("long ", 1500) + "\"}}]}\n\n",
		"event: odd\ndata: {\"choices\":[]}\n\n",
	}
	for seed := range uint64(testtiming.Rounds(60)) {
		rng := rand.New(rand.NewPCG(seed, 1))
		text := ev1
		for range 1 + rng.IntN(60) {
			text += kinds[rng.IntN(len(kinds))]
		}
		text += evFin + evDone
		wire := ""
		for rest := text; rest != ""; {
			n := 1 + rng.IntN(min(len(rest), []int{30, 300, 9000}[rng.IntN(3)]))
			if at := strings.Index(rest, "\n\n"); rng.IntN(3) > 0 && at >= 0 {
				n = at + 2
			}
			wire += chunkOf(rest[:n])
			rest = rest[n:]
		}
		wire += lastChunk
		cuts := rng.IntN(20)
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			a.write(sseHead)
			rest := wire
			for range cuts {
				n := rng.IntN(len(rest)/2 + 1)
				a.write(rest[:n])
				rest = rest[n:]
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			}
			a.write(rest)
			return true
		})))
		a := w.ask(t, chat(streaming))
		require.NoError(t, a.err, "seed %d", seed)
		require.Equal(t, text, a.body, "seed %d", seed)
	}
}

// What a client does not take at once waits for it, and holds back the backend.
func TestPassingOnToASlowClient(t *testing.T) {
	event := strings.Replace(ev2, `"content":"`, `"content":"`+strings.Repeat("much ", 600), 1)
	require.Greater(t, len(event), 3000)
	var sent atomic.Int64
	stop := make(chan struct{})
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		for {
			select {
			case <-stop:
				a.write(chunkOf(evFin+evDone) + lastChunk)
				return true
			case <-time.After(50 * time.Microsecond): // so that each is read alone
			}
			if _, err := io.WriteString(a.conn, chunkOf(event)); err != nil {
				return false
			}
			sent.Add(1)
		}
	})))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	requireHeldBack(t, &sent)
	close(stop)
	a := readAnswer(t, bufio.NewReader(c))
	require.NoError(t, a.err)
	require.Equal(t, ev1+strings.Repeat(event, int(sent.Load()))+evFin+evDone, a.body)
}

// A stream that comes faster than it can be passed on lets others have their turn.
func TestPassingOnABurst(t *testing.T) {
	_, back := countSteps(t)
	const n = 50
	event := strings.Replace(ev2, `"content":"`, `"content":"`+strings.Repeat("x", 4096-len(chunkOf(ev2))-1), 1)
	require.Len(t, chunkOf(event), 4096, "what is read at once")
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		time.Sleep(20 * time.Millisecond)
		a.write(strings.Repeat(chunkOf(event), n))
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	})))
	a := w.ask(t, chat(streaming))
	require.NoError(t, a.err)
	require.Equal(t, ev1+strings.Repeat(event, n)+evFin+evDone, a.body)
	require.GreaterOrEqual(t, back.Load(), int64(3))
}

func TestWriteInPassing(t *testing.T) {
	client, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	peer, err := net.Dial("tcp", client.Addr().String())
	require.NoError(t, err)
	nc, err := client.Accept()
	require.NoError(t, err)
	require.NoError(t, client.Close())
	defer func() { _ = nc.Close() }()
	c := &clientConn{nc: nc}
	w := newTurn(c)

	much := make([]byte, 64<<20)
	n, err := w.write(much)
	require.NoError(t, err)
	require.Positive(t, n)
	require.Less(t, n, len(much), "it waits for nothing")
	n, err = w.write(much)
	require.NoError(t, err)
	require.Less(t, n, len(much))

	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	require.Eventually(t, func() bool { _, err = w.write(much[:1]); return err != nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, nc.Close())
	_, err = w.write(much[:1])
	require.ErrorIs(t, err, net.ErrClosed)
}

// Both ends may leave while nobody but the loop looks at the stream.
func TestLeavingWhilePassedOn(t *testing.T) {
	begin := func(a *asked) {
		a.write(sseHead)
		for range 10 {
			a.write(chunkOf(ev2))
			time.Sleep(2 * time.Millisecond)
		}
	}
	for _, last := range []string{"", lastChunk} { // in the same packet; a close maybe, too
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			begin(a)
			a.write(chunkOf(ev2) + last)
			return false
		})))
		a := w.ask(t, chat(streaming))
		require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
		require.Equal(t, strings.Repeat(ev2, 11)+cutFrame, a.body)
	}

	for _, reset := range []bool{false, true} {
		left := make(chan time.Duration, 1)
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			begin(a)
			began := time.Now()
			for {
				select {
				case <-a.left:
					left <- time.Since(began)
					return false
				case <-time.After(2 * time.Millisecond):
					a.write(chunkOf(ev2))
				}
			}
		})))
		c := w.dial(t)
		_, err := io.WriteString(c, chat(streaming))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 2000))
		require.NoError(t, err)
		if reset {
			require.NoError(t, c.SetLinger(0))
		}
		require.NoError(t, c.Close())
		select {
		case <-left:
		case <-time.After(10 * time.Second):
			t.Fatal("the backend was not told")
		}
	}
}

// A client that cannot be written to has left, whoever finds that out.
func TestNoWritingWhilePassedOn(t *testing.T) {
	var steps atomic.Int64
	onStep(t, func(e *Exchange, _ bool) {
		if steps.Add(1) == 5 {
			assert.NoError(t, e.conn.raw.(*net.TCPConn).CloseWrite())
		}
	})
	left := make(chan bool, 1)
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead)
		for {
			select {
			case <-a.left:
				left <- true
				return false
			case <-time.After(2 * time.Millisecond):
				a.write(chunkOf(ev2))
			}
		}
	})))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	a := readAnswer(t, bufio.NewReader(c)) // and stays
	require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
	require.NotContains(t, a.body, codeInterrupted)
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the backend was not told")
	}
}

// A connection serves again behind a stream that was passed on.
func TestConnectionsOfStreamsAreUsedAgain(t *testing.T) {
	var conns atomic.Int64
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		if a.nth == 1 {
			conns.Add(1)
		}
		if !strings.Contains(a.body, "stream") {
			a.write(jsonAnswer(`{"choices":[]}`))
			return true
		}
		a.write(sseHead)
		for range 5 {
			a.write(chunkOf(ev2))
			time.Sleep(time.Millisecond)
		}
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	})))
	c := w.dial(t)
	br := bufio.NewReader(c)
	for range 10 {
		for _, body := range []string{streaming, simple} {
			_, err := io.WriteString(c, chat(body))
			require.NoError(t, err)
			a := readAnswer(t, br)
			require.NoError(t, a.err)
			require.Equal(t, http.StatusOK, a.status)
		}
	}
	assert.EqualValues(t, 2, conns.Load(), "one for streams and one for all else")
}

// What is passed on costs no memory.
func TestPassingOnDoesNotAllocate(t *testing.T) {
	ready := make(chan net.Conn, 1)
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		ready <- a.conn
		<-a.left
		return false
	})))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	engine := <-ready
	b := make([]byte, 64<<10)
	for n := 0; !bytes.Contains(b[:n], []byte(ev1)); {
		k, err := c.Read(b[n:])
		require.NoError(t, err)
		n += k
	}
	event := []byte(chunkOf(ev2))
	once := func() {
		if _, err := engine.Write(event); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(event); {
			k, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	for range 100 {
		once()
	}
	if got := testing.AllocsPerRun(testtiming.Rounds(1000), once); !raceBuild {
		assert.Zero(t, got)
	}
	require.NoError(t, c.Close())
}

// BenchmarkStreams is many streams that say little at a time.
func BenchmarkStreams(b *testing.B) {
	const streams = 200
	conns := make(chan net.Conn, streams)
	w := newWorld(b, open("", newBackend(b, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		conns <- a.conn
		<-a.left
		return false
	})))
	var engines []net.Conn
	for range streams {
		c := w.dial(b)
		require.NoError(b, c.SetDeadline(time.Time{}))
		_, err := io.WriteString(c, chat(streaming))
		require.NoError(b, err)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		engines = append(engines, <-conns)
	}
	event := []byte(chunkOf(ev2))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := engines[i%streams].Write(event); err != nil {
			b.Fatal(fmt.Errorf("cannot write an event: %w", err))
		}
	}
}
