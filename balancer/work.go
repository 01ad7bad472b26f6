package balancer

// PrefillRate is how many prompt tokens a backend is taken to read in a second
// until more is known of it. Being wrong by a factor of four costs little, since
// only differences between backends count.
const PrefillRate = 10_000

// PrefillSeconds is how long a backend is taken to need for a prompt that it has
// not cached.
func PrefillSeconds(tokens int64) float64 { return float64(tokens) / PrefillRate }
