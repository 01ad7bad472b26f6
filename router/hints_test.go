package router

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/secret"
)

// checkedOnly is a backend that notes each connection, which is a check: it gets no
// requests.
func checkedOnly(t testing.TB) (url string, checks <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	seen := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			seen <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-ended })
	return "http://" + ln.Addr().String(), seen
}

func wentOut(url string) backends.Transition {
	return backends.Transition{Pool: "p", URL: url, From: backends.Healthy, To: backends.Ejected}
}

// TestHints: a backend that went out at one replica is checked at the others that
// have it, and stays in where the check is good.
func TestHints(t *testing.T) {
	url, checks := checkedOnly(t)
	config := hedged("off", "", url)
	here, there, elsewhere := newWorld(t, config), newWorld(t, config), newWorld(t, config)
	b, c := NewHints(secret.New(clusterKey), there.fleet, nil), NewHints(secret.New("another secret"), elsewhere.fleet, nil)
	told := make(chan struct{})
	a := NewHints(secret.New(clusterKey), here.fleet, func(packet []byte) {
		assert.LessOrEqual(t, len(packet), packetSize)
		assert.True(t, b.Hear(packet, time.Now()))
		assert.True(t, c.Hear(packet, time.Now()))
		told <- struct{}{}
	})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { a.Tell(stop); close(ended) }()
	for _, other := range []backends.Transition{
		{Pool: "p", URL: url, From: backends.Ejected, To: backends.HalfOpen},
		{Pool: "p", URL: url, From: backends.HalfOpen, To: backends.Ejected},
		{Pool: "p", URL: url, From: backends.Healthy, To: backends.Draining},
		{Pool: "p", URL: url, From: backends.SlowStart, To: backends.Healthy},
	} {
		a.Note(other) // tells nobody anything
	}
	a.Note(wentOut(url))
	<-told
	<-checks
	close(stop)
	<-ended
	assert.Equal(t, HintCounts{Told: 1}, a.Counts())
	assert.Equal(t, HintCounts{Heard: 1, Checked: 1}, b.Counts())
	assert.Equal(t, HintCounts{Heard: 1}, c.Counts())
	for _, ep := range there.srv.snapshot.Load().pools[0].endpoints {
		assert.Equal(t, backends.Healthy, ep.Status(time.Now()).State)
	}
}

// TestHintsAreBounded: whatever others say, a backend is checked once a second for
// it, and no more than so many packets are listened to; and who has more to say than
// is told says less.
func TestHintsAreBounded(t *testing.T) {
	url, _ := checkedOnly(t)
	h := NewHints(secret.New(clusterKey), newWorld(t, hedged("off", "", url)).fleet, nil)
	packet := binary.LittleEndian.AppendUint64([]byte{hintsVersion}, h.of("p", url))
	now := time.Now().Add(time.Hour)
	for range 10 * hintsInSecond {
		h.Hear(packet, now)
	}
	assert.Equal(t, HintCounts{Heard: hintsInSecond, Checked: 1, Dropped: 9 * hintsInSecond}, h.Counts())
	h.Hear(packet, now.Add(time.Second))
	assert.EqualValues(t, 2, h.Counts().Checked)
	h.Hear(packet, now.Add(-time.Hour)) // of a clock that was set back
	assert.EqualValues(t, hintsInSecond+2, h.Counts().Heard)
	for range 2 * hintsAhead {
		h.Note(wentOut(url))
	}
	assert.EqualValues(t, 9*hintsInSecond+hintsAhead, h.Counts().Dropped)
}

// Whatever comes is heard whole, refused, or for somebody else.
func FuzzHearHints(f *testing.F) {
	fleet := newWorld(f, hedged("off", "", first, second)).fleet
	key := secret.New(clusterKey)
	good := binary.LittleEndian.AppendUint64([]byte{hintsVersion}, NewHints(key, fleet, nil).of("p", first))
	f.Add(good)
	f.Add(append(good, good[1:]...))
	f.Add(good[:5])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		h := NewHints(key, fleet, nil)
		mine := h.Hear(packet, time.Now())
		require.Equal(t, len(packet) > 0 && packet[0] == hintsVersion, mine)
		if mine {
			require.True(t, h.Counts().Refused == 1 || int(h.Counts().Heard)*hintSize+1 == len(packet))
			require.LessOrEqual(t, h.Counts().Checked, h.Counts().Heard)
		}
	})
}
