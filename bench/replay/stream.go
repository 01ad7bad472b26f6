package replay

// Randomness that is the same everywhere.

import (
	"math"
	"math/bits"
)

// stream is SplitMix64 (Steele, Lea, Flood 2014). Each part of a simulation has a
// stream of its own, so that what one draws changes nothing for another.
type stream uint64

// streamOf returns the stream of a part of what runs by seed.
func streamOf(seed uint64, part string) *stream {
	h := seed
	for _, c := range []byte(part) {
		h = mix(h ^ uint64(c))
	}
	s := stream(h)
	return &s
}

func (s *stream) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	return mix(uint64(*s))
}

// below returns a number from 0 to n-1; n is above 0.
func (s *stream) below(n uint64) uint64 {
	hi, _ := bits.Mul64(s.next(), n)
	return hi
}

// float returns a number from 0 to below 1.
func (s *stream) float() float64 { return float64(s.next()>>11) / (1 << 53) }

// exponential returns a time between two independent events, 1 in the mean.
func (s *stream) exponential() float64 { return -math.Log(1 - s.float()) }

// normal returns a standard normal number (Box and Muller 1958).
func (s *stream) normal() float64 {
	r := math.Sqrt(-2 * math.Log(1-s.float()))
	return r * math.Cos(2*math.Pi*s.float())
}

// lognormal returns a number with that median; sigma is of its logarithm.
func (s *stream) lognormal(median, sigma float64) float64 {
	return median * math.Exp(sigma*s.normal())
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
