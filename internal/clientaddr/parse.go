package clientaddr

// Addresses as proxies write them. netip.ParseAddr allocates, for errors too,
// and keeps every zone it has seen.

import (
	"bytes"
	"net/netip"
)

// parse reads an address, perhaps in brackets, with a port, with a zone. What no
// client can have, the unspecified and multicast addresses, is none.
func parse(b []byte) (netip.Addr, bool) {
	host, ok := cutPort(b)
	if !ok {
		return netip.Addr{}, false
	}
	var a netip.Addr
	if bytes.IndexByte(host, ':') < 0 {
		a, ok = parse4(host)
	} else {
		host, zone, zoned := bytes.Cut(host, []byte{'%'})
		a, ok = parse6(host)
		ok = ok && (!zoned || len(zone) > 0)
		a = a.Unmap()
	}
	return a, ok && !a.IsUnspecified() && !a.IsMulticast()
}

// cutPort returns what is left of b without brackets and port.
func cutPort(b []byte) (host []byte, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || bytes.IndexByte(b[:end], ':') < 0 {
			return nil, false
		}
		after := b[end+1:]
		return b[1:end], len(after) == 0 || after[0] == ':' && isPort(after[1:])
	}
	colon := bytes.IndexByte(b, ':')
	if colon < 0 || colon != bytes.LastIndexByte(b, ':') { // IPv6 with a port needs brackets
		return b, true
	}
	return b[:colon], isPort(b[colon+1:])
}

func isPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return len(b) > 0
}

// parse4 reads four decimal numbers. One with a leading zero is refused: some
// read it as octal.
func parse4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	part, digits, n := 0, 0, 0
	for _, c := range b {
		switch {
		case c == '.':
			if digits == 0 || part == 3 {
				return netip.Addr{}, false
			}
			a[part] = byte(n)
			part, digits, n = part+1, 0, 0
		case c < '0' || c > '9', digits > 0 && n == 0:
			return netip.Addr{}, false
		default:
			digits++
			if n = n*10 + int(c-'0'); n > 255 {
				return netip.Addr{}, false
			}
		}
	}
	a[part] = byte(n)
	return netip.AddrFrom4(a), part == 3 && digits > 0
}

// parse6 reads the forms of RFC 4291, section 2.2, but for zones.
func parse6(b []byte) (netip.Addr, bool) {
	var a [16]byte
	at, gap := 0, -1 // where the next group goes; where "::" stood
	if bytes.HasPrefix(b, []byte("::")) {
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		if at == len(a) {
			return netip.Addr{}, false
		}
		group, rest, more := bytes.Cut(b, []byte{':'})
		if !more && bytes.IndexByte(group, '.') >= 0 {
			v4, ok := parse4(group)
			if !ok || at > len(a)-4 {
				return netip.Addr{}, false
			}
			tail := v4.As4()
			at += copy(a[at:], tail[:])
			break
		}
		n, ok := hex(group)
		if !ok || more && len(rest) == 0 { // a single colon at the end
			return netip.Addr{}, false
		}
		a[at], a[at+1] = byte(n>>8), byte(n)
		at += 2
		if b = rest; len(b) > 0 && b[0] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap, b = at, b[1:]
		}
	}
	if gap < 0 {
		return netip.AddrFrom16(a), at == len(a)
	}
	if at == len(a) { // nothing is left out
		return netip.Addr{}, false
	}
	tail := len(a) - (at - gap)
	copy(a[tail:], a[gap:at])
	clear(a[gap:tail])
	return netip.AddrFrom16(a), true
}

// hex reads one to four hexadecimal digits.
func hex(b []byte) (n int, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		n = n<<4 | int(c)
	}
	return n, 0 < len(b) && len(b) <= 4
}
