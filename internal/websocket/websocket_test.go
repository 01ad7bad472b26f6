package websocket

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseHeader(t *testing.T) {
	f := func(p string, want Header, size int, err error) {
		t.Helper()
		h, n, e := ParseHeader([]byte(p))
		assert.Equal(t, want, h)
		assert.Equal(t, size, n)
		assert.Equal(t, err, e)
		if size > 0 {
			assert.Equal(t, p[:size], string(h.AppendTo(nil)))
			for short := range size {
				_, n, e = ParseHeader([]byte(p[:short]))
				assert.Zero(t, n)
				assert.NoError(t, e)
			}
		}
	}
	f("", Header{}, 0, nil)
	f("\x81", Header{}, 0, nil)
	f("\x81\x00", Header{Final: true, Opcode: Text}, 2, nil)
	f("\x02\x7d", Header{Opcode: Binary, Length: 125}, 2, nil)
	f("\x80\xfdabcd", Header{Final: true, Masked: true, Key: [4]byte{'a', 'b', 'c', 'd'}, Length: 125}, 6, nil)
	f("\xc1\x7e\x01\x00", Header{Final: true, Reserved: 0x40, Opcode: Text, Length: 256}, 4, nil)
	f("\x81\xfe\xff\xffabcd", Header{Final: true, Opcode: Text, Masked: true, Key: [4]byte{'a', 'b', 'c', 'd'}, Length: 1<<16 - 1}, 8, nil)
	f("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Header{Final: true, Opcode: Text, Length: 1 << 16}, 10, nil)
	f("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", Header{Final: true, Opcode: Text, Masked: true, Key: [4]byte{'a', 'b', 'c', 'd'}, Length: 1<<63 - 1}, 14, nil)
	f("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Header{}, 0, ErrLength)
	f("\x89\x7e\x00\x7e", Header{}, 0, ErrControl)
	f("\x09\x00", Header{}, 0, ErrControl)
	f("\x88\x7d", Header{Final: true, Opcode: Close, Length: 125}, 2, nil)
}

func TestMask(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for size := range 40 {
		for offset := range int64(5) {
			p := bytes.Repeat([]byte{0x5a}, size)
			want := bytes.Clone(p)
			ws.Cipher(want, key, int(offset))
			Mask(p, key, offset)
			require.Equal(t, want, p, "%d bytes at %d", size, offset)
		}
	}
}

func TestAppendFrame(t *testing.T) {
	assert.Equal(t, "\x81\x02hi", string(AppendFrame(nil, Text, []byte("hi"), false)))
	p := AppendFrame([]byte("x"), Text, []byte("hello"), true)
	r := bytes.NewReader(p[1:])
	h, err := ws.ReadHeader(r)
	require.NoError(t, err)
	payload := p[len(p)-r.Len():]
	ws.Cipher(payload, h.Mask, 0)
	assert.Equal(t, "hello", string(payload))
	assert.Equal(t, "\x88\x06\x03\xe9bye!", string(AppendClose(nil, StatusGoingAway, "bye!", false)))
	long := AppendClose(nil, StatusGoingAway, strings.Repeat("x", 200), false)
	assert.Len(t, long, 2+maxControl)
	assert.Equal(t, StatusNone, CloseStatus([]byte("x")))
	assert.Equal(t, StatusGoingAway, CloseStatus(long[2:]))
}

func TestHandshake(t *testing.T) {
	// The example of RFC 6455, section 1.3.
	assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", string(AppendAccept(nil, []byte("dGhlIHNhbXBsZSBub25jZQ=="))))
	a, b := AppendRandomKey(nil), AppendRandomKey(nil)
	assert.True(t, ValidKey(a))
	assert.NotEqual(t, a, b)
	for _, bad := range []string{"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZ!==", "!!!!!!!!!!!!!!!!!!!!!!=="} {
		assert.False(t, ValidKey([]byte(bad)), bad)
	}
	lines := [][]byte{[]byte("keep-alive, Upgrade"), []byte(" ,x")}
	assert.True(t, HasToken(lines, "upgrade"))
	assert.True(t, HasToken(lines, "X"))
	assert.False(t, HasToken(lines, "up"))
	assert.False(t, HasToken(nil, "upgrade"))
}

// follow shows p to a Follower in pieces of this size, as it may be called, and
// returns what may pass and where frames ended.
func follow(f *Follower, p []byte, size int) (passed []byte, ends []int, err error) {
	var held []byte
	for len(p) > 0 && err == nil && !f.Closed() {
		step := min(size, len(p))
		held = append(held, p[:step]...)
		p = p[step:]
		var n, end int
		n, end, err = f.Follow(held)
		if end > 0 {
			ends = append(ends, len(passed)+end)
		}
		passed = append(passed, held[:n]...)
		held = held[n:]
	}
	return passed, ends, err
}

func TestFollower(t *testing.T) {
	text := AppendFrame(nil, Text, []byte("hello"), false)
	start := []byte("\x01\x03abc")
	ping := AppendFrame(nil, Ping, nil, false)
	last := []byte("\x80\x01d")
	bye := AppendClose(nil, 4000, "why", false)
	all := bytes.Join([][]byte{text, start, ping, last, bye, []byte("behind")}, nil)
	whole := len(all) - len("behind")
	for size := 1; size <= len(all); size++ {
		var f Follower
		passed, ends, err := follow(&f, all, size)
		require.NoError(t, err)
		assert.Equal(t, string(all[:whole]), string(passed))
		assert.Equal(t, whole, ends[len(ends)-1])
		assert.True(t, f.Closed())
		assert.Equal(t, 4000, f.Status())
	}
	var f Follower
	_, ends, err := follow(&f, all, 1)
	require.NoError(t, err)
	assert.Equal(t, []int{7, 12, 14, 17, whole}, ends)

	open := func(p []byte, want bool) {
		t.Helper()
		var f Follower
		_, _, err := f.Follow(p)
		require.NoError(t, err)
		assert.Equal(t, want, f.Open())
	}
	open(text, false)
	open(start, true)
	open(start[:4], false) // not ended yet
	open(append(bytes.Clone(start), ping...), true)
	open(bytes.Join([][]byte{start, ping, last}, nil), false)

	// A close frame without a status; one whose status is masked.
	f = Follower{}
	_, _, err = f.Follow([]byte("\x88\x00"))
	require.NoError(t, err)
	assert.Equal(t, StatusNone, f.Status())
	f = Follower{FromClient: true}
	_, _, err = follow(&f, AppendClose(nil, 1001, "", true), 1)
	require.NoError(t, err)
	assert.Equal(t, 1001, f.Status())
}

func TestFollowerRefuses(t *testing.T) {
	f := func(fromClient bool, p string, passed, end int, want error) {
		t.Helper()
		n, e, err := (&Follower{FromClient: fromClient}).Follow([]byte(p))
		assert.Equal(t, want, err)
		assert.Equal(t, passed, n)
		assert.Equal(t, end, e)
	}
	f(true, "\x81\x01x", 0, 0, ErrMask)
	f(false, "\x81\x81abcdx", 0, 0, ErrMask)
	f(false, "\x81\x01x\x89\x7e\x01\x00", 3, 3, ErrControl)
	f(false, "\x81\x01x\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 3, 3, ErrLength)
}

// A giant frame is followed without ever being held; its end is never skipped.
func TestFollowerGiant(t *testing.T) {
	f := Follower{}
	n, end, err := f.Follow([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc"))
	require.NoError(t, err)
	assert.Equal(t, 13, n)
	assert.Zero(t, end)
	f.Skip(1 << 40)
	assert.Equal(t, int64(1<<63-1-3-1<<40), f.Left())
	assert.Panics(t, func() { f.Skip(f.Left()) })
}

func FuzzParseHeader(f *testing.F) {
	for _, seed := range []string{"", "\x81\x00", "\x80\xfdabcd", "\xc1\x7e\x01\x00", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "\x09\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, size, err := ParseHeader(p)
		r := bytes.NewReader(p)
		want, wantErr := ws.ReadHeader(r)
		if wantErr == nil && want.OpCode.IsControl() && (!want.Fin || want.Length > ws.MaxControlFramePayloadSize) {
			require.Equal(t, ErrControl, err) // which gobwas leaves to a later check
			return
		}
		switch {
		case wantErr == ws.ErrHeaderLengthMSB:
			require.Equal(t, ErrLength, err)
		case wantErr != nil: // it ends too early
			require.NoError(t, err)
			require.Zero(t, size)
		default:
			require.NoError(t, err)
			require.Equal(t, len(p)-r.Len(), size)
			require.Equal(t, want, ws.Header{Fin: h.Final, Rsv: h.Reserved >> 4, OpCode: ws.OpCode(h.Opcode), Masked: h.Masked, Mask: h.Key, Length: h.Length})
			again, n, err := ParseHeader(h.AppendTo(nil))
			require.NoError(t, err)
			require.Equal(t, h, again)
			require.LessOrEqual(t, n, size)
		}
	})
}

// FuzzFollower holds that however bytes come in pieces, the same of them pass, and
// frames end where a reader of whole frames sees them end.
func FuzzFollower(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x01\x03abc\x89\x00\x80\x01d\x88\x02\x03\xe8"), uint8(3), false)
	f.Add(AppendFrame(AppendFrame(nil, Text, []byte("hello"), true), Close, []byte("\x03\xe8"), true), uint8(1), true)
	f.Fuzz(func(t *testing.T, p []byte, size uint8, fromClient bool) {
		one, pieces := Follower{FromClient: fromClient}, Follower{FromClient: fromClient}
		n, end, err := one.Follow(p)
		passed, ends, piecesErr := follow(&pieces, p, int(size)+1)
		require.Equal(t, err, piecesErr)
		require.Equal(t, string(p[:n]), string(passed))
		require.Equal(t, one, pieces)

		want := 0
		for r := bytes.NewReader(p); ; {
			h, err := ws.ReadHeader(r)
			if err != nil || h.Masked != fromClient || h.Length > int64(r.Len()) || h.OpCode.IsControl() && (!h.Fin || h.Length > 125) {
				break
			}
			_, _ = r.Seek(h.Length, 1)
			want = len(p) - r.Len()
			if h.OpCode == ws.OpClose {
				break
			}
		}
		require.Equal(t, want, end)
		if len(ends) > 0 {
			require.Equal(t, end, ends[len(ends)-1])
		}
	})
}
