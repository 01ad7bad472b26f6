package router

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/secret"
)

// This file tells other replicas when a backend went out here, and hears it from
// them. It is a reason to check that backend at once and never one to take it out:
// it may be cut off from the other replica only.
//
// A packet is a version byte, and to its end eight bytes for each backend, little
// endian: a hash of its pool and URL, which only those can make who know the secret.

const (
	hintsVersion  = 2 // as the first byte of a packet: 1 is of placements
	hintsAhead    = 64
	hintSize      = 8
	hintsEvery    = 100 * time.Millisecond // between two packets
	hintsInSecond = 50                     // packets that are listened to; each is one look at all backends
)

// Hints are what passes between replicas about backends that went out. Note and Counts
// are safe for concurrent use, Hear is for one packet at a time.
type Hints struct {
	seed    uint64
	fleet   *backends.Fleet
	send    func(packet []byte)
	waiting chan uint64

	second  time.Time // what was listened to in it
	packets int

	told, heard, checked, dropped, refused atomic.Uint64
}

// HintCounts are totals since the start. A plain value.
type HintCounts struct {
	Told, Heard uint64 // hints
	Checked     uint64 // backends that were checked for what was heard
	Dropped     uint64 // hints that came faster than they are told, and packets that came too fast
	Refused     uint64 // packets that made no sense
}

// NewHints makes hints about the fleet's backends, told to other replicas by send,
// which must not wait.
func NewHints(key secret.Text, fleet *backends.Fleet, send func(packet []byte)) *Hints {
	sum := sha256.Sum256([]byte("helixflow hints\x00" + key.Reveal()))
	return &Hints{seed: binary.LittleEndian.Uint64(sum[:]) | 1, fleet: fleet, send: send, waiting: make(chan uint64, hintsAhead)}
}

// Counts returns the totals.
func (h *Hints) Counts() HintCounts {
	return HintCounts{
		Told: h.told.Load(), Heard: h.heard.Load(), Checked: h.checked.Load(), Dropped: h.dropped.Load(), Refused: h.refused.Load(),
	}
}

func (h *Hints) of(pool, url string) uint64 {
	return balancer.Salt(balancer.Salt(h.seed, []byte(pool)), []byte(url))
}

// Note has the others told that a backend went out, if that is what happened. It
// never waits.
func (h *Hints) Note(t backends.Transition) {
	served := t.From == backends.Healthy || t.From == backends.SlowStart
	if !served || t.To != backends.Ejected && t.To != backends.Unhealthy {
		return
	}
	select {
	case h.waiting <- h.of(t.Pool, t.URL):
	default:
		h.dropped.Add(1)
	}
}

// Tell tells the other replicas until stop is closed.
func (h *Hints) Tell(stop <-chan struct{}) {
	packet := make([]byte, 0, 1+hintsAhead*hintSize)
	for {
		select {
		case <-stop:
			return
		case id := <-h.waiting:
			packet = binary.LittleEndian.AppendUint64(append(packet[:0], hintsVersion), id)
		}
		for len(packet) < cap(packet) && len(h.waiting) > 0 {
			packet = binary.LittleEndian.AppendUint64(packet, <-h.waiting)
		}
		h.send(packet)
		h.told.Add(uint64(len(packet) / hintSize))
		select {
		case <-stop:
			return
		case <-time.After(hintsEvery):
		}
	}
}

// Hear takes in a packet of another replica, at about now, and reports false where
// it is not one of hints.
func (h *Hints) Hear(packet []byte, now time.Time) bool {
	if len(packet) == 0 || packet[0] != hintsVersion {
		return false
	}
	packet = packet[1:]
	if len(packet) == 0 || len(packet)%hintSize != 0 || len(packet) > hintsAhead*hintSize {
		h.refused.Add(1)
		return true
	}
	if now.Sub(h.second) >= time.Second || now.Before(h.second) {
		h.second, h.packets = now, 0
	}
	if h.packets++; h.packets > hintsInSecond {
		h.dropped.Add(1)
		return true
	}
	var ids [hintsAhead]uint64
	n := len(packet) / hintSize
	for i := range n {
		ids[i] = binary.LittleEndian.Uint64(packet[i*hintSize:])
	}
	h.heard.Add(uint64(n))
	h.checked.Add(uint64(h.fleet.Doubt(func(pool, url string) bool { return slices.Contains(ids[:n], h.of(pool, url)) }, now)))
	return true
}
