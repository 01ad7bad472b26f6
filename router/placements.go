package router

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/ring"
	"github.com/helixflow/helixflow/internal/secret"
)

// This file tells other replicas which backend was given which prompt, and hears
// it from them: what one has sent to a backend the others find there, too. It is
// hints; a lost packet costs a worse choice at most.
//
// A packet is a version byte, and placements to its end: eight bytes that stand
// for the pool, four for the backend, one for the number of blocks, then eight for
// each block's hash, all little endian.

const (
	packetVersion   = 1
	placementHead   = 8 + 4 + 1
	placementBlocks = 140     // of one placement: 340 KB of prompt
	placementsAhead = 1 << 10 // that wait to be told
	packetsAtOnce   = 64      // in each tellEvery; what is more is dropped
	packetSize      = 1200    // fits a datagram
	tellEvery       = 100 * time.Millisecond
)

// placement is one prompt, given to one backend.
type placement struct {
	pool    uint64
	backend uint32
	blocks  uint8
	hashes  [placementBlocks]uint64
}

// placements is what passes between replicas about who got which prompt.
type placements struct {
	waiting *ring.Ring[placement]
	send    func(packet []byte)
	packet  []byte // being filled; the telling goroutine's

	told, heard, refused atomic.Uint64
}

// PlacementCounts are totals since the start. A plain value.
type PlacementCounts struct {
	Told, Heard uint64 // placements
	Dropped     uint64 // placements that were more than is told
	Refused     uint64 // packets that made no sense, or of pools and backends that are not here
}

// Agree has the hashes of prompts made so that all routers agree on them that know
// the same secret, or none. It is called once, before the first plan.
func (x *Indexes) Agree(key secret.Text) {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := sha256.Sum256([]byte("helixflow prefix index\x00" + key.Reveal()))
	x.seed = binary.LittleEndian.Uint64(sum[:]) | 1
	x.pools = make(map[string]*poolIndex)
}

// Scatter says whether others send prompts to the same backends without telling:
// then the beginning of a prompt says where it belongs, as far as nothing better is
// known.
func (x *Indexes) Scatter(yes bool) { x.scattered.Store(yes) }

// Scattered returns what Scatter said last, at first false.
func (x *Indexes) Scattered() bool { return x.scattered.Load() }

// Share has placements told to other replicas by send, which must not wait, and
// agrees with those that know the secret. It is called once, before the first plan.
// Hear takes what others sent; Tell is to be run as long as anything is to be sent.
func (x *Indexes) Share(key secret.Text, send func(packet []byte)) {
	x.Agree(key)
	x.placements = &placements{waiting: ring.New[placement](placementsAhead), send: send}
}

// PlacementCounts returns what was shared; nothing where nothing is.
func (x *Indexes) PlacementCounts() PlacementCounts {
	s := x.placements
	if s == nil {
		return PlacementCounts{}
	}
	return PlacementCounts{Told: s.told.Load(), Heard: s.heard.Load(), Dropped: s.waiting.Dropped(), Refused: s.refused.Load()}
}

// note queues a placement to be told. It never waits: when others cannot be told
// fast enough they are not told.
func (s *placements) note(pool uint64, backend uint32, chain *balancer.Chain) {
	n := min(chain.Len(), placementBlocks)
	if n == 0 {
		return
	}
	p := placement{pool: pool, backend: backend, blocks: uint8(n)}
	for i := range n {
		p.hashes[i] = chain.Hash(i)
	}
	s.waiting.Push(&p)
}

// Tell tells the other replicas until stop is closed.
func (x *Indexes) Tell(stop <-chan struct{}) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			x.placements.tell()
		}
	}
}

// tell sends what waits, or as much as is sent at once.
func (s *placements) tell() {
	for sent := 0; sent < packetsAtOnce; {
		p := s.waiting.Next()
		if p == nil || len(s.packet)+p.size() > packetSize {
			sent += s.flush()
		}
		if p == nil {
			return
		}
		if len(s.packet) == 0 {
			s.packet = append(s.packet, packetVersion)
		}
		s.packet = p.append(s.packet)
		s.told.Add(1)
		s.waiting.Done()
	}
	s.flush()
}

func (s *placements) flush() int {
	if len(s.packet) == 0 {
		return 0
	}
	s.send(s.packet)
	s.packet = s.packet[:0]
	return 1
}

func (p *placement) size() int { return placementHead + 8*int(p.blocks) }

func (p *placement) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, p.pool)
	dst = binary.LittleEndian.AppendUint32(dst, p.backend)
	dst = append(dst, p.blocks)
	for _, h := range p.hashes[:p.blocks] {
		dst = binary.LittleEndian.AppendUint64(dst, h)
	}
	return dst
}

// Hear takes in a packet of another replica. Pools and backends that are not here
// are passed over: replicas may be configured differently for a while.
func (x *Indexes) Hear(packet []byte) {
	s := x.placements
	if len(packet) == 0 || packet[0] != packetVersion {
		s.refused.Add(1)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for packet = packet[1:]; len(packet) > 0; {
		if len(packet) < placementHead {
			s.refused.Add(1)
			return
		}
		pool, backend := binary.LittleEndian.Uint64(packet), binary.LittleEndian.Uint32(packet[8:])
		size := placementHead + 8*int(packet[12])
		if len(packet) < size {
			s.refused.Add(1)
			return
		}
		if !x.learn(pool, backend, packet[placementHead:size]) {
			s.refused.Add(1)
		} else {
			s.heard.Add(1)
		}
		packet = packet[size:]
	}
}

// learn notes that another replica gave the backend the prompt of these hashes.
func (x *Indexes) learn(pool uint64, backend uint32, hashes []byte) bool {
	for _, p := range x.pools {
		if p.seed != pool {
			continue
		}
		for ep, place := range p.places {
			if ep.Mark() != backend {
				continue
			}
			var chain balancer.Chain
			for ; len(hashes) > 0; hashes = hashes[8:] {
				chain.Follow(binary.LittleEndian.Uint64(hashes))
			}
			p.table.Insert(&chain, place, p.table.Now())
			return true
		}
	}
	return false
}
