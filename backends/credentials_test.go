package backends

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
)

func credentialsOf(t testing.TB, base time.Time, old *Credentials, keys ...string) *Credentials {
	t.Helper()
	list := make([]secret.Text, len(keys))
	for i, k := range keys {
		list[i] = secret.New(k)
	}
	c, err := newCredentials(list, old, base)
	require.NoError(t, err)
	return c
}

// picks returns the numbers of the next n keys.
func picks(c *Credentials, n int, now time.Time) (list []int) {
	for range n {
		list = append(list, c.Number(c.Pick(now)))
	}
	return list
}

func TestCredentialsTakeTurns(t *testing.T) {
	now := time.Now()
	c := credentialsOf(t, now, nil, "aa", "bb", "cc")
	assert.Equal(t, []int{2, 3, 1, 2, 3, 1}, picks(c, 6, now))
	assert.Equal(t, "Authorization: Bearer aa\r\n", string(c.keys[0].Line()))
	assert.Equal(t, 3, c.Len())
	assert.Zero(t, c.Number(nil))

	none := credentialsOf(t, now, nil)
	assert.Nil(t, none.Pick(now))
	assert.Zero(t, none.Ready(now))
}

func TestCredentialsRest(t *testing.T) {
	now := time.Now()
	c := credentialsOf(t, now, nil, "aa", "bb", "cc")
	c.keys[1].Limited(10*time.Second, now)
	assert.Equal(t, []int{3, 3, 1, 3}, picks(c, 4, now), "2 passes its turn on")
	assert.Equal(t, 2, c.Ready(now))
	assert.Contains(t, picks(c, 3, now.Add(10*time.Second)), 2)

	c.keys[0].Refused(now)
	c.keys[2].Refused(now)
	assert.Zero(t, c.Ready(now))
	assert.Equal(t, []int{2, 2, 2, 2}, picks(c, 4, now), "the one whose rest ends first")
	assert.Equal(t, 1, c.Ready(now.Add(10*time.Second)))
	assert.Equal(t, 3, c.Ready(now.Add(refusedRest)))

	alone := credentialsOf(t, now, nil, "k")
	alone.keys[0].Refused(now)
	assert.Equal(t, []int{1, 1}, picks(alone, 2, now), "better than nothing")
}

func TestCredentialLimits(t *testing.T) {
	now := time.Now()
	k := credentialsOf(t, now, nil, "k").keys[0]
	f := func(wait, want time.Duration) {
		t.Helper()
		k.Limited(wait, now)
		assert.Equal(t, want, k.rest(now))
		now = now.Add(max(k.rest(now), 0))
	}
	f(0, time.Second)
	f(0, 2*time.Second)
	f(0, 4*time.Second)
	f(3*time.Second, 3*time.Second)
	f(time.Hour, time.Minute)
	k.Accepted()
	f(-1, time.Second)
	k.Limited(0, now)
	k.Limited(0, now)
	k.Limited(0, now)
	assert.Equal(t, 2*time.Second, k.rest(now), "several answers to one lack")
	k.Limited(time.Second, now)
	assert.Equal(t, 2*time.Second, k.rest(now), "never shortened")
}

func TestCredentialsOutliveAReload(t *testing.T) {
	now := time.Now()
	old := credentialsOf(t, now, nil, "aa", "bb")
	old.keys[1].Refused(now)
	c := credentialsOf(t, now, old, "bb", "cc")
	assert.Same(t, old.keys[1], c.keys[0])
	assert.Equal(t, 1, c.Ready(now))
}

func TestCredentialsAreChecked(t *testing.T) {
	f := func(want string, keys ...string) {
		t.Helper()
		list := make([]secret.Text, len(keys))
		for i, k := range keys {
			list[i] = secret.New(k)
		}
		_, err := newCredentials(list, nil, time.Now())
		require.EqualError(t, err, want)
	}
	f("key 2 of 2 is empty", "a", "")
	f("key 1 of 1 has characters that no header may carry", "a\r\nX-Evil: 1")
	f("key 1 of 1 has characters that no header may carry", "schlüssel")
	f("a key stands twice", "a", "b", "a")
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	c := credentialsOf(t, time.Now(), nil, "hunter2")
	k := c.Pick(time.Now())
	type holder struct {
		C *Credentials
		k *Credential
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{c, k, holder{c, k}, &holder{c, k}, []any{c, k}} {
			got := fmt.Sprintf(verb, v)
			assert.NotContains(t, got, "hunter2", verb)
			assert.NotContains(t, got, fmt.Sprintf("%x", "hunter2"), verb)
			assert.NotContains(t, got, "104 117 110", verb)
		}
	}
}

func TestCredentialsConcurrently(t *testing.T) {
	now := time.Now()
	c := credentialsOf(t, now, nil, "aa", "bb", "cc")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				at := now.Add(time.Duration(i) * time.Millisecond)
				k := c.Pick(at)
				switch i % 3 {
				case 0:
					k.Limited(0, at)
				case 1:
					k.Accepted()
				default:
					k.Limited(time.Millisecond, at)
				}
			}
		})
	}
	wg.Wait()
	assert.NotNil(t, c.Pick(now))
}

func TestCredentialsDoNotAllocate(t *testing.T) {
	now := time.Now()
	c := credentialsOf(t, now, nil, "aa", "bb", "cc")
	c.keys[1].Refused(now)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		k := c.Pick(now)
		k.Accepted()
		_ = k.Line()
		c.Ready(now)
	}))
}
