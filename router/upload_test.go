package router

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heard is what a backend found in a form, by the standard library's parser.
type heard struct {
	Models []string
	Sum    string // of the file
	Length int64
	Path   string
}

// newListener is a backend that reads forms and answers with what it heard.
func newListener(t *testing.T) (url string, heardOf func() []heard) {
	t.Helper()
	var mu sync.Mutex // guards all
	var all []heard
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := heard{Length: r.ContentLength, Path: r.URL.Path}
		form, err := r.MultipartReader()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for {
			p, err := form.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			if p.FormName() == "model" {
				b, _ := io.ReadAll(p)
				h.Models = append(h.Models, string(b))
				continue
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, p); err != nil {
				panic(http.ErrAbortHandler)
			}
			h.Sum = fmt.Sprintf("%x", sum.Sum(nil))
		}
		mu.Lock()
		all = append(all, h)
		mu.Unlock()
		_ = json.NewEncoder(w).Encode(h)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []heard {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// formBody is a form with a file of a size and, where the order has an m, the
// model.
func formBody(order string, size int) (contentType string, body []byte, sum string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, c := range order {
		if c == 'm' {
			_ = w.WriteField("model", "m")
			continue
		}
		p, _ := w.CreateFormFile("file", "a.wav")
		noise := bytes.Repeat([]byte("\r\n--noise\n\x00\xff"), size/11+1)[:size]
		_, _ = p.Write(noise)
		sum = fmt.Sprintf("%x", sha256.Sum256(noise))
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes(), sum
}

func (w *world) post(t *testing.T, path, contentType string, body io.Reader, length int64) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.addr+path, body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = length
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text), err}
}

const transcribe = "/v1/audio/transcriptions"

func TestUpload(t *testing.T) {
	url, _ := newListener(t)
	w := newWorld(t, strings.Replace(open("", url), "targets: [{pool: p}]", "aliases: [alias]\n    targets: [{pool: p, model: in/ner}]", 1))
	for _, size := range []int{10, 200 << 10, 300 << 10, 3 << 20} {
		for _, order := range []string{"mf", "fm"} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(size, order, chunked), func(t *testing.T) {
					contentType, body, sum := formBody(order, size)
					length := int64(len(body))
					if chunked {
						length = -1
					}
					a := w.post(t, transcribe, contentType, bytes.NewReader(body), length)
					require.Equal(t, 200, a.status, a.body)
					var h heard
					require.NoError(t, json.Unmarshal([]byte(a.body), &h))
					assert.Equal(t, []string{"in/ner"}, h.Models)
					assert.Equal(t, sum, h.Sum)
					assert.Equal(t, transcribe, h.Path)
					if !chunked {
						assert.Equal(t, length+int64(len("in/ner")-len("m")), h.Length)
					}
				})
			}
		}
	}
	assert.Zero(t, w.srv.spooled.Load())
	t.Run("azure", func(t *testing.T) {
		contentType, body, sum := formBody("f", 300<<10)
		a := w.post(t, "/openai/deployments/alias/audio/transcriptions?api-version=1", contentType, bytes.NewReader(body), int64(len(body)))
		require.Equal(t, 200, a.status, a.body)
		var h heard
		require.NoError(t, json.Unmarshal([]byte(a.body), &h))
		assert.Equal(t, []string{"in/ner"}, h.Models)
		assert.Equal(t, sum, h.Sum)
	})
}

func TestUploadErrors(t *testing.T) {
	dir := t.TempDir()
	url, heardOf := newListener(t)
	config := strings.Replace(open("", url), "max_body: 1MiB", "max_upload: 4MiB, max_spool: 2MiB", 1)
	w := newWorld(t, config, func(o *Options) { o.SpoolDir = dir })
	f := func(contentType string, body []byte, chunked bool, status int, code string) {
		t.Helper()
		length := int64(len(body))
		if chunked {
			length = -1
		}
		requireError(t, w.post(t, transcribe, contentType, bytes.NewReader(body), length), status, code)
		assert.Empty(t, heardOf(), "a backend got a whole form")
	}
	for _, size := range []int{10, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			contentType, body, _ := formBody("f", size)
			f(contentType, body, chunked, 400, "missing_model")
			contentType, body, _ = formBody("mfm", size)
			f(contentType, body, chunked, 400, "duplicate_key")
			contentType, body, _ = formBody("mf", size)
			f(contentType, body[:len(body)-5], chunked, 400, "invalid_multipart")
			f(contentType, append(body, "more"...), chunked, 400, "invalid_multipart")
			f("multipart/form-data", body, chunked, 400, "invalid_multipart")
			f("text/plain", body, chunked, 415, "unsupported_media_type")
			f(contentType, bytes.Replace(body, []byte("\r\n\r\nm\r\n"), []byte("\r\n\r\nx\r\n"), 1), chunked, 404, "model_not_found")
		}
	}
	contentType, body, _ := formBody("mf", 5<<20)
	f(contentType, body, false, 413, "request_too_large")
	f(contentType, body, true, 413, "request_too_large")
	contentType, body, _ = formBody("fm", 3<<20)
	f(contentType, body, false, 503, "upload_storage_full")
	assert.Contains(t, w.log.String(), "server.max_spool")
	assert.Eventually(t, func() bool { return w.srv.spooled.Load() == 0 }, 20*time.Second, time.Millisecond)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.NotContains(t, w.log.String(), "backend failed", "what clients do wrong is no backend's fault")
}

func TestUploadWithoutDisk(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"), func(o *Options) { o.SpoolDir = t.TempDir() + "/missing" })
	contentType, body, _ := formBody("fm", 1<<20)
	requireError(t, w.post(t, transcribe, contentType, bytes.NewReader(body), -1), 503, "upload_storage_full")
	assert.Contains(t, w.log.String(), "cannot spool an upload")
}

// A body that is at hand can go to another backend; one that has been passed on
// cannot.
func TestUploadRetries(t *testing.T) {
	url, heardOf := newListener(t)
	busy := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		return true
	})
	dead := "http://127.0.0.1:1"
	f := func(first, order string, size, status, heardBy int) {
		t.Helper()
		w := newWorld(t, strings.Replace(open("", first, url), "targets: [{pool: p}]", "targets: [{pool: p, priority: 1}]", 1))
		before := len(heardOf())
		for range 2 { // round robin: one of them meets the first backend first
			contentType, body, _ := formBody(order, size)
			a := w.post(t, transcribe, contentType, bytes.NewReader(body), int64(len(body)))
			assert.Contains(t, []int{200, status}, a.status, a.body)
		}
		assert.Equal(t, before+heardBy, len(heardOf()))
	}
	f(dead, "mf", 10, 200, 2)
	f(dead, "mf", 1<<20, 200, 2)
	f(busy, "mf", 10, 200, 2)
	f(busy, "fm", 1<<20, 200, 2)
	f(busy, "mf", 1<<20, 503, 1)
}

// A backend that answers before it has read all is heard all the same.
func TestUploadEarlyAnswer(t *testing.T) {
	early := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":null}}`)
	}))
	t.Cleanup(early.Close)
	w := newWorld(t, open("", early.URL))
	contentType, body, _ := formBody("mf", 40<<20)
	a := w.post(t, transcribe, contentType, bytes.NewReader(body), int64(len(body)))
	assert.Equal(t, 413, a.status)
	assert.Contains(t, a.body, "too long")
}

// A client that leaves in the middle of its upload takes the request with it.
func TestUploadHangup(t *testing.T) {
	left := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		left <- err
	}))
	t.Cleanup(s.Close)
	w := newWorld(t, open("", s.URL))
	contentType, body, _ := formBody("mf", 1<<20)
	c := w.dial(t)
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", transcribe, contentType, len(body), body[:len(body)/2])
	require.NoError(t, err)
	require.NoError(t, c.Close())
	assert.Error(t, <-left)
}

func TestUploadEmptyAndExpect(t *testing.T) {
	url, _ := newListener(t)
	w := newWorld(t, open("", url))
	requireError(t, w.ask(t, "POST "+transcribe+" HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\n\r\n"), 400, "missing_model")
	contentType, body, _ := formBody("mf", 300<<10)
	c := w.dial(t)
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", transcribe, contentType, len(body))
	require.NoError(t, err)
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	_, err = io.ReadFull(c, line)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 100 Continue\r\n\r\n", string(line))
	_, err = c.Write(body)
	require.NoError(t, err)
	back := make([]byte, len("HTTP/1.1 200 OK"))
	_, err = io.ReadFull(c, back)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 200 OK", string(back))
}
