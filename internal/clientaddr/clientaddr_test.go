package clientaddr

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func trusting(prefixes string) *Trusted {
	var list []netip.Prefix
	for p := range strings.FieldsSeq(prefixes) {
		list = append(list, netip.MustParsePrefix(p))
	}
	return New(list)
}

// lines splits headers at their ends.
func lines(s string) (xff [][]byte) {
	for line := range strings.SplitSeq(s, "\n") {
		xff = append(xff, []byte(line))
	}
	return xff
}

const proxies = "10.0.0.0/8 192.168.1.7/32 2001:db8:1::/48"

func TestClient(t *testing.T) {
	trusted := trusting(proxies)
	f := func(peer, xff, want string) {
		t.Helper()
		assert.Equal(t, want, trusted.Client(netip.MustParseAddr(peer), lines(xff)).String(), xff)
	}
	// A peer that is not trusted may say what it likes.
	f("203.0.113.9", "1.2.3.4", "203.0.113.9")
	f("192.168.1.8", "1.2.3.4", "192.168.1.8")
	f("2001:db8:2::1", "1.2.3.4", "2001:db8:2::1")
	f("fe80::1%eth0", "1.2.3.4", "fe80::1%eth0")

	f("10.1.2.3", "", "10.1.2.3")
	f("10.1.2.3", "1.2.3.4", "1.2.3.4")
	f("::ffff:10.1.2.3", "1.2.3.4", "1.2.3.4")
	f("192.168.1.7", "1.2.3.4", "1.2.3.4")
	f("2001:db8:1:ffff::1", "1.2.3.4", "1.2.3.4")
	f("2001:db8:1::1%eth0", "1.2.3.4", "1.2.3.4")

	// From the right, past the trusted ones; what stands left of the first that is
	// not may be invented.
	f("10.1.2.3", "6.6.6.6, 1.2.3.4", "1.2.3.4")
	f("10.1.2.3", "6.6.6.6,1.2.3.4,10.9.9.9", "1.2.3.4")
	f("10.1.2.3", "10.66.6.6, 1.2.3.4 ,\t10.9.9.9, 2001:db8:1::5", "1.2.3.4")
	f("10.1.2.3", "10.7.7.7, 10.8.8.8", "10.7.7.7")
	f("10.1.2.3", "6.6.6.6\n1.2.3.4, 10.9.9.9\n10.8.8.8", "1.2.3.4")
	f("10.1.2.3", "6.6.6.6\n\n,\n1.2.3.4", "1.2.3.4")
	f("10.1.2.3", " , ,1.2.3.4,, ", "1.2.3.4")

	// Forms.
	f("10.1.2.3", "1.2.3.4:5678", "1.2.3.4")
	f("10.1.2.3", "2001:db8::7", "2001:db8::7")
	f("10.1.2.3", "2001:DB8:0:0::7", "2001:db8::7")
	f("10.1.2.3", "[2001:db8::7]", "2001:db8::7")
	f("10.1.2.3", "[2001:db8::7]:443", "2001:db8::7")
	f("10.1.2.3", "fe80::1%eth0", "fe80::1")
	f("10.1.2.3", "[fe80::1%25]:80", "fe80::1")
	f("10.1.2.3", "::ffff:1.2.3.4", "1.2.3.4")
	f("10.1.2.3", "1.2.3.4, ::ffff:10.9.9.9, [::ffff:a09:909]:1", "1.2.3.4")
	f("10.1.2.3", "127.0.0.1", "127.0.0.1")

	// Junk ends the walk: who it was is not known.
	for _, junk := range []string{
		"unknown", "_hidden", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:x", "1.2.3.4 5",
		"[1.2.3.4]", "[::1", "[::1]x", "[::1]:", "[::1]80", "::1]", "1::2::3", ":::", ":", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::",
		"1:2:3:4:5:6:7::8", "::%", "::1%", "1.2.3.4%eth0", "::1.2.3", "::1.2.3.4:5", "\"1.2.3.4\"", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
		"1.2.3.4\x00", "for=1.2.3.4", "é", strings.Repeat("9", 60_000),
	} {
		f("10.1.2.3", "6.6.6.6, "+junk+", 10.9.9.9", "10.9.9.9")
		f("10.1.2.3", junk, "10.1.2.3")
	}

	// No walk is long.
	f("10.1.2.3", "1.2.3.4"+strings.Repeat(",10.9.9.9", maxHops-1), "1.2.3.4")
	f("10.1.2.3", "1.2.3.4"+strings.Repeat(",10.9.9.9", maxHops), "10.9.9.9")
	f("10.1.2.3", "1.2.3.4"+strings.Repeat(",10.9.9.9", 1000), "10.9.9.9")
	f("10.1.2.3", "1.2.3.4"+strings.Repeat(",", 1000), "10.1.2.3")
	f("10.1.2.3", "1.2.3.4"+strings.Repeat("\n", 1000), "10.1.2.3")
}

func TestClientTrustsNobody(t *testing.T) {
	peer := netip.MustParseAddr("10.1.2.3")
	for _, trusted := range []*Trusted{nil, {}, New(nil), New([]netip.Prefix{{}})} {
		assert.Equal(t, peer, trusted.Client(peer, lines("1.2.3.4")))
	}
	assert.False(t, trusting("0.0.0.0/0 ::/0").Client(netip.Addr{}, lines("1.2.3.4")).IsValid(), "no peer, as of a unix socket")
}

func TestTrusted(t *testing.T) {
	f := func(prefixes, addr string, want bool) {
		t.Helper()
		assert.Equal(t, want, trusting(prefixes).contains(netip.MustParseAddr(addr)), addr)
	}
	f("10.0.0.0/8", "10.0.0.0", true)
	f("10.0.0.0/8", "10.255.255.255", true)
	f("10.0.0.0/8", "9.255.255.255", false)
	f("10.0.0.0/8", "11.0.0.0", false)
	f("10.1.2.3/8", "10.200.0.1", true)
	f("0.0.0.0/0", "255.255.255.255", true)
	f("0.0.0.0/0", "::1", false)
	f("::/0", "ffff::1", true)
	f("::/0", "1.2.3.4", false)
	f("2001:db8::/33", "2001:db8:7fff:ffff::", true)
	f("2001:db8::/33", "2001:db8:8000::", false)
	f("::ffff:10.0.0.0/104", "10.9.9.9", true)
	f("::ffff:10.0.0.0/104", "11.9.9.9", false)
	// Nested, doubled, neighbouring, in any order.
	const many = "10.5.0.0/16 172.16.0.0/12 10.0.0.0/8 10.5.5.5/32 172.16.0.0/12 11.0.0.0/8 ::1/128"
	for _, a := range []string{"10.0.0.1", "10.5.5.5", "10.255.0.1", "11.1.1.1", "172.31.255.255", "::1"} {
		f(many, a, true)
	}
	for _, a := range []string{"9.9.9.9", "12.0.0.0", "172.32.0.0", "::2", "::"} {
		f(many, a, false)
	}
	assert.Len(t, trusting(many).ranges, 4)
}

// slowClient is Client by the standard library.
func slowClient(prefixes []netip.Prefix, peer netip.Addr, xff string) netip.Addr {
	trusted := func(a netip.Addr) bool {
		for _, p := range prefixes {
			if p.Contains(a.WithZone("")) {
				return true
			}
		}
		return false
	}
	client := peer.Unmap()
	entries := strings.Split(strings.ReplaceAll(xff, "\n", ","), ",")
	for hops := 0; trusted(client) && hops < maxHops && len(entries) > 0; hops++ {
		entry := strings.Trim(entries[len(entries)-1], " \t")
		entries = entries[:len(entries)-1]
		if entry == "" {
			continue
		}
		a, ok := slowParse(entry)
		if !ok {
			break
		}
		client = a
	}
	return client
}

func slowParse(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if inside, ok := strings.CutSuffix(s, "]"); ok && strings.HasPrefix(s, "[") {
		if a, err = netip.ParseAddr(inside[1:]); err != nil || !a.Is6() {
			return netip.Addr{}, false
		}
	} else if err != nil {
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			return netip.Addr{}, false
		}
		host, port := s[:i], s[i+1:]
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || len(strings.Trim(port, "0123456789")) > 0 {
			return netip.Addr{}, false
		}
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			return slowParse(host)
		}
		if a, err = netip.ParseAddr(host); err != nil || !a.Is4() {
			return netip.Addr{}, false
		}
	}
	a = a.WithZone("").Unmap()
	return a, !a.IsUnspecified() && !a.IsMulticast()
}

func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"", "1.2.3.4", "1.2.3.4:80,10.0.0.1", "[2001:db8::1]:443, 10.9.9.9\n10.1.1.1", "::ffff:1.2.3.4%x,10.1.1.1", "1:2:3:4:5:6:7::,10.0.0.1",
		"1:2:3:4:5:6:1.2.3.4", "::1.2.3.4:80", "[fe80::1%eth0]", "01.2.3.4", "1.2.3.4:00080", "[[::1]]:80", "[::1]:80:80", ",,\t ,10.0.0.9",
	} {
		f.Add("10.1.2.3", s)
		f.Add("2001:db8:1::9", s)
	}
	var prefixes []netip.Prefix
	for p := range strings.FieldsSeq(proxies) {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	trusted := New(prefixes)
	f.Fuzz(func(t *testing.T, peer, xff string) {
		from, err := netip.ParseAddr(peer)
		if err != nil {
			return
		}
		require.Equal(t, slowClient(prefixes, from, xff), trusted.Client(from, lines(xff)), "%q", xff)
		for entry := range strings.FieldsFuncSeq(xff, func(r rune) bool { return strings.ContainsRune(" \t\n,", r) }) {
			want, ok := slowParse(entry)
			got, gotOK := parse([]byte(entry))
			require.Equal(t, ok, gotOK, "%q", entry)
			if ok {
				require.Equal(t, want, got, "%q", entry)
			}
		}
	})
}

func TestClientAllocates(t *testing.T) {
	trusted, peer := trusting(proxies), netip.MustParseAddr("10.1.2.3")
	for _, s := range []string{
		"1.2.3.4", "[2001:db8::7]:443, 10.9.9.9\n10.8.8.8", "fe80::1%eth0", "junk, 10.1.1.1", strings.Repeat("10.1.1.1,", 1000), strings.Repeat("x", 1000),
	} {
		xff := lines(s)
		assert.Zero(t, testing.AllocsPerRun(100, func() { trusted.Client(peer, xff) }), s)
	}
}

func BenchmarkClient(b *testing.B) {
	f := func(name, prefixes, peer, xff string) {
		b.Run(name, func(b *testing.B) {
			trusted, from, list := trusting(prefixes), netip.MustParseAddr(peer), lines(xff)
			b.ReportAllocs()
			for b.Loop() {
				trusted.Client(from, list)
			}
		})
	}
	f("direct", proxies, "203.0.113.9", "1.2.3.4")
	f("one", proxies, "10.1.2.3", "1.2.3.4")
	f("three", proxies, "10.1.2.3", "2001:db8::7, 10.9.9.9, 10.8.8.8")
	f("thousand", proxies, "10.1.2.3", strings.Repeat("10.1.1.1,", 1000))
	many := ""
	for i := range 256 {
		many += "10." + strconv.Itoa(i) + ".0.0/17 "
	}
	f("256 prefixes", many, "10.1.2.3", "1.2.3.4")
}
