package formdata

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

const contentType = `multipart/form-data; boundary=XyZ`

// lines makes a body of lines that end in CRLF.
func lines(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

func part(head, content string) string { return lines("--XyZ\n"+head+"\n\n") + content + "\r\n" }

const (
	model  = `Content-Disposition: form-data; name="model"`
	file   = "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\nContent-Type: audio/wav"
	ending = "--XyZ--\r\n"
)

// scan looks through a body in pieces of a size.
func scan(contentType, body string, size int) (string, Span, error) {
	var s Scanner
	if err := s.Begin([]byte(contentType), "model"); err != nil {
		return "", Span{}, err
	}
	for p := []byte(body); len(p) > 0; {
		n := min(size, len(p))
		if err := s.Scan(p[:n]); err != nil {
			return "", Span{}, err
		}
		p = p[n:]
	}
	if err := s.Ended(); err != nil {
		return "", Span{}, err
	}
	v, at, _ := s.Field()
	return string(v), at, nil
}

func TestScan(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 7, 64, len(body)} {
			v, at, err := scan(contentType, body, max(size, 1))
			require.NoError(t, err, "in pieces of %d", size)
			assert.Equal(t, want, v)
			assert.Equal(t, want, body[at.Start:at.End])
		}
	}
	f(part(model, "whisper-1")+ending, "whisper-1")
	f(part(model, "whisper-1")+"--XyZ--", "whisper-1")
	f(part(file, "RIFF\r\n--XyY\r\n--Xy\n--X\r\r\n")+part(model, "org/m:8b é")+ending, "org/m:8b é")
	f(part(model, "m")+part(file, strings.Repeat("\r\n-", 5000))+ending, "m")
	f(part(file, "")+part(`content-disposition:form-data;name=model`, "m")+ending, "m")
	f(part(`Content-Disposition: form-data; filename="model"; name="x"`, "a")+ending, "")
	f(part(model+"\nContent-Transfer-Encoding: 8bit", "m")+ending, "m")
	f(part(model, strings.Repeat("x", 256))+ending, strings.Repeat("x", 256))
	f(strings.Repeat(part(file, "a"), 999)+part(model, "m")+ending, "m")
}

func TestWatch(t *testing.T) {
	field := func(name string) string { return `Content-Disposition: form-data; name="` + name + `"` }
	f := func(sought, body string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 7, 64, len(body)} {
			var s Scanner
			require.NoError(t, s.Begin([]byte(contentType), sought))
			var got []string
			s.Watch(func(name, value []byte) error {
				got = append(got, string(name)+"="+string(value))
				return nil
			})
			for p := []byte(body); len(p) > 0; {
				n := min(size, len(p))
				require.NoError(t, s.Scan(p[:n]))
				p = p[n:]
			}
			require.NoError(t, s.Ended())
			assert.Equal(t, want, got, "in pieces of %d", size)
		}
	}
	f("model", part(model, "m")+part(field("purpose"), "batch")+part(file, "x")+part(field("file_ids[]"), "file-1")+part(field("file_ids[]"), "")+ending,
		"purpose=batch", "file_ids[]=file-1", "file_ids[]=")
	f("", part(model, "m")+part(file, "x")+ending, "model=m")
	f("", part(field("a")+`; filename=""`, "1")+part(field("b")+`; filename="x"`, "2")+part(field("c")+`; filename*=""; filename=`, "3")+ending, "a=1", "c=3")
	f("", part(field(""), "a")+part(field("b"), "\r\n--XyY\r\n\xff")+ending, "=a", "b=\r\n--XyY\r\n\xff")
	for n := 250; n < 280; n++ {
		f("", part(field("long"), strings.Repeat("x", n))+ending, "long="+strings.Repeat("x", min(n, 257)))
	}
	f("", part(field("long"), strings.Repeat("\r\n--Xy", 5000))+ending, "long="+strings.Repeat("\r\n--Xy", 5000)[:257])
	assert.Error(t, func() error {
		var s Scanner
		require.NoError(t, s.Begin([]byte(contentType), ""))
		s.Watch(func(_, _ []byte) error { return io.ErrNoProgress })
		return s.Scan([]byte(part(model, "m") + ending))
	}())
	_, _, err := scan(contentType, part("Content-Disposition: form-data; name=x\nContent-Transfer-Encoding: base64", "bQ==")+ending, 9)
	assert.NoError(t, err, "nobody looks")
	var s Scanner
	require.NoError(t, s.Begin([]byte(contentType), "model"))
	s.Watch(func(_, _ []byte) error { return nil })
	assert.ErrorContains(t, s.Scan([]byte(part(field("x")+"\nContent-Transfer-Encoding: base64", "bQ==")+ending)), "encoded")
}

func TestScanRefuses(t *testing.T) {
	f := func(body string, kind helixflow.Kind, text string) {
		t.Helper()
		for _, size := range []int{1, 5, len(body) + 1} {
			_, _, err := scan(contentType, body, size)
			var e *helixflow.Error
			require.ErrorAs(t, err, &e, "in pieces of %d", size)
			assert.Equal(t, kind, e.Kind)
			assert.Contains(t, e.Public, text)
		}
	}
	bad := func(body, text string) {
		t.Helper()
		f(body, helixflow.KindInvalidForm, text)
	}
	f(part(model, "a")+part(model, "b")+ending, helixflow.KindDuplicateKey, "twice")
	f(part(model, "a")+part(model, "a")+ending, helixflow.KindDuplicateKey, "twice")
	bad("", "before its closing boundary")
	bad("preamble\r\n"+part(model, "m")+ending, "begin with its boundary")
	bad("\r\n"+part(model, "m")+ending, "begin with its boundary")
	bad(part(model, "m"), "before its closing boundary")
	bad(part(model, "m")+"--XyZ", "before its closing boundary")
	bad(part(model, "m")+"--XyZ-", "before its closing boundary")
	bad(part(model, "m")+"--XyZ--\r", "before its closing boundary")
	bad(part(model, "m")+ending+part(model, "b")+ending, "follows the closing")
	bad(part(model, "m")+"--XyZ--x", "follows the closing")
	bad(part(model, "m")+"--XyZ \r\n"+model+"\r\n\r\nx\r\n"+ending, "end of its line")
	bad("--XyZx\r\n", "end of its line")
	bad(lines("--XyZ\n"+model+"\n\n")+"a\n--XyZ--\r\n", "behind a CRLF")
	bad(lines("--XyZ\n"+model+"\n\n")+"--XyZ--\r\n", "behind a CRLF")
	bad(lines("--XyZ\n\n")+"m\r\n"+ending, "no header")
	bad(part("Content-Disposition: form-data; name=\x10", "m")+ending, "no name")
	bad(part("Content-Disposition: form-data; name=\"a\x7f\"", "m")+ending, "no name")
	bad(part("Content-Type: text/plain", "m")+ending, "no Content-Disposition")
	bad(part("Content-Disposition: attachment; name=model", "m")+ending, "no Content-Disposition")
	bad(part("Content-Disposition: form-data", "m")+ending, "no name")
	bad(part(model+"\n"+model, "m")+ending, "two Content-Disposition")
	bad(part("Content-Disposition:\n"+model, "m")+ending, "two Content-Disposition")
	bad(part(strings.Replace(model, ";", ";;", 1), "m")+ending, "no name")
	bad(part(strings.Replace(model, ";", "; ;", 1), "m")+ending, "no name")
	bad(part(model+"; name=x", "m")+ending, "two names")
	bad(part(`Content-Disposition: form-data; name="mo\del"`, "m")+ending, "backslash")
	bad(part(`Content-Disposition: form-data; name*=utf-8''model`, "m")+ending, "encoding of its own")
	bad(part(`Content-Disposition: form-data; name="model`, "m")+ending, "no name")
	bad(part("Content-Disposition: form-data; name=a:b", "m")+ending, "no name") // parsers read "a:b", or nothing
	bad(part(`Content-Disposition: form-data; name="model"x`, "m")+ending, "no name")
	bad(part(model+"\n folded: x", "m")+ending, "malformed header")
	bad(part("Content-Disposition : form-data; name=model", "m")+ending, "malformed header")
	bad(part(model+`; filename="x"`, "m")+ending, "plain text")
	bad(part(model+"\nContent-Transfer-Encoding: base64", "bQ==")+ending, "plain text")
	bad(part(model, "")+ending, "1 to 256 bytes")
	bad(part(model, strings.Repeat("x", 257))+ending, "1 to 256 bytes")
	bad(part(model, strings.Repeat("x", 1<<20))+ending, "1 to 256 bytes")
	bad(part(model, "a\x00b")+ending, "1 to 256 bytes")
	bad(part(model, "a\r\nb")+ending, "1 to 256 bytes")
	bad(part(model, "\xff")+ending, "1 to 256 bytes")
	bad(part("X: "+strings.Repeat("x", 5000)+"\n"+model, "m")+ending, "above 4 KiB")
	bad(strings.Repeat(part(file, "a"), 1001)+ending, "1000 parts")
}

func TestBoundary(t *testing.T) {
	f := func(contentType, want string) {
		t.Helper()
		b, err := boundaryOf([]byte(contentType))
		if want == "" {
			assert.Error(t, err, "%s", contentType)
			return
		}
		require.NoError(t, err, "%s", contentType)
		assert.Equal(t, want, string(b))
	}
	f("multipart/form-data; boundary=a", "a")
	f(`multipart/form-data; charset=utf-8; Boundary="a b'c"`, "a b'c")
	f("multipart/form-data; boundary=----WebKitFormBoundaryABC;", "----WebKitFormBoundaryABC")
	f("multipart/form-data; boundary="+strings.Repeat("x", 70), strings.Repeat("x", 70))
	for _, bad := range []string{
		"multipart/form-data", "multipart/form-data; boundary", "multipart/form-data; boundary=", `multipart/form-data; boundary=""`,
		"multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=" + strings.Repeat("x", 71),
		"multipart/form-data; boundary=a\r", `multipart/form-data; boundary="a`, `multipart/form-data; boundary="a "`, `multipart/form-data; boundary="a\"b"`,
	} {
		f(bad, "")
	}
}

// What the scanner accepts means the same to the parser of the standard library.
func FuzzScan(f *testing.F) {
	f.Add(part(model, "m")+part(file, "x")+ending, 3)
	f.Add(part(file, "\r\n--XyZx")+part(model, "m")+ending, 100)
	f.Add(lines("--XyZ\n"+model+"\n\n")+"--XyZ--\r\n", 1)
	f.Fuzz(func(t *testing.T, body string, size int) {
		size = max(1, min(size, 1<<16))
		v, at, err := scan(contentType, body, size)
		again, atAgain, errAgain := scan(contentType, body, len(body)+1)
		require.Equal(t, err == nil, errAgain == nil)
		require.Equal(t, v, again)
		require.Equal(t, at, atAgain)
		if err != nil {
			return
		}
		require.Equal(t, v, body[at.Start:at.End])
		var shown, fields, models []string
		var s Scanner
		require.NoError(t, s.Begin([]byte(contentType), ""))
		s.Watch(func(name, value []byte) error {
			shown = append(shown, string(name)+"="+string(value))
			return nil
		})
		watched := s.Scan([]byte(body)) == nil
		r := multipart.NewReader(strings.NewReader(body), "XyZ")
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			content, err := io.ReadAll(p)
			require.NoError(t, err)
			if p.FileName() == "" {
				fields = append(fields, p.FormName()+"="+string(content[:min(len(content), 257)]))
			}
			if p.FormName() == "model" {
				models = append(models, string(content))
			}
		}
		require.LessOrEqual(t, len(models), 1)
		require.Equal(t, v, strings.Join(models, ""))
		if watched {
			require.Subset(t, shown, fields)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	body := append([]byte(part(model, "m")+lines("--XyZ\n"+file+"\n\n")), bytes.ReplaceAll(noise, []byte("--XyZ"), []byte("-----"))...)
	var s Scanner
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Begin([]byte(contentType), "model"); err != nil {
			b.Fatal(err)
		}
		if err := s.Scan(body); err != nil {
			b.Fatal(err)
		}
	}
}
