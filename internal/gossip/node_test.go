package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/internal/secret"
)

// A probe that is under way when its node ends waits for its own time-out.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

const soon = 20 * time.Second // on a busy machine

// heard is the packets that one node got.
type heard struct {
	mu      sync.Mutex
	packets []string
}

func (h *heard) receive(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.packets = append(h.packets, string(p))
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.packets...)
}

// start begins a node on loopback.
func start(t *testing.T, key string, peers ...string) (*Node, *heard) {
	t.Helper()
	h := new(heard)
	n, err := Start(Options{
		Listen: "127.0.0.1:0", Advertise: "", Peers: peers, Secret: secret.New(key),
		Receive: h.receive, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n, h
}

func requireMembers(t *testing.T, want int, nodes ...*Node) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.Counts().Members != want {
				return false
			}
		}
		return true
	}, soon, 10*time.Millisecond)
}

func TestNodes(t *testing.T) {
	const key = "a secret of the cluster"
	a, atA := start(t, key)
	b, atB := start(t, key, a.Address())
	c, atC := start(t, key, a.Address(), b.Address())
	requireMembers(t, 3, a, b, c)

	big := bytes.Repeat([]byte("x"), MaxPacket)
	require.Eventually(t, func() bool { // a datagram may be lost
		a.Send(big)
		return len(atB.all()) > 0 && len(atC.all()) > 0
	}, soon, 20*time.Millisecond)
	assert.Equal(t, string(big), atB.all()[0])
	assert.Equal(t, string(big), atC.all()[0])
	assert.Empty(t, atA.all(), "nobody hears itself")
	assert.Positive(t, a.Counts().Sent)
	assert.Positive(t, b.Counts().Received)

	b.Close() // in words
	requireMembers(t, 2, a, c)
}

// Who does not know the secret is no member, and is not heard.
func TestNodesOfAnotherSecret(t *testing.T) {
	a, atA := start(t, "a secret of the cluster")
	b, atB := start(t, "another secret, as long", a.Address())
	c, _ := start(t, "a secret of the cluster", a.Address())
	requireMembers(t, 2, a, c)
	b.Send([]byte("evil"))
	assert.Equal(t, 1, b.Counts().Members)
	assert.Empty(t, atA.all())
	assert.Empty(t, atB.all())

	// Nor is who sends whatever to the port.
	u, err := net.Dial("udp", a.Address())
	require.NoError(t, err)
	defer func() { _ = u.Close() }()
	for i := range 100 {
		_, err = fmt.Fprintf(u, "%c evil %d", byte(i), i)
		require.NoError(t, err)
	}
	c.Send([]byte("good"))
	require.Eventually(t, func() bool { c.Send([]byte("good")); return len(atA.all()) > 0 }, soon, 20*time.Millisecond)
	for _, p := range atA.all() {
		require.Equal(t, "good", p)
	}
}

// A node whose peers are not there yet finds them when they are.
func TestPeersThatComeLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	early, _ := start(t, "a secret of the cluster", address)
	assert.Equal(t, 1, early.Counts().Members)
	assert.Equal(t, []string{address}, early.missing())

	late, err := Start(Options{Listen: address, Peers: []string{early.Address()}, Secret: secret.New("a secret of the cluster"), Receive: func([]byte) {}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(late.Close)
	requireMembers(t, 2, early, late)
	assert.Empty(t, early.missing())
}

// A node that should have company and has none says so, and takes it back.
func TestAlone(t *testing.T) {
	const key = "a secret of the cluster"
	start := func(o Options) (*Node, func() bool) {
		var alone atomic.Bool
		told := make(chan struct{})
		once := sync.OnceFunc(func() { close(told) })
		o.Listen, o.Secret, o.Receive, o.Log = "127.0.0.1:0", secret.New(key), func([]byte) {}, slog.New(slog.DiscardHandler)
		o.Alone = func(yes bool) { alone.Store(yes); once() }
		n, err := Start(o)
		require.NoError(t, err)
		t.Cleanup(n.Close)
		<-told
		return n, alone.Load
	}
	until := func(alone func() bool, want bool) {
		t.Helper()
		require.Eventually(t, func() bool { return alone() == want }, soon, 10*time.Millisecond)
	}
	one, oneAlone := start(Options{Routers: 2})
	assert.True(t, oneAlone(), "there are two")
	other, otherAlone := start(Options{Peers: []string{one.Address()}})
	until(oneAlone, false)
	until(otherAlone, false)
	other.Close()
	until(oneAlone, true)

	found, foundAlone := start(Options{})
	assert.False(t, foundAlone(), "nobody else was ever spoken of")
	guest, _ := start(Options{Peers: []string{found.Address()}})
	requireMembers(t, 2, found, guest)
	assert.False(t, foundAlone())
	guest.Close()
	until(foundAlone, true) // there were two, and nobody has said that there is one now
	found.changed(func() { found.last = found.last.Add(-missedFor) })
	assert.False(t, foundAlone(), "that is long ago")
	certain, certainAlone := start(Options{Routers: 1})
	guest, _ = start(Options{Peers: []string{certain.Address()}})
	requireMembers(t, 2, certain, guest)
	guest.Close()
	requireMembers(t, 1, certain)
	assert.False(t, certainAlone(), "there is one, it was said")

	_, lacking := start(Options{Peers: []string{other.Address()}})
	assert.True(t, lacking(), "its peer is not there")
}

func TestStartFails(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		o.Secret, o.Log = secret.New("a secret of the cluster"), slog.New(slog.DiscardHandler)
		_, err := Start(o)
		assert.ErrorContains(t, err, want)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	f(Options{Listen: taken.Addr().String()}, "cannot join the cluster: cannot listen on 127.0.0.1:")
	f(Options{Listen: "127.0.0.1"}, "missing port")
	f(Options{Listen: "127.0.0.1:http"}, `"http" is no port`)
	f(Options{Listen: "127.0.0.1:0", Advertise: "nowhere.invalid:1"}, "nowhere.invalid")
}
