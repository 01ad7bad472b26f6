package sim

// Randomness that is the same everywhere: splitmix64.

// splitmix is Steele, Lea and Flood's generator (OOPSLA 2014). The zero value is
// a valid stream, that of seed 0.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	return mix(uint64(*s))
}

// below returns a number in [0, n); n must be positive. Its bias is n/2^64.
func (s *splitmix) below(n int) int {
	return int(s.next() % uint64(n))
}

// mix is the generator's finalizer, a bijection that spreads every bit.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
