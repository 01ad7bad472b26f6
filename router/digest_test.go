package router

// Two questions are two, even if all digests were one.

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// constant is a hash that is always the same.
type constant struct{ hash.Hash }

func (c constant) Sum(dst []byte) []byte { return append(dst, make([]byte, sha256.Size)...) }

func TestConstantDigest(t *testing.T) {
	question := func(form, kind string, n int) (body, want string) {
		return strings.Replace(form, `"hi"`, fmt.Sprintf(`"%s question %02d"`, kind, n), 1), fmt.Sprintf("question %02d", n)
	}
	f := func(form string) {
		t.Helper()
		release := make(chan struct{})
		url := newBackend(t, func(a *asked) bool {
			if strings.Contains(a.body, "together") {
				select {
				case <-release:
				case <-a.left:
					return false
				}
			}
			n := strings.Index(a.body, "question ")
			text := a.body[n : n+len("question 00")]
			if form == zeroStream {
				a.write(streamOf(strings.Replace(ev1, `"content":""`, `"content":"`+text+`"`, 1), evFin, evDone))
				return true
			}
			a.write(jsonAnswer(strings.Replace(whole, `"x"`, `"`+text+`"`, 1)))
			return true
		})
		w := newWorld(t, remembering(url, ""))
		w.srv.keys.Hash = func() hash.Hash { return constant{sha256.New()} }
		for n := range 4 { // one after the other
			body, want := question(form, "alone", n)
			first := w.ask(t, chat(body))
			assert.Equal(t, "miss", first.header.Get(cachedHeader))
			assert.Contains(t, first.body, want)
			again := w.ask(t, chat(body))
			assert.Equal(t, "hit", again.header.Get(cachedHeader))
			assert.Equal(t, first.body, again.body)
		}
		for n := range 4 { // what was known before is at most forgotten
			body, want := question(form, "alone", n)
			assert.Contains(t, w.ask(t, chat(body)).body, want)
		}
		w.settled(t)
		const many = 6 // at once, by two each
		var conns [2 * many]*bufio.Reader
		for i := range conns {
			body, _ := question(form, "together", i/2)
			_, conns[i] = w.send(t, chat(body))
			w.followers(t, int64(i+1))
		}
		assert.EqualValues(t, many, w.srv.flights.stats().UnderWay)
		close(release)
		for i, br := range conns {
			_, want := question(form, "together", i/2)
			a := readAnswer(t, br)
			assert.Contains(t, a.body, want)
			assert.Equal(t, []string{"miss", "coalesced"}[i%2], a.header.Get(cachedHeader))
		}
		w.assertLanded(t)
	}
	f(zero)
	f(zeroStream)
}
