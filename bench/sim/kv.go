package sim

// The paged KV cache: blocks with reference counts, full ones named by the hash
// of their prefix, idle ones in least-recently-used order.

import "math/bits"

// BlockTokens is how many tokens a KV block holds.
const BlockTokens = 16

// kvPool owns the blocks. A block is in use (ref > 0) or on the free ring, never
// both; a free block keeps its hash, and so its content, until it is handed out
// again. Not safe for concurrent use.
type kvPool struct {
	ref  []int32
	hash []uint64 // 0 means the block is not full, or another one has its content
	prev []int32  // the free ring; its head is the sentinel len(ref)
	next []int32
	free int

	// The blocks by hash: a table of as many heads as blocks, or up to twice as
	// many, and the next block behind each. A map takes five times as long.
	heads  []int32
	behind []int32
}

const noBlock = -1

func newKVPool(blocks int) *kvPool {
	k := &kvPool{
		ref: make([]int32, blocks), hash: make([]uint64, blocks),
		prev: make([]int32, blocks+1), next: make([]int32, blocks+1),
		heads: make([]int32, 1<<bits.Len(uint(blocks))), behind: make([]int32, blocks),
	}
	for i := range k.heads {
		k.heads[i] = noBlock
	}
	head := int32(blocks)
	k.prev[head], k.next[head] = head, head
	for b := range head {
		k.pushFree(b)
	}
	return k
}

// head returns where the blocks hang whose hashes look alike.
func (k *kvPool) head(hash uint64) *int32 { return &k.heads[hash&uint64(len(k.heads)-1)] }

// find returns the block with that hash, or noBlock.
func (k *kvPool) find(hash uint64) int32 {
	b := *k.head(hash)
	for b != noBlock && k.hash[b] != hash {
		b = k.behind[b]
	}
	return b
}

// match returns how many of the leading hashes are here, at most limit, and how
// many of those blocks are on the free ring.
func (k *kvPool) match(hashes []uint64, limit int) (hit, idle int) {
	for hit < min(limit, len(hashes)) {
		b := k.find(hashes[hit])
		if b == noBlock {
			break
		}
		if k.ref[b] == 0 {
			idle++
		}
		hit++
	}
	return hit, idle
}

// share appends the blocks with these hashes, which match must just have found,
// and counts one more user of each.
func (k *kvPool) share(blocks []int32, hashes []uint64) []int32 {
	for _, h := range hashes {
		b := k.find(h)
		if k.ref[b] == 0 {
			k.popFree(b)
		}
		k.ref[b]++
		blocks = append(blocks, b)
	}
	return blocks
}

// grow appends fresh blocks until they hold so many tokens; if there are not
// enough it changes nothing and returns false.
func (k *kvPool) grow(blocks []int32, tokens int) ([]int32, bool) {
	need := blocksFor(tokens) - len(blocks)
	if need > k.free {
		return blocks, false
	}
	for range need {
		b := k.next[len(k.ref)]
		k.popFree(b)
		k.forget(b)
		k.ref[b] = 1
		blocks = append(blocks, b)
	}
	return blocks, true
}

// name makes full blocks findable: blocks[i] has the content hashes[i] for every
// i in [from, to).
func (k *kvPool) name(blocks []int32, hashes []uint64, from, to int) {
	for i := from; i < min(to, len(hashes)); i++ {
		if k.hash[blocks[i]] != 0 || k.find(hashes[i]) != noBlock {
			continue
		}
		head := k.head(hashes[i])
		k.behind[blocks[i]], *head = *head, blocks[i]
		k.hash[blocks[i]] = hashes[i]
	}
}

// release gives the blocks back, the last one first: the tail of a prompt is
// reused least, so it is the first to be evicted.
func (k *kvPool) release(blocks []int32) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		k.ref[b]--
		if k.ref[b] < 0 {
			panic("BUG: KV block released twice")
		}
		if k.ref[b] == 0 {
			k.pushFree(b)
		}
	}
}

func (k *kvPool) forget(b int32) {
	if k.hash[b] == 0 {
		return
	}
	at := k.head(k.hash[b])
	for *at != b {
		at = &k.behind[*at]
	}
	*at = k.behind[b]
	k.hash[b] = 0
}

func (k *kvPool) pushFree(b int32) {
	head := int32(len(k.ref))
	last := k.prev[head]
	k.next[last], k.prev[b] = b, last
	k.next[b], k.prev[head] = head, b
	k.free++
}

func (k *kvPool) popFree(b int32) {
	k.next[k.prev[b]] = k.next[b]
	k.prev[k.next[b]] = k.prev[b]
	k.free--
}

func blocksFor(tokens int) int {
	return (tokens + BlockTokens - 1) / BlockTokens
}
