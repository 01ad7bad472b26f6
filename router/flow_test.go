package router

// Websockets whose sides do not play along, in time that does not pass.

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/metric"
	frames "github.com/helixflow/helixflow/internal/websocket"
)

// piped is a socket between two pipes.
type piped struct {
	*socket

	near, far net.Conn      // the client's and the backend's own ends
	over      chan struct{} // closed when the socket has ended
	others    sync.WaitGroup
}

func newPiped(idle, total time.Duration) *piped {
	near, client := net.Pipe()
	far, backend := net.Pipe()
	c := &clientConn{raw: client, nc: client, cell: cell{fd: -1}}
	p := &piped{
		socket: &socket{
			srv: &Server{log: slog.New(slog.DiscardHandler)}, cell: &c.cell,
			series: metric.New().Websockets(helixflow.OpRealtime),
			idle:   idle, began: time.Now(), until: time.Now().Add(total),
		},
		near: near, far: far, over: make(chan struct{}),
	}
	go func() {
		defer close(p.over)
		p.meet(c, nil)
		p.join(backend, nil, nil)
		p.up.run()
		p.finish()
		_, _ = client.Close(), backend.Close()
	}()
	return p
}

// hears reads what one side is sent: texts, and the close frame.
func hears(c net.Conn) (list []string, closed int) {
	br := bufio.NewReader(c)
	for {
		h, p, err := readFrame(br)
		switch {
		case err != nil:
			return list, 0
		case h.Opcode == frames.Close:
			return list, frames.CloseStatus(p)
		}
		list = append(list, string(p))
	}
}

func readFrame(br *bufio.Reader) (h frames.Header, payload []byte, err error) {
	size := 0
	for n := 2; size == 0; n++ {
		p, err := br.Peek(n)
		if err != nil {
			return h, nil, err
		}
		if h, size, err = frames.ParseHeader(p); err != nil {
			return h, nil, err
		}
	}
	_, _ = br.Discard(size)
	payload = make([]byte, h.Length)
	_, err = io.ReadFull(br, payload)
	frames.Mask(payload, h.Key, 0)
	return h, payload, err
}

func TestSocketStalls(t *testing.T) {
	endless := func(c net.Conn, masked bool) {
		for frame := frames.AppendFrame(nil, frames.Binary, make([]byte, 1000), masked); ; {
			if _, err := c.Write(frame); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // of the bubble's own time, which would stand still
		}
	}
	f := func(name string, play func(p *piped), want *ending, within time.Duration) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := newPiped(5*time.Minute, time.Hour)
				play(p)
				<-p.over
				assert.Equal(t, want.as.String(), p.end.Load().as.String())
				assert.LessOrEqual(t, time.Since(began), within)
				_, _ = p.near.Close(), p.far.Close()
				p.others.Wait()
			})
		})
	}
	f("the client takes nothing", func(p *piped) {
		p.others.Go(func() { endless(p.far, false) })
		_, status := hears(p.far)
		assert.Equal(t, frames.StatusGoingAway, status)
	}, endStall, 2*clientStall+2*partingFor)
	f("the backend takes nothing", func(p *piped) {
		p.others.Go(func() { endless(p.near, true) })
		_, status := hears(p.near)
		assert.Equal(t, frames.StatusInternal, status)
	}, endBackendStall, 2*clientStall+2*partingFor)
	f("the backend does not answer a close frame", func(p *piped) {
		p.others.Go(func() { _, _ = io.Copy(io.Discard, p.far) })
		began := time.Now()
		_, _ = p.near.Write(frames.AppendClose(nil, 4000, "", true))
		_, status := hears(p.near)
		assert.Equal(t, frames.StatusNormal, status)
		assert.Equal(t, replyFor, time.Since(began))
	}, endClient, replyFor+partingFor)
	f("the client does not", func(p *piped) {
		p.others.Go(func() { _, _ = io.Copy(io.Discard, p.near) })
		_, _ = p.far.Write(frames.AppendClose(nil, 4000, "", false))
		_, status := hears(p.far)
		assert.Equal(t, frames.StatusNormal, status)
	}, endBackend, replyFor+partingFor)
	f("both are silent", func(p *piped) {
		p.others.Go(func() {
			_, status := hears(p.far)
			assert.Equal(t, frames.StatusGoingAway, status)
		})
		_, status := hears(p.near)
		assert.Equal(t, frames.StatusGoingAway, status)
	}, endIdle, 5*time.Minute+partingFor)
	f("one is silent in the middle of a frame", func(p *piped) {
		giant := []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcdxyz")
		p.others.Go(func() { _, _ = p.near.Write(giant) })
		p.others.Go(func() {
			text, _ := io.ReadAll(p.far)
			assert.Equal(t, string(giant), string(text), "there is no place for a close frame")
		})
		_, status := hears(p.near)
		assert.Equal(t, frames.StatusGoingAway, status)
	}, endIdle, 5*time.Minute+partingFor)
	f("one drips for ever", func(p *piped) {
		p.others.Go(func() {
			for {
				if _, err := p.near.Write(frames.AppendFrame(nil, frames.Text, []byte("x"), true)); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		})
		p.others.Go(func() { _, _ = io.Copy(io.Discard, p.far) })
		list, status := hears(p.near)
		assert.Empty(t, list)
		assert.Equal(t, frames.StatusGoingAway, status)
	}, endTotal, time.Hour+partingFor)
}

// sink is a connection that keeps what is written.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error)    { return s.Buffer.Write(p) }
func (*sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (*sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzOutlet holds that frames of our own never part another, nor messages of ours
// another message, whatever is said when; and that nothing is lost.
func FuzzOutlet(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, count uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		var want []string
		open := false
		for range count { // a proper stream of a server's frames
			op, final := frames.Text, r.IntN(3) > 0
			if open {
				op = frames.Continuation
			}
			if r.IntN(4) == 0 {
				op, final = frames.Ping, true
			} else {
				open = !final
			}
			payload := bytes.Repeat([]byte{'a' + byte(r.IntN(26))}, r.IntN(200)*int(op&1+1)%126)
			h := frames.Header{Final: final, Opcode: op, Length: int64(len(payload))}
			stream = append(h.AppendTo(stream), payload...)
			want = append(want, string(payload))
		}
		var to sink
		var o outlet
		o.to(&to, false)
		var follow frames.Follower
		said, parted := 0, false
		var held []byte
		for rest := stream; len(rest) > 0; {
			switch r.IntN(6) {
			case 0:
				if !parted {
					require.NoError(t, o.say(frames.AppendFrame(nil, frames.Text, []byte("OURS"), false)))
					said++
				}
			case 1:
				if r.IntN(10) == 0 {
					o.part(1001, "")
					parted = true
				}
			}
			n := 1 + r.IntN(min(len(rest), 300))
			held, rest = append(held, rest[:n]...), rest[n:]
			n, end, err := follow.Follow(held)
			require.NoError(t, err)
			require.NoError(t, o.pass(held[:n], end, follow.Open(), follow.Closed()))
			held = held[n:]
		}

		// What came out, frame by frame.
		br := bufio.NewReader(&to.Buffer)
		ours, theirs, closed := 0, 0, false
		open = false
		for {
			h, p, err := readFrame(br)
			if err != nil {
				break
			}
			require.False(t, closed, "a frame behind the close frame")
			switch {
			case string(p) == "OURS":
				require.False(t, open, "a message of ours inside of another")
				ours++
			case h.Opcode == frames.Close:
				closed = true
			default:
				require.Equal(t, want[theirs], string(p))
				theirs++
				if !h.Opcode.IsControl() {
					open = !h.Final
				}
			}
		}
		require.Equal(t, parted, closed)
		if !parted {
			require.Equal(t, len(want), theirs)
			if !open {
				require.Equal(t, said, ours)
			}
		}
	})
}
