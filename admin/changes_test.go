package admin_test

// What changes something: reloads, and draining a backend or the router.

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/configs"
)

func TestReload(t *testing.T) {
	w := newWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	f := func(done admin.Reloaded, err error, status int, want string) {
		t.Helper()
		w.set(func(w *world) {
			w.reload = func(ctx context.Context) (admin.Reloaded, error) {
				_, limited := ctx.Deadline()
				assert.True(t, limited)
				return done, err
			}
		})
		resp, body := ask(t, addr, "POST", "/-/reload")
		assert.Equal(t, status, resp.StatusCode)
		assert.JSONEq(t, want, body)
	}
	f(admin.Reloaded{Generation: 7}, nil, 200, `{"generation":7,"changes":[]}`)
	f(admin.Reloaded{Generation: 8, Changes: []configs.Change{{Path: "server.listen", Kind: configs.Changed, Old: ":1", New: ":2", Restart: true}}}, nil, 200,
		`{"generation":8,"changes":[{"path":"server.listen","kind":"changed","old":":1","new":":2","restart":true}]}`)
	f(admin.Reloaded{}, fmt.Errorf("cannot reload: %w", admin.ErrNoFile), 409,
		`{"error":{"message":"the router runs without a configuration file, there is nothing to reload"}}`)
	f(admin.Reloaded{}, errors.New("cannot load server.tls: no such file"), 422,
		`{"error":{"message":"cannot load server.tls: no such file; the configuration in force stays"}}`)

	_, err := configs.Parse("router.yaml", []byte("server: {lisden: 1}\npools: 3\n"), nil, nil)
	var problems configs.Problems
	require.ErrorAs(t, err, &problems)
	require.Greater(t, len(problems), 2)
	w.set(func(w *world) {
		w.reload = func(context.Context) (admin.Reloaded, error) {
			return admin.Reloaded{}, fmt.Errorf("cannot reload: %w", problems)
		}
	})
	resp, body := ask(t, addr, "POST", "/-/reload")
	assertRefusal(t, 422, resp, body)
	for _, p := range problems {
		assert.Contains(t, body, fmt.Sprintf(`"line": %d`, p.Line))
		assert.Contains(t, body, `"path": "`+p.Path+`"`)
	}
	assert.Contains(t, body, "lisden")
}

func TestDrainOfABackend(t *testing.T) {
	w := newWorld()
	w.backends = []admin.Backend{
		{Pool: "a", URL: "http://one:8000", State: admin.StateHealthy, Weight: 1, InFlight: 3},
		{Pool: "a", URL: "http://shared:8000", State: admin.StateHealthy},
		{Pool: "b", URL: "http://shared:8000", State: admin.StateHealthy},
	}
	addr := start(t, "127.0.0.1:0", w.deps())
	f := func(target string, status int, done ...string) string {
		t.Helper()
		resp, body := ask(t, addr, "POST", target)
		if status == 200 {
			assert.Equal(t, 200, resp.StatusCode, body)
		} else {
			assertRefusal(t, status, resp, body)
		}
		assert.Equal(t, done, w.took())
		return body
	}
	assert.JSONEq(t, `{"backends":[{"pool":"a","url":"http://one:8000","state":"draining","in_flight":3,"max_inflight":0,"weight":1,"ejections":0}]}`,
		f("/-/backends/drain?url=http://one:8000", 200, "a http://one:8000 draining"))
	assert.Equal(t, admin.StateDraining, w.List()[0].State)
	f("/-/backends/undrain?url=http%3A%2F%2Fone%3A8000", 200, "a http://one:8000 healthy")
	f("/-/backends/drain?url=http://one:8000&pool=a", 200, "a http://one:8000 draining")

	// One backend or none.
	f("/-/backends/drain?url=http://shared:8000", 409)
	f("/-/backends/drain?url=http://shared:8000&pool=b", 200, "b http://shared:8000 draining")
	assert.Equal(t, admin.StateHealthy, w.List()[1].State)
	f("/-/backends/drain?url=http://one:8000&pool=b", 404)
	f("/-/backends/drain?url=http://one:8000/", 404)
	f("/-/backends/drain?url=http://one", 404)
	f("/-/backends/drain?url=", 400)
	f("/-/backends/drain", 400)
	f("/-/backends/drain?backend=http://one:8000", 400)
	f("/-/backends/drain?url=http://one:8000&force=1", 400)
	f("/-/backends/drain?url=http://one:8000&url=http://two:8000", 400)
	f("/-/backends/drain?url=%zz", 400)
	f("/-/backends/drain?url=http://one:8000;pool=a", 400)

	// Two lives of one backend are one backend.
	w.set(func(w *world) { w.backends = append(w.backends, w.backends[0]) })
	f("/-/backends/drain?url=http://one:8000", 200, "a http://one:8000 draining")

	resp, body := ask(t, addr, "GET", "/-/backends")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Contains(t, body, `"state": "draining"`)
	w.set(func(w *world) { w.backends = nil })
	_, body = ask(t, addr, "GET", "/-/backends")
	assert.JSONEq(t, `{"backends":[]}`, body)
}

// TestBackendThatIsGoneMeanwhile: a reload may come between looking and acting.
func TestBackendThatIsGoneMeanwhile(t *testing.T) {
	w := newWorld()
	w.backends = []admin.Backend{{Pool: "a", URL: "http://one"}}
	d := w.deps()
	d.Backends = vanishing{w}
	addr := start(t, "127.0.0.1:0", d)
	resp, body := ask(t, addr, "POST", "/-/backends/drain?url=http://one")
	assertRefusal(t, 404, resp, body)
	resp, body = ask(t, addr, "POST", "/-/backends/undrain?url=http://one")
	assertRefusal(t, 500, resp, body)
}

type vanishing struct{ *world }

func (vanishing) Drain(pool, url string) error {
	return fmt.Errorf("cannot drain %s of %s: %w", url, pool, admin.ErrNoBackend)
}
func (vanishing) Undrain(string, string) error { return errors.New("cannot undrain it") }

func TestDrainOfTheRouter(t *testing.T) {
	w := newWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	for range 2 {
		resp, body := ask(t, addr, "POST", "/-/drain")
		assert.Equal(t, 202, resp.StatusCode)
		assert.JSONEq(t, `{"status":"draining"}`, body)
		assert.Equal(t, []string{"drain"}, w.took())
	}
}
