// Package clientaddr finds the address of the client behind the proxies that an
// operator trusts, from the addresses they noted in X-Forwarded-For. It starts no
// goroutine and allocates nothing for a request.
package clientaddr

import (
	"bytes"
	"net/netip"
	"slices"
)

// maxHops is how many entries of X-Forwarded-For are looked at, from the right.
// No chain of proxies is so long, but a header of 64 KiB may be.
const maxHops = 64

// Trusted is a set of addresses whose X-Forwarded-For is believed. Immutable, safe
// for concurrent use. A nil Trusted is empty: it believes nobody.
type Trusted struct{ ranges []addrRange } // sorted, apart from each other

type addrRange struct{ first, last netip.Addr }

// New returns the set of all addresses in prefixes. IPv4 inside IPv6 means the
// IPv4 addresses; bits beyond a prefix's length mean nothing; an invalid prefix is
// none.
func New(prefixes []netip.Prefix) *Trusted {
	var all []addrRange
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p = p.Masked(); p.IsValid() {
			all = append(all, addrRange{p.Addr(), lastOf(p)})
		}
	}
	slices.SortFunc(all, func(a, b addrRange) int { return a.first.Compare(b.first) })
	t := new(Trusted)
	for _, r := range all {
		if n := len(t.ranges); n > 0 && !t.ranges[n-1].last.Less(r.first) {
			// Prefixes nest or are apart, so the one before covers this one.
			continue
		}
		t.ranges = append(t.ranges, r)
	}
	return t
}

// lastOf returns the last address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// Contains reports whether the set holds a; IPv4 inside IPv6 is IPv4. It does not
// allocate.
func (t *Trusted) Contains(a netip.Addr) bool { return t != nil && t.contains(a.Unmap()) }

// contains reports whether the set holds a, which is unmapped.
func (t *Trusted) contains(a netip.Addr) bool {
	a = a.WithZone("")
	low, high := 0, len(t.ranges) // the last range that does not begin behind a
	for low < high {
		if mid := (low + high) / 2; a.Less(t.ranges[mid].first) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low > 0 && !t.ranges[low-1].last.Less(a)
}

// Client returns the address of the client: peer itself, unless that is trusted;
// else the right-most address of X-Forwarded-For that is not, since each proxy
// adds on the right whom it was asked by, and what stands further left may be
// anybody's invention. When all are trusted it is the left-most one; at an entry
// that is no address, or after 64 of them, it is the last trusted one met.
//
// xff are the values of all X-Forwarded-For headers, in order, borrowed for the
// call. An entry may be in brackets and have a port. IPv4 inside IPv6 is returned
// as IPv4, and addresses out of a header without their zone.
func (t *Trusted) Client(peer netip.Addr, xff [][]byte) netip.Addr {
	client := peer.Unmap()
	if t == nil || len(t.ranges) == 0 || !client.IsValid() || !t.contains(client) {
		return client
	}
	hops := 0
	for i := len(xff) - 1; i >= 0; i-- {
		rest := xff[i]
		for more := true; more; hops++ {
			if hops == maxHops {
				return client
			}
			var entry []byte
			comma := bytes.LastIndexByte(rest, ',')
			entry, rest, more = rest[comma+1:], rest[:max(comma, 0)], comma >= 0
			if entry = trim(entry); len(entry) == 0 {
				continue // RFC 9110, 5.6.1: empty elements of a list do not count
			}
			a, ok := parse(entry)
			if !ok {
				return client
			}
			if client = a; !t.contains(a) {
				return client
			}
		}
	}
	return client
}

// trim cuts the white space that may stand around an element of a list.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
