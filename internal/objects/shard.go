package objects

// shard: a bounded table of entries. Those of one tenant are linked by age.

import "sync"

// A tenant may hold as many entries as generous times those that are free. So
// one alone gets eight ninths of a shard, and many get less each, without anybody
// being told how many there are (Choudhury and Hahne, "Dynamic queue length
// thresholds for shared-memory packet switches", 1998).
const generous = 8

const sweepEvery = 60 // seconds

const none = int32(-1)

type shard struct {
	mu       sync.Mutex // guards the fields below
	index    map[digest]int32
	entries  []entry
	spare    int32 // the first of the entries in no use, linked by newer
	holdings []holding
	byTenant map[uint64]int32 // in holdings
	max      int
	life     uint32 // seconds
	swept    uint32 // when the old ones of all tenants were last looked for
}

// entry is one object: 40 bytes, without pointers.
type entry struct {
	key          digest
	home         Home
	holder       int32 // in holdings
	seen         uint32
	older, newer int32 // of the same holder
}

// holding is the entries of one tenant.
type holding struct {
	tenant         uint64
	oldest, newest int32
	count          int
}

func (s *shard) init(capacity int, life uint32) {
	s.max, s.life, s.spare = capacity, life, none
	s.index = make(map[digest]int32)
	s.byTenant = make(map[uint64]int32)
}

func (s *shard) record(d digest, tenant uint64, home Home, now uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[d]; ok && !s.expired(i, now) {
		if e := &s.entries[i]; s.holdings[e.holder].tenant == tenant {
			e.home = home
			s.touch(i, now)
		}
		return
	} else if ok {
		s.drop(i)
	}
	h := s.holder(tenant)
	s.makeRoom(h, now)
	i := s.unused()
	s.entries[i] = entry{key: d, home: home, holder: h, seen: now, older: none, newer: none}
	s.index[d] = i
	s.append(i)
}

func (s *shard) find(d digest, tenant uint64, now uint32) (Home, Ownership) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[d]
	if !ok {
		return Home{}, Unknown
	}
	if s.expired(i, now) {
		s.drop(i)
		return Home{}, Unknown
	}
	e := &s.entries[i]
	if s.holdings[e.holder].tenant != tenant {
		return Home{}, Foreign
	}
	s.touch(i, now)
	return e.home, Own
}

func (s *shard) forget(d digest, tenant uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[d]; ok && s.holdings[s.entries[i].holder].tenant == tenant {
		s.drop(i)
	}
}

func (s *shard) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}

func (s *shard) expired(i int32, now uint32) bool {
	seen := s.entries[i].seen
	return now > seen && now-seen >= s.life
}

// makeRoom sees to it that one more entry of h is within bounds. Whoever makes
// many loses its own; only a tenant's first entry in a full shard takes the place
// of another's, of whoever has the most.
func (s *shard) makeRoom(h int32, now uint32) {
	if s.over(h) && now-s.swept >= sweepEvery {
		s.swept = now
		for i := range s.holdings {
			for old := s.holdings[i].oldest; s.holdings[i].count > 0 && s.expired(old, now); old = s.holdings[i].oldest {
				s.drop(old)
			}
		}
	}
	for s.holdings[h].count > 0 && s.over(h) {
		s.drop(s.holdings[h].oldest)
	}
	if len(s.index) < s.max {
		return
	}
	most := 0
	for i := range s.holdings {
		if s.holdings[i].count > s.holdings[most].count {
			most = i
		}
	}
	s.drop(s.holdings[most].oldest)
}

func (s *shard) over(h int32) bool {
	return s.holdings[h].count >= generous*(s.max-len(s.index))
}

// holder is the place of a tenant in holdings. Nobody leaves: there are as many
// as the configuration has ever had.
func (s *shard) holder(tenant uint64) int32 {
	h, ok := s.byTenant[tenant]
	if !ok {
		h = int32(len(s.holdings))
		s.holdings = append(s.holdings, holding{tenant: tenant, oldest: none, newest: none})
		s.byTenant[tenant] = h
	}
	return h
}

// unused takes an entry that is in no use.
func (s *shard) unused() int32 {
	if i := s.spare; i != none {
		s.spare = s.entries[i].newer
		return i
	}
	s.entries = append(s.entries, entry{})
	return int32(len(s.entries) - 1)
}

// drop forgets the entry i.
func (s *shard) drop(i int32) {
	s.unlink(i)
	delete(s.index, s.entries[i].key)
	s.entries[i] = entry{newer: s.spare}
	s.spare = i
}

// touch makes the entry i the newest of its holder.
func (s *shard) touch(i int32, now uint32) {
	s.entries[i].seen = now
	s.unlink(i)
	s.append(i)
}

func (s *shard) append(i int32) {
	e := &s.entries[i]
	h := &s.holdings[e.holder]
	e.older, e.newer = h.newest, none
	if h.newest != none {
		s.entries[h.newest].newer = i
	} else {
		h.oldest = i
	}
	h.newest = i
	h.count++
}

func (s *shard) unlink(i int32) {
	e := &s.entries[i]
	h := &s.holdings[e.holder]
	if e.older != none {
		s.entries[e.older].newer = e.newer
	} else {
		h.oldest = e.newer
	}
	if e.newer != none {
		s.entries[e.newer].older = e.older
	} else {
		h.newest = e.older
	}
	h.count--
}
