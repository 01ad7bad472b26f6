package router

// Two questions are two, even if all digests were one.

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// constant is a hash that is always the same.
type constant struct{ hash.Hash }

func (c constant) Sum(dst []byte) []byte { return append(dst, make([]byte, sha256.Size)...) }

func TestConstantDigest(t *testing.T) {
	release := make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		if strings.Contains(a.body, "together") {
			<-release
		}
		n := strings.Index(a.body, "question ")
		text := a.body[n : n+len("question 00")]
		if strings.Contains(a.body, `"stream":true`) {
			a.write(streamOf(strings.Replace(ev1, `"content":""`, `"content":"`+text+`"`, 1), evFin, evDone))
			return true
		}
		a.write(jsonAnswer(strings.Replace(whole, `"x"`, `"`+text+`"`, 1)))
		return true
	})
	w := newWorld(t, remembering(url, ""))
	w.srv.keys.Hash = func() hash.Hash { return constant{sha256.New()} }
	question := func(form, kind string, n int) (body, want string) {
		return strings.Replace(form, `"hi"`, fmt.Sprintf(`"%s question %02d"`, kind, n), 1), fmt.Sprintf("question %02d", n)
	}
	f := func(form string) {
		t.Helper()
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
		const many = 6 // at once
		before := w.srv.flights.stats().Followers
		var answers [2 * many]func() answer
		for i := range answers {
			body, _ := question(form, "together", i/2)
			_, br := w.send(t, chat(body))
			w.followers(t, before+int64(i+1))
			answers[i] = func() answer { return readAnswer(t, br) }
		}
		assert.EqualValues(t, many, w.srv.flights.stats().UnderWay)
		close(release)
		for i := range answers {
			_, want := question(form, "together", i/2)
			a := answers[i]()
			assert.Contains(t, a.body, want)
			assert.Equal(t, []string{"miss", "coalesced"}[i%2], a.header.Get(cachedHeader))
		}
		w.settled(t)
		release = make(chan struct{})
	}
	f(zero)
	f(zeroStream)
	require.Eventually(t, func() bool { return w.srv.flights.stats().UnderWay == 0 }, 20*time.Second, time.Millisecond)
}
