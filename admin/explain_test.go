package admin_test

// What /-/explain hands on, and what it refuses by itself.

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow/admin"
)

func TestExplain(t *testing.T) {
	w := newWorld()
	var got admin.Question
	w.explain = func(q admin.Question) (any, error) {
		got = q
		if q.Model == "bad" {
			return nil, errors.New("cannot explain that")
		}
		return map[string]int{"chosen": 1}, nil
	}
	addr := start(t, "127.0.0.1:0", w.deps())
	f := func(method, query, body string, status int, want admin.Question) {
		t.Helper()
		got = admin.Question{}
		resp, text := exchange(t, addr, fmt.Sprintf("%s /-/explain%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, query, addr, len(body), body))
		assert.Equal(t, want, got)
		if status != 200 {
			assertRefusal(t, status, resp, text)
			return
		}
		assert.Equal(t, 200, resp.StatusCode)
		assert.JSONEq(t, `{"chosen":1}`, text)
	}
	none := admin.Question{}
	f("GET", "?model=m", "", 200, admin.Question{Model: "m"})
	f("GET", "?model="+url.QueryEscape("org/m:7b &x")+"&tenant=acme&key=ci", "", 200, admin.Question{Model: "org/m:7b &x", Tenant: "acme", Key: "ci"})
	f("GET", "?model=m", "{}", 200, admin.Question{Model: "m"})
	f("POST", "", `{"model":"x"}`, 200, admin.Question{Body: []byte(`{"model":"x"}`)})
	f("POST", "?model=m", "", 200, admin.Question{Model: "m"})
	long := strings.Repeat("x", 1<<20)
	f("POST", "", long, 200, admin.Question{Body: []byte(long)})

	f("GET", "?model=bad", "", 400, admin.Question{Model: "bad"})
	f("GET", "?model=a&model=b", "", 400, none)
	f("GET", "?model=a&token=b", "", 400, none)
	f("GET", "?%zz", "", 400, none)
	f("POST", "", strings.Repeat("x", 4<<20+1), 413, none)
	f("GET", "?model=m", strings.Repeat("x", 8<<10), 413, none)
	assert.Empty(t, w.took())
}
