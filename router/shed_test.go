package router

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scripted is a backend whose answers a test gives one by one.
type scripted struct {
	url   string
	came  chan string // X-Who of each request
	reply chan string
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	b := &scripted{came: make(chan string, 100), reply: make(chan string)}
	b.url = newBackend(t, func(a *asked) bool {
		b.came <- a.req.Header.Get("X-Who")
		select {
		case text := <-b.reply:
			a.write(text)
			return true
		case <-a.left:
			return false
		}
	})
	return b
}

// classed is a router with a tenant of each class, named like it, and a second one
// of the default class, neighbour.
type classed struct {
	*crowd
	keys map[string]string
}

func newClassed(t *testing.T, pool string, list ...*scripted) *classed {
	t.Helper()
	c := &classed{keys: map[string]string{}}
	var config strings.Builder
	config.WriteString("tenants:\n")
	for _, name := range []string{"batch", "default", "interactive", "neighbour"} {
		k, hash := newKey(t)
		c.keys[name] = k
		fmt.Fprintf(&config, "  - {name: %s, priority: %s, keys: [{name: k, hash: %q}]}\n", name, strings.Replace(name, "neighbour", "default", 1), hash)
	}
	urls := ""
	for _, b := range list {
		urls += fmt.Sprintf("{url: %q, max_inflight: 1},", b.url)
	}
	fmt.Fprintf(&config, "pools: [{name: p, balance: round_robin, health: off, ejection: off, %s, backends: [%s]}]\nmodels: [{name: m, targets: [{pool: p}]}]\n", pool, urls)
	c.crowd = &crowd{world: newWorld(t, config.String())}
	return c
}

// send begins a request of a tenant.
func (c *classed) send(t *testing.T, tenant, who string) <-chan answer {
	t.Helper()
	_, status := c.begin(t, simple, "Authorization: Bearer "+c.keys[tenant], "X-Who: "+who)
	return status
}

// refusedUnread sends a head whose body never comes, and returns the answer.
func (c *classed) refusedUnread(t *testing.T, tenant string) answer {
	t.Helper()
	nc := c.dial(t)
	defer func() { _ = nc.Close() }()
	_, err := fmt.Fprintf(nc, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 100000\r\n\r\n", c.keys[tenant])
	require.NoError(t, err)
	return readAnswer(t, bufio.NewReader(nc))
}

// TestShedByClass: where nobody has room any more, the cheapest class is refused
// before its body is read, and makes way for the others; with room it is served
// again at once.
func TestShedByClass(t *testing.T) {
	b := newScripted(t)
	c := newClassed(t, "queue: {wait: 20s, size: 3}", b)
	var served []<-chan answer
	served = append(served, c.send(t, "default", "0"))
	<-b.came
	var waiting []<-chan answer
	for i := range 3 {
		waiting = append(waiting, c.send(t, "default", fmt.Sprint(i+1)))
		c.waitFor(t, i+1)
	}
	for _, tenant := range []string{"batch", "default"} {
		a := c.refusedUnread(t, tenant)
		requireError(t, a, 429, "overloaded")
		assert.NotEmpty(t, a.header.Get("Retry-After"), tenant)
	}
	urgent := c.send(t, "interactive", "urgent")
	var out answer
	select { // one of those that wait has to go
	case out = <-waiting[0]:
		waiting = waiting[1:]
	case out = <-waiting[1]:
		waiting = []<-chan answer{waiting[0], waiting[2]}
	case out = <-waiting[2]:
		waiting = waiting[:2]
	case <-time.After(20 * time.Second):
		t.Fatal("nobody made way")
	}
	requireReason(t, out, 429, "overloaded", "priority")
	assert.Contains(t, out.body, "of this priority")
	c.waitFor(t, 3)
	b.reply <- jsonAnswer(`{}`)
	assert.Equal(t, "urgent", <-b.came)
	served = append(append(served, urgent), waiting...)
	for range 2 {
		b.reply <- jsonAnswer(`{}`)
		<-b.came
	}
	b.reply <- jsonAnswer(`{}`)
	for _, s := range served {
		assert.Equal(t, 200, (<-s).status)
	}
	c.settled(t)
	assert.Zero(t, c.lots.pressed.Load())
	late := c.send(t, "batch", "late")
	assert.Equal(t, "late", <-b.came)
	b.reply <- jsonAnswer(`{}`)
	assert.Equal(t, 200, (<-late).status)
	scrape := c.scrape(t)
	assert.Contains(t, scrape, `helixflow_requests_shed_total{class="default"} 1`)
}

// TestTenantsMakeWay: where one tenant has used the room up, its own requests are
// refused before their bodies are read, and its last one that waits makes way for
// another tenant's.
func TestTenantsMakeWay(t *testing.T) {
	b := newScripted(t)
	c := newClassed(t, "queue: {wait: 20s, size: 3}", b)
	served := []<-chan answer{c.send(t, "default", "0")}
	<-b.came
	for i := range 3 {
		served = append(served, c.send(t, "default", fmt.Sprint(i+1)))
		c.waitFor(t, i+1)
	}
	last := served[3]
	requireReason(t, c.refusedUnread(t, "default"), 429, "overloaded", "queue_full")
	polite := c.send(t, "neighbour", "polite")
	a := <-last
	requireReason(t, a, 429, "overloaded", "queue_share")
	assert.Contains(t, a.body, "too many of your requests wait")
	c.waitFor(t, 3)
	requireError(t, c.refusedUnread(t, "default"), 429, "overloaded")
	for _, who := range []string{"1", "polite", "2"} { // they take turns
		b.reply <- jsonAnswer(`{}`)
		assert.Equal(t, who, <-b.came)
	}
	b.reply <- jsonAnswer(`{}`)
	for _, s := range append(served[:3], polite) {
		assert.Equal(t, 200, (<-s).status)
	}
	c.settled(t)
	assert.Zero(t, c.lots.pressed.Load())
}

// TestShedWithoutQueue: where nobody may wait, a batch leaves the last places to
// the others.
func TestShedWithoutQueue(t *testing.T) {
	list := []*scripted{newScripted(t), newScripted(t)}
	c := newClassed(t, "queue: off", list...)
	first := c.send(t, "batch", "1")
	var busy, idle *scripted
	select {
	case <-list[0].came:
		busy, idle = list[0], list[1]
	case <-list[1].came:
		busy, idle = list[1], list[0]
	}
	second := c.send(t, "interactive", "2")
	<-idle.came
	requireError(t, c.refusedUnread(t, "batch"), 429, "overloaded")
	requireError(t, c.ask(t, chat(simple, "Authorization: Bearer "+c.keys["interactive"])), 503, "no_backend_available")
	busy.reply <- jsonAnswer(`{}`)
	idle.reply <- jsonAnswer(`{}`)
	assert.Equal(t, 200, (<-first).status)
	assert.Equal(t, 200, (<-second).status)
}

const failure = "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// repeatsUnderLoad has X on one of two backends and Y on the other, with size
// places to wait in.
func repeatsUnderLoad(t *testing.T, size int) (c *classed, x, y *scripted, answerX, answerY <-chan answer) {
	t.Helper()
	list := []*scripted{newScripted(t), newScripted(t)}
	c = newClassed(t, fmt.Sprintf("retry: {attempts: 2, budget: 100%%}, queue: {wait: 20s, size: %d}", size), list...)
	answerX = c.send(t, "interactive", "x")
	select {
	case <-list[0].came:
		x, y = list[0], list[1]
	case <-list[1].came:
		x, y = list[1], list[0]
	}
	answerY = c.send(t, "default", "y")
	require.Equal(t, "y", <-y.came)
	return c, x, y, answerX, answerY
}

// TestRepeatsWaitBehindFreshWork: a request that failed on one backend waits for
// another one, and all that is fresh goes first, whoever asks.
func TestRepeatsWaitBehindFreshWork(t *testing.T) {
	c, x, y, answerX, answerY := repeatsUnderLoad(t, 100)
	x.reply <- failure
	c.waitFor(t, 1) // x, for y's backend: its own has failed it
	fresh := c.send(t, "default", "fresh")
	// x's backend has room, and fresh work may use it.
	require.Equal(t, "fresh", <-x.came)
	later := c.send(t, "default", "later")
	c.waitFor(t, 2)
	y.reply <- jsonAnswer(`{}`)
	require.Equal(t, "later", <-y.came)
	y.reply <- jsonAnswer(`{}`)
	require.Equal(t, "x", <-y.came)
	y.reply <- jsonAnswer(`{}`)
	x.reply <- jsonAnswer(`{}`)
	for _, a := range []<-chan answer{answerX, answerY, fresh, later} {
		assert.Equal(t, 200, (<-a).status)
	}
}

// TestRepeatsGiveUpFirst: where a batch would be refused, nothing is tried again:
// what the backend said is the answer.
func TestRepeatsGiveUpFirst(t *testing.T) {
	c, x, y, answerX, answerY := repeatsUnderLoad(t, 1)
	fresh := c.send(t, "default", "fresh")
	c.waitFor(t, 1)
	x.reply <- failure
	assert.Equal(t, 500, (<-answerX).status)
	require.Equal(t, "fresh", <-x.came)
	x.reply <- jsonAnswer(`{}`)
	y.reply <- jsonAnswer(`{}`)
	assert.Equal(t, 200, (<-fresh).status)
	assert.Equal(t, 200, (<-answerY).status)
	assert.Contains(t, c.scrape(t), `helixflow_backend_retries_total{backend="`+x.url+`"} 0`)
}
