package framing

// The body's framing: whatever way the bytes come in, the same body comes out,
// and a cut is never an end.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http/httputil"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pieces is a connection that reads one given piece after the other; a nil
// piece is a deadline that runs out. After the last one comes end.
type pieces struct {
	list  [][]byte
	end   error
	reads int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.reads++
	if len(p.list) == 0 {
		return 0, p.end
	}
	head := p.list[0]
	if head == nil {
		p.list = p.list[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, head)
	if p.list[0] = head[n:]; n == len(head) {
		p.list = p.list[1:]
	}
	return n, nil
}

func over(p *pieces, kind Kind, length int64) *Body {
	b := new(Body)
	b.Begin(bufio.NewReaderSize(p, 4<<10), kind, length)
	return b
}

// drive reads the body to its end and holds More to its word meanwhile.
func drive(t testing.TB, l *Body, p *pieces) (string, error) {
	t.Helper()
	_, _ = l.r.Peek(1) // what comes with the head lies in the buffer
	var got []byte
	for range 1 << 20 {
		more, before := l.More(), p.reads
		b, err := l.Next()
		if more && p.reads != before {
			t.Fatalf("More claimed what Next had to wait for; so far %q", got)
		}
		got = append(got, b...)
		if err == nil {
			require.NotEmpty(t, b, "an empty piece")
			continue
		}
		if err == io.EOF {
			return string(got), nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return string(got), err
		}
	}
	t.Fatal("no end")
	return "", nil
}

func split(data string, cuts ...int) (list [][]byte) {
	from := 0
	for _, at := range cuts {
		if at > from && at < len(data) {
			list = append(list, []byte(data[from:at]))
			from = at
		}
	}
	return append(list, []byte(data[from:]))
}

func everyByte(data string) (list [][]byte) {
	for i := range len(data) {
		list = append(list, nil, []byte(data[i:i+1]))
	}
	return list
}

func TestChunkedBody(t *testing.T) {
	f := func(data, want string, wantErr error) {
		t.Helper()
		ways := [][][]byte{{[]byte(data)}, everyByte(data)}
		for at := 1; at < len(data); at++ {
			ways = append(ways, split(data, at))
		}
		for _, way := range ways {
			p := &pieces{list: way, end: io.EOF}
			got, err := drive(t, over(p, ByChunks, 0), p)
			if !assert.Equal(t, wantErr, err, "%.80q split %.200q", data, way) {
				return
			}
			if wantErr == nil {
				require.Equal(t, want, got)
			} else {
				require.True(t, strings.HasPrefix(want, got), "%q gave %q", data, got)
			}
		}
	}
	f("5\r\nhello\r\n0\r\n\r\n", "hello", nil)
	f("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", nil)
	f("0\r\n\r\n", "", nil)
	f("000\r\n\r\n", "", nil)
	f("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", nil)
	f("000000000000005\r\nhello\r\n0\r\n\r\n", "hello", nil)
	f("5;name=value;x=\"y\"\r\nhello\r\n0;last\r\n\r\n", "hello", nil)
	f("5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n", "hello", nil)
	f("00\r\nA: b\r\nC: d\r\n\r\n", "", nil)
	f("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", nil)

	for _, size := range []string{
		"", "x", "0x5", "+5", "-1", "5_0", " 5", "5 ", "5\t", "5\x00", ";", ";a=b", "5\x0b",
		"fffffffffffffffff", "8000000000000000", "0000000000000005", "\r5", "5\r", "5;a\rb", "5;a\r",
	} {
		f(size+"\r\nhello\r\n0\r\n\r\n", "", ErrChunkSize)
	}
	f("5\nhello\r\n0\r\n\r\n", "", ErrChunkSize)
	f("\r\n5\r\nhello\r\n0\r\n\r\n", "", ErrChunkSize)
	f("5;a=\n\r\nhello\r\n0\r\n\r\n", "", ErrChunkSize)
	f("5\r\nhello0\r\n\r\n", "hello", ErrChunkEnd)
	f("5\r\nhello\n0\r\n\r\n", "hello", ErrChunkEnd)
	f("5\r\nhello\r0\r\n\r\n", "hello", ErrChunkEnd)
	f("5\r\nhello!\r\n0\r\n\r\n", "hello", ErrChunkEnd)
	f("0\r\nA: b\n\r\n", "", ErrTrailer)
	f("0\r\n\n", "", ErrTrailer)
}

func TestChunkedBodyTruncatedAtEveryByte(t *testing.T) {
	const whole = "5;x\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n"
	for at := range len(whole) {
		for _, way := range [][][]byte{{[]byte(whole[:at])}, everyByte(whole[:at])} {
			p := &pieces{list: way, end: io.EOF}
			got, err := drive(t, over(p, ByChunks, 0), p)
			require.Equal(t, io.ErrUnexpectedEOF, err, "cut at %d", at)
			require.True(t, strings.HasPrefix("hello world", got), "cut at %d gave %q", at, got)
		}
	}
}

// How a long line is judged must not depend on how it came.
func TestChunkLineLimits(t *testing.T) {
	f := func(data string, limitError error) {
		t.Helper()
		for _, way := range [][][]byte{{[]byte(data)}, everyByte(data), split(data, 1000), split(data, 1100)} {
			p := &pieces{list: way, end: io.EOF}
			_, err := drive(t, over(p, ByChunks, 0), p)
			assert.Equal(t, limitError, err, "%.20q… in %d pieces", data, len(way))
		}
	}
	f("5;"+strings.Repeat("x", 900)+"\r\nhello\r\n0\r\n\r\n", nil)
	f("5;"+strings.Repeat("x", 2000)+"\r\nhello\r\n0\r\n\r\n", ErrChunkSize)
	f("0\r\nA: "+strings.Repeat("x", 4000)+"\r\n\r\n", nil)
	f("0\r\nA: "+strings.Repeat("x", 9000)+"\r\n\r\n", ErrTrailer)
	f("0\r\n"+strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 9)+"\r\n", ErrTrailer)
}

func TestBodyByLength(t *testing.T) {
	f := func(length int64, data, want string, wantErr error) {
		t.Helper()
		for _, way := range [][][]byte{{[]byte(data)}, everyByte(data)} {
			p := &pieces{list: way, end: io.EOF}
			got, err := drive(t, over(p, ByLength, length), p)
			assert.Equal(t, wantErr, err)
			assert.Equal(t, want, got)
		}
	}
	f(0, "", "", nil)
	f(0, "extra", "", nil)
	f(5, "hello", "hello", nil)
	f(5, "hello, world", "hello", nil)
	f(6, "hello", "hello", io.ErrUnexpectedEOF)
	f(5, "", "", io.ErrUnexpectedEOF)
	big := strings.Repeat("0123456789", 5000)
	f(int64(len(big)), big, big, nil)
	f(int64(len(big))+1, big, big, io.ErrUnexpectedEOF)
}

func TestBodyUntilClose(t *testing.T) {
	for _, data := range []string{"", "hello", strings.Repeat("x", 20000)} {
		p := &pieces{list: everyByte(data), end: io.EOF}
		got, err := drive(t, over(p, UntilClose, 0), p)
		assert.NoError(t, err)
		assert.Equal(t, data, got)
	}
	p := &pieces{list: split("hello"), end: net.ErrClosed}
	_, err := drive(t, over(p, UntilClose, 0), p)
	assert.ErrorIs(t, err, net.ErrClosed, "a reset is no end")
}

// What More cannot tell costs a write per chunk: it must see what is there.
func TestMoreSeesWhatIsBuffered(t *testing.T) {
	p := &pieces{list: split("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), end: io.EOF}
	l := over(p, ByChunks, 0)
	var more []bool
	for {
		_, err := l.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		more = append(more, l.More())
	}
	assert.Equal(t, []bool{true, true}, more)
}

var strictChunk = regexp.MustCompile(`^([0-9A-Fa-f]{1,15})(;[^\r\n]*)?\r\n`)

// slowChunks is a strict decoder of a whole chunked body in memory.
func slowChunks(data string) (body string, clean bool) {
	for {
		m := strictChunk.FindStringSubmatch(data)
		if m == nil || len(m[0])-2 > maxChunkLine {
			return body, false
		}
		data = data[len(m[0]):]
		size, _ := strconv.ParseInt(m[1], 16, 64)
		if size == 0 {
			break
		}
		if int64(len(data)) < size {
			return body + data, false
		}
		body, data = body+data[:size], data[size:]
		if !strings.HasPrefix(data, "\r\n") {
			return body, false
		}
		data = data[2:]
	}
	for total := 0; ; {
		line, rest, ok := strings.Cut(data, "\n")
		line, cr := strings.CutSuffix(line, "\r")
		if total += len(line) + 2; !ok || !cr || strings.Contains(line, "\r") || total > maxTrailer {
			return body, false
		}
		if line == "" {
			return body, true
		}
		data = rest
	}
}

// FuzzBody holds Next, over any split of the bytes and with deadlines running
// out in between, against two slow decoders: the strict one above, for which
// of the bodies end cleanly, and the standard library's, for what they hold.
func FuzzBody(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), []byte{1, 0, 2, 3})
	f.Add([]byte("5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\nextra"), []byte{200})
	f.Add([]byte("00\r\nA: b\r\nC: d\r\n\r\n"), []byte{5, 0, 1, 0})
	f.Add([]byte("5\r\nhello\r\n"), []byte{4})
	f.Add([]byte("FFFFFFFFFFFFFFFF\r\n"), []byte{})
	f.Add([]byte("a\n0123456789\r\n"), []byte{0})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		var list [][]byte
		for rest := data; ; {
			if len(cuts) == 0 {
				if len(rest) > 0 {
					list = append(list, rest)
				}
				break
			}
			n := min(int(cuts[0]), len(rest))
			if cuts = cuts[1:]; n == 0 {
				list = append(list, nil)
				continue
			}
			list, rest = append(list, rest[:n]), rest[n:]
		}
		p := &pieces{list: list, end: io.EOF}
		got, err := drive(t, over(p, ByChunks, 0), p)
		want, clean := slowChunks(string(data))
		require.Equal(t, clean, err == nil, "%v", err)
		if !clean {
			require.True(t, strings.HasPrefix(want, got), "%q is no beginning of %q", got, want)
			return
		}
		require.Equal(t, want, got)
		standard, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		require.NoError(t, err)
		require.Equal(t, string(standard), got)
	})
}

// Read gives the same body as Next, in whatever pieces it is asked for.
func TestReadAgreesWithNext(t *testing.T) {
	f := func(data string, kind Kind, length int64) {
		t.Helper()
		want, wantErr := drive(t, over(&pieces{list: split(data), end: io.EOF}, kind, length), &pieces{})
		for _, size := range []int{1, 3, 4096, 10000} {
			b := over(&pieces{list: split(data, 7, 5000), end: io.EOF}, kind, length)
			var got []byte
			p := make([]byte, size)
			for {
				n, err := b.Read(p)
				got = append(got, p[:n]...)
				if err == nil {
					require.NotZero(t, n)
					continue
				}
				if err == io.EOF {
					err = nil
				}
				assert.Equal(t, wantErr, err)
				break
			}
			assert.Equal(t, want, string(got))
			assert.Equal(t, wantErr == nil, b.Finish())
		}
	}
	big := strings.Repeat("0123456789abcdef", 1024)
	f("hello", ByLength, 5)
	f("hello", ByLength, 6)
	f(big+"extra", ByLength, int64(len(big)))
	f("5\r\nhello\r\n4000\r\n"+big+"\r\n0\r\n\r\n", ByChunks, 0)
	f("5\r\nhello\r\n4000\r\n"+big, ByChunks, 0)
	f(big, UntilClose, 0)
}
