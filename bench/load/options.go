package load

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Options is what to ask, of whom, and how often.
type Options struct {
	URL         string        // base URL, the one an OpenAI client gets: http://127.0.0.1:8080/v1
	Key         string        // API key; empty sends none
	Model       string        // the model's name
	Prompt      string        // text of the one message
	MaxTokens   int           // 0 leaves it to the model
	Stream      bool          // ask for streams
	Seed        *int          // seed and temperature 0, which make an answer one that may be cached
	Distinct    bool          // each prompt begins with a random number of 64 bits, so that no two are the same
	Connections int           // how many ask at once
	Rate        float64       // requests a second of all together; 0 is a closed loop
	Duration    time.Duration // how long to send
	Timeout     time.Duration // of one answer; 0 is a minute
}

// Validate tells what makes no sense.
func (o *Options) Validate() error {
	switch {
	case o.Connections < 1 || o.Connections > 1_000_000:
		return errors.New("connections: must be from 1 to 1000000")
	case !(o.Rate >= 0 && o.Rate <= 1e7):
		return errors.New("rate: must be from 0 to 10000000 a second")
	case o.Duration <= 0:
		return errors.New("duration: must be above 0")
	case o.Timeout < 0:
		return errors.New("timeout: must not be below 0")
	case o.MaxTokens < 0:
		return errors.New("max tokens: must not be below 0")
	case o.Model == "":
		return errors.New("model: is missing")
	case strings.ContainsAny(o.Key, "\r\n"):
		return errors.New("key: must be one line")
	}
	_, err := o.endpoint()
	return err
}

// endpoint is where to connect to.
type endpoint struct {
	address, host, path string
	tls                 *tls.Config // nil is plain TCP
}

func (o *Options) endpoint() (e endpoint, err error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return e, fmt.Errorf("cannot parse the URL: %w", err)
	}
	port := "80"
	switch u.Scheme {
	case "http":
	case "https":
		port, e.tls = "443", &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return e, fmt.Errorf("URL %q: must begin with http:// or https://", u.Redacted())
	}
	if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return e, fmt.Errorf("URL %q: must be a base URL, such as http://127.0.0.1:8080/v1", u.Redacted())
	}
	if u.Port() != "" {
		port = u.Port()
	}
	e.address, e.host = net.JoinHostPort(u.Hostname(), port), u.Host
	e.path = strings.TrimSuffix(u.EscapedPath(), "/") + "/chat/completions"
	return e, nil
}

// mark stands for the number of a request, behind beforeMark.
const (
	beforeMark = `"content":"`
	mark       = "0123456789abcdef"
)

// numberIn is the part of a request, of one that has a number, to write it to.
func numberIn(request []byte) []byte {
	at := bytes.Index(request, []byte(beforeMark+mark)) + len(beforeMark)
	return request[at : at+len(mark)]
}

// request is the bytes of every request, but for the number, which is where mark
// stands.
func (o *Options) request(e endpoint) ([]byte, error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	body := struct {
		Model       string    `json:"model"`
		Messages    []message `json:"messages"`
		Stream      bool      `json:"stream,omitempty"`
		MaxTokens   int       `json:"max_tokens,omitempty"`
		Seed        *int      `json:"seed,omitempty"`
		Temperature *int      `json:"temperature,omitempty"`
	}{Model: o.Model, Messages: []message{{Role: "user", Content: o.Prompt}}, Stream: o.Stream, MaxTokens: o.MaxTokens}
	if o.Distinct {
		body.Messages[0].Content = mark + " " + o.Prompt
	}
	if o.Seed != nil {
		body.Seed, body.Temperature = o.Seed, new(int)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", e.path, e.host)
	if o.Key != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", o.Key)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(text), text)
	return b.Bytes(), nil
}
