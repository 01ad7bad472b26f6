package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOrderedErrors(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	for _, path := range []string{"/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations"} {
		status, header, body := post(t, r, c, path, `{"model":"m","input":"sim:error=503,retry_after=1500ms;","prompt":"sim:error=503,retry_after=1500ms;"}`)
		require.Equal(t, 503, status, path)
		require.Equal(t, "2", header.Get("Retry-After"))
		require.Equal(t, "1500", header.Get("Retry-After-Ms"))
		require.Equal(t, "server_error", at(decodeJSON(t, body), "error", "type"))
	}
	f := func(prompt string, want int) {
		t.Helper()
		status, _, body := post(t, r, c, "/v1/chat/completions", chatJSON(prompt, `,"stream":true`))
		require.Equal(t, want, status, body)
	}
	f("sim:error=429;", 429)
	f("sim:error=500,id=x,times=2;", 500)
	f("sim:error=500,id=x,times=2;", 500)
	f("sim:error=500,id=y,times=1;", 500)
	f("sim:error=500,id=x,times=2;", 200)
	f("sim:wrong=1;", 400)
	st := r.Stats()
	require.EqualValues(t, 10, st.Received)
	require.EqualValues(t, 9, st.Refused)
	require.EqualValues(t, 1, st.Finished)
}

func TestTroubleInTheMiddle(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	read := func(prompt, more string) (int, string, error) {
		resp, err := c.Post("http://"+r.Addr()+"/v1/chat/completions", "application/json", strings.NewReader(chatJSON(prompt, more)))
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data), err
	}
	_, body, err := read("sim:tokens=9,cut_after=2;", `,"stream":true`)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	events, done := parseEvents(t, body)
	require.Len(t, events, 1+2)
	require.False(t, done)

	_, body, err = read("sim:cut_after=0;", `,"stream":true`)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Empty(t, body)

	_, body, err = read("sim:tokens=2,cut_after=2;", `,"stream":true`)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotContains(t, body, `"stop"`)

	_, body, err = read("sim:error_after=1;", `,"stream":true`)
	require.NoError(t, err)
	events, done = parseEvents(t, body)
	require.True(t, done)
	require.Len(t, events, 3)
	require.Equal(t, "server_error", at(events[2].data, "error", "type"))

	status, _, err := read("sim:error_after=1;", "")
	require.NoError(t, err)
	require.Equal(t, 500, status)
	_, body, err = read("sim:cut_after=1;", "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.False(t, json.Valid([]byte(body)))
	require.Eventually(t, func() bool { return r.Stats().Aborted == 6 }, 20*time.Second, time.Millisecond)
}

func TestClientLeavingFreesItsBlocks(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "l4-8b"})
	f := func(path, body string, readFirst bool) {
		t.Helper()
		before := r.Stats()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Addr()+path, strings.NewReader(body))
		require.NoError(t, err)
		ended := make(chan struct{})
		started := make(chan struct{}, 1)
		go func() {
			defer close(ended)
			resp, err := c.Do(req)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			_, _ = bufio.NewReader(resp.Body).ReadString('\n')
			started <- struct{}{}
			_, _ = io.Copy(io.Discard, resp.Body)
		}()
		if readFirst {
			<-started
		}
		require.Eventually(t, func() bool { return r.Stats().BlocksUsed > 0 }, 20*time.Second, time.Millisecond)
		cancel()
		<-ended
		require.Eventually(t, func() bool {
			st := r.Stats()
			return st.BlocksUsed == 0 && st.Running == 0 && st.Open == 0 && st.Aborted == before.Aborted+1
		}, 20*time.Second, time.Millisecond)
	}
	prompt := strings.Repeat("many words ", 20)
	f("/v1/chat/completions", chatJSON(prompt, `,"stream":true,"max_tokens":9000,"ignore_eos":true`), true)
	f("/v1/chat/completions", chatJSON(prompt, `,"max_tokens":9000,"ignore_eos":true`), false)
	f("/v1/chat/completions", chatJSON("sim:ttft=1h;", `,"stream":true`), false)
	f("/v1/chat/completions", chatJSON("sim:tokens=9,gap=0s,ttft=0s,stall_after=3;", `,"stream":true`), true)
	f("/v1/chat/completions", chatJSON("sim:tokens=9,ttft=0s,gap=1h,stall_after=3;", ""), false)
	f("/v1/completions", `{"model":"m","prompt":["sim:ttft=1h;","sim:ttft=1h;"],"n":4,"stream":true}`, false)
	f("/v1/responses", `{"model":"m","input":"sim:ttft=0s,gap=1h;","stream":true}`, true)
	f("/v1/embeddings", `{"model":"m","input":"sim:ttft=1h;"}`, false)
}

func TestManyStreamsAtOnce(t *testing.T) {
	r, c := engineFor(t, Config{})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			orders := "sim:tokens=40;"
			if i%2 == 0 {
				orders = "sim:tokens=40,ttft=20ms,gap=1ms;"
			}
			resp, err := c.Post("http://"+r.Addr()+"/v1/chat/completions", "application/json",
				strings.NewReader(chatJSON(fmt.Sprint(orders, i), `,"stream":true`)))
			if !assert.NoError(t, err) {
				return
			}
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			assert.Equal(t, 1+40+1+1, bytes.Count(data, []byte("data: ")))
			assert.True(t, bytes.HasSuffix(data, []byte("data: [DONE]\n\n")))
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return r.Stats().Finished == 200 }, 20*time.Second, time.Millisecond)
	st := r.Stats()
	require.Zero(t, st.Running+st.Waiting+st.BlocksUsed)
}

// BenchmarkChat is requests per second over loopback, clients included.
func BenchmarkChat(b *testing.B) {
	for _, more := range []string{"", `,"stream":true`} {
		b.Run(fmt.Sprintf("more=%s", more), func(b *testing.B) {
			r, err := Start(Config{Preset: "instant"}, "127.0.0.1:0")
			require.NoError(b, err)
			transport := &http.Transport{MaxIdleConnsPerHost: 256}
			defer func() {
				transport.CloseIdleConnections()
				require.NoError(b, r.Close())
			}()
			c := &http.Client{Transport: transport}
			body := chatJSON("sim:tokens=20;"+strings.Repeat("x", 1000), more)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := c.Post("http://"+r.Addr()+"/v1/chat/completions", "application/json", strings.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}
