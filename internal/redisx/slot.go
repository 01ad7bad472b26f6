package redisx

import "strings"

const (
	slots = 16384 // that a cluster's keys are spread over
	// slotRanges is how many breakers there are for them: a node has few ranges of
	// slots, so that one which is away takes little along that others have.
	slotRanges = 16
)

// slotOf is the slot of a key: a checksum of what stands between the first braces,
// or of all of it (CRC-16/XMODEM; Redis Cluster specification).
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
	}
	return int(crc) % slots
}
