// Reading one request off a connection, keeping its bytes as they came.

package fakellm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxHead bounds a request's head.
const maxHead = 1 << 20

// readRequest reads a whole request: head and body.
func readRequest(br *bufio.Reader) (*Request, error) {
	head, err := readHead(br)
	if err != nil {
		return nil, err
	}
	parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, fmt.Errorf("cannot parse request head: %w", err)
	}
	body, err := readBody(br, parsed)
	if err != nil {
		return nil, err
	}
	return &Request{
		Method: parsed.Method, Path: parsed.RequestURI, Header: parsed.Header,
		Head: string(head), Body: string(body), Arrived: time.Now(),
	}, nil
}

func readHead(br *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := br.ReadSlice('\n')
		head = append(head, line...)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if len(head) > maxHead {
			return nil, fmt.Errorf("cannot read request: head above %d bytes", maxHead)
		}
		if bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head, nil
		}
	}
}

func readBody(br *bufio.Reader, r *http.Request) ([]byte, error) {
	if len(r.TransferEncoding) == 0 {
		body := make([]byte, max(r.ContentLength, 0))
		_, err := io.ReadFull(br, body)
		return body, err
	}
	var body []byte
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return nil, err
		}
		var n int64
		if _, err := fmt.Sscanf(line, "%x", &n); err != nil || n < 0 {
			return nil, fmt.Errorf("cannot parse chunk size %q", strings.TrimSpace(line))
		}
		chunk := make([]byte, n+2) // with its CRLF; after the last one, no trailers are expected
		if _, err := io.ReadFull(br, chunk); err != nil {
			return nil, err
		}
		if n == 0 {
			return body, nil
		}
		body = append(body, chunk[:n]...)
	}
}
