//go:build integration

// A headless browser, and a tab in it.

package adminpage

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	patience = 20 * time.Second // for anything the browser is asked
	look     = 50 * time.Millisecond
)

// browser is a chromium that listens on a pipe: JSON messages, a NUL behind each.
type browser struct {
	mu     sync.Mutex // guards the fields below, and writing
	in     io.Writer
	last   int
	calls  map[int]chan message
	tabs   map[string]*tab // by session
	closed bool
}

// message is an answer or an event.
type message struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    json.RawMessage           `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// newBrowser starts one that ends with the test.
func newBrowser(t *testing.T) *browser {
	program := os.Getenv("CHROMIUM")
	if program == "" {
		program = "chromium"
	}
	program, err := exec.LookPath(program)
	require.NoError(t, err, "this test needs a browser: install chromium (Debian: chromium), or name one in CHROMIUM")
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	cmd.WaitDelay = patience
	require.NoError(t, cmd.Start())
	_, _ = theirIn.Close(), theirOut.Close()

	b := &browser{in: in, calls: map[int]chan message{}, tabs: map[string]*tab{}}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		b.read(out)
	}()
	t.Cleanup(func() {
		_, _ = b.call("", "Browser.close", json.RawMessage("{}"))
		end := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		end.Stop()
		_, _ = in.Close(), out.Close()
		<-reading
		if t.Failed() {
			t.Log("the browser said:", complaints.String())
		}
	})
	return b
}

// read hands out what the browser says, until it says no more.
func (b *browser) read(out io.Reader) {
	for r := bufio.NewReader(out); ; {
		raw, err := r.ReadBytes(0)
		b.mu.Lock()
		if err != nil {
			b.closed = true
			for _, c := range b.calls {
				close(c)
			}
			b.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(raw[:len(raw)-1], &m) == nil {
			if c := b.calls[m.ID]; c != nil {
				delete(b.calls, m.ID)
				c <- m
			} else if t := b.tabs[m.SessionID]; t != nil {
				t.hear(m)
			}
		}
		b.mu.Unlock()
	}
}

// call asks the browser, or a tab of it, and waits for the answer.
func (b *browser) call(session, method string, params json.RawMessage) (json.RawMessage, error) {
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, fmt.Errorf("cannot ask %s: the browser has ended", method)
	}
	b.last++
	b.calls[b.last] = answer
	raw, err := json.Marshal(message{ID: b.last, SessionID: session, Method: method, Params: params})
	if err == nil {
		_, err = b.in.Write(append(raw, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("cannot ask %s: the browser has ended", method)
		}
		if m.Error != nil {
			return nil, fmt.Errorf("cannot ask %s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("cannot ask %s: no answer", method)
	}
}

// tab is one page.
type tab struct {
	t       *testing.T
	b       *browser
	session string
	heard   []string // guarded by b.mu: what the page's console holds against it
}

// open makes a tab of a window of this size; the scheme is light or dark.
func (b *browser) open(t *testing.T, width, height int, scheme string) *tab {
	p := &tab{t: t, b: b}
	made := struct{ TargetID, SessionID string }{}
	p.into(&made, "Target.createTarget", `{"url":"about:blank"}`)
	p.into(&made, "Target.attachToTarget", `{"targetId":%q,"flatten":true}`, made.TargetID)
	p.session = made.SessionID
	b.mu.Lock()
	b.tabs[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "DOM"} {
		p.do(domain+".enable", `{}`)
	}
	p.do("Emulation.setDeviceMetricsOverride", `{"width":%d,"height":%d,"deviceScaleFactor":1,"mobile":false}`, width, height)
	p.do("Emulation.setEmulatedMedia", `{"features":[{"name":"prefers-color-scheme","value":%q}]}`, scheme)
	return p
}

// hear keeps what is wrong with a page. b.mu is held.
func (p *tab) hear(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded", "Runtime.consoleAPICalled":
		p.heard = append(p.heard, m.Method+" "+string(m.Params))
	}
}

// complaints are what the console holds, refusals of the page's policy among it.
func (p *tab) complaints() []string {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return p.heard
}

func (p *tab) do(method, format string, args ...any) {
	p.t.Helper()
	p.into(nil, method, format, args...)
}

// into asks and decodes the answer.
func (p *tab) into(result any, method, format string, args ...any) {
	p.t.Helper()
	raw, err := p.b.call(p.session, method, json.RawMessage(fmt.Sprintf(format, args...)))
	require.NoError(p.t, err)
	if result != nil {
		require.NoError(p.t, json.Unmarshal(raw, result))
	}
}

func (p *tab) visit(url string) { p.t.Helper(); p.do("Page.navigate", `{"url":%q}`, url) }

// eval is what a script in the page returns, as text.
func (p *tab) eval(script string) string {
	p.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	quoted, err := json.Marshal(script)
	require.NoError(p.t, err)
	p.into(&got, "Runtime.evaluate", `{"expression":%s,"returnByValue":true,"awaitPromise":true}`, quoted)
	require.Nil(p.t, got.ExceptionDetails, script)
	return fmt.Sprint(got.Result.Value)
}

// text is what a reader of the whole page reads.
func (p *tab) text() string {
	p.t.Helper()
	return p.eval("document.body ? document.body.innerText : ''")
}

// reads waits until the page says so.
func (p *tab) reads(want string) {
	p.t.Helper()
	if !assert.Eventually(p.t, func() bool { return bytes.Contains([]byte(p.text()), []byte(want)) }, patience, look) {
		require.FailNow(p.t, "the page does not say "+want, p.text())
	}
}

// shot is a picture of the whole page, as PNG, kept where the variable says.
func (p *tab) shot(name string) []byte {
	p.t.Helper()
	var got struct{ Data string }
	p.into(&got, "Page.captureScreenshot", `{"format":"png","captureBeyondViewport":true}`)
	picture, err := base64.StdEncoding.DecodeString(got.Data)
	require.NoError(p.t, err)
	if dir := os.Getenv("ADMIN_PAGE_SHOTS"); dir != "" {
		require.NoError(p.t, os.WriteFile(dir+"/"+name+".png", picture, 0o644))
	}
	return picture
}
