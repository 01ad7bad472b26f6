package backends

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scriptedDNS answers what it was told last.
type scriptedDNS struct {
	asked  atomic.Int32
	answer atomic.Pointer[string] // addresses, or "!text" for an error
	delay  atomic.Int64
}

func newDNS(answer string) *scriptedDNS {
	s := &scriptedDNS{}
	s.answer.Store(&answer)
	return s
}

func (s *scriptedDNS) set(answer string) { s.answer.Store(&answer) }

func (s *scriptedDNS) lookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	s.asked.Add(1)
	if wait := time.Duration(s.delay.Load()); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	answer := *s.answer.Load()
	if text, bad := strings.CutPrefix(answer, "!"); bad {
		return nil, errors.New(text)
	}
	return parseAddrs(answer), nil
}

func parseAddrs(text string) (addrs []netip.Addr) {
	for word := range strings.FieldsSeq(text) {
		addrs = append(addrs, netip.MustParseAddr(word))
	}
	return addrs
}

func formatAddrs(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, addr := range addrs {
		words[i] = addr.String()
	}
	return strings.Join(words, " ")
}

func addrsOf(t *testing.T, r *Resolver) string {
	t.Helper()
	addrs, err := r.Addrs(t.Context())
	require.NoError(t, err)
	return formatAddrs(addrs)
}

func TestResolverOrder(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		assert.Equal(t, want, formatAddrs(usable(parseAddrs(answer))))
	}
	f("", "")
	f("10.0.0.2 10.0.0.1", "10.0.0.2 10.0.0.1")
	f("2001:db8::1 2001:db8::2 10.0.0.1 10.0.0.2 10.0.0.3", "2001:db8::1 10.0.0.1 2001:db8::2 10.0.0.2 10.0.0.3")
	f("10.0.0.1 2001:db8::1", "10.0.0.1 2001:db8::1")
	f("10.0.0.1 ::ffff:10.0.0.1 10.0.0.1", "10.0.0.1")
	f("0.0.0.0 :: 224.0.0.1 ff02::1", "")

	var many []netip.Addr
	for addr := netip.MustParseAddr("10.0.0.1"); len(many) < 1000; addr = addr.Next() {
		many = append(many, addr)
	}
	assert.Equal(t, many[:maxAddresses], usable(many))
}

func TestResolverLiteral(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		dns := newDNS("10.9.9.9")
		r := NewResolver(host, dns.lookup) // a goroutine would be found by goleak if Close did not end it
		assert.Equal(t, want, addrsOf(t, r))
		assert.NoError(t, r.Err())
		r.Close()
		r.Close()
		assert.Zero(t, dns.asked.Load())
	}
	f("127.0.0.1", "127.0.0.1")
	f("::1", "::1")
	f("fe80::1%eth0", "fe80::1%eth0")
}

func TestResolverFollowsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newDNS("10.0.0.1")
		r := NewResolver("h", dns.lookup)
		defer r.Close()
		require.Equal(t, "10.0.0.1", addrsOf(t, r))
		synctest.Wait()
		dns.set("10.0.0.2 10.0.0.3")
		time.Sleep(refreshEvery - refreshJitter - 1)
		assert.Equal(t, "10.0.0.1", addrsOf(t, r))
		time.Sleep(2*refreshJitter + 1)
		assert.Equal(t, "10.0.0.2 10.0.0.3", addrsOf(t, r))
		assert.NoError(t, r.Err())

		// Even a server as slow as it may be stays below the promised 30 s.
		dns.delay.Store(int64(lookupTimeout - 1))
		dns.set("10.0.0.4")
		time.Sleep(30 * time.Second)
		assert.Equal(t, "10.0.0.4", addrsOf(t, r))
	})
}

func TestResolverKeepsLastGood(t *testing.T) {
	f := func(answer, wantErr string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			dns := newDNS("10.0.0.1")
			r := NewResolver("h", dns.lookup)
			defer r.Close()
			require.Equal(t, "10.0.0.1", addrsOf(t, r))
			dns.set(answer)
			time.Sleep(24 * time.Hour)
			assert.Equal(t, "10.0.0.1", addrsOf(t, r))
			assert.ErrorContains(t, r.Err(), `cannot look up "h": `+wantErr)
			dns.set("10.0.0.2")
			time.Sleep(refreshEvery + refreshJitter)
			assert.Equal(t, "10.0.0.2", addrsOf(t, r))
			assert.NoError(t, r.Err())
		})
	}
	f("!no such host", "no such host")
	f("", "the answer has no usable address")
	f("0.0.0.0", "the answer has no usable address")
}

func TestResolverBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newDNS("!server misbehaving")
		r := NewResolver("h", dns.lookup)
		defer r.Close()
		f := func(after time.Duration, want int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			assert.Equal(t, want, dns.asked.Load())
		}
		f(0, 1)
		f(time.Second, 2)
		f(2*time.Second, 3)
		f(4*time.Second, 4)
		f(8*time.Second, 5)
		f(refreshEvery, 6)

		// No list yet: requests hear of the failure at once.
		begin := time.Now()
		_, err := r.Addrs(t.Context())
		assert.ErrorContains(t, err, "server misbehaving")
		assert.Zero(t, time.Since(begin))
	})
}

func TestResolverFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newDNS("10.0.0.1")
		dns.delay.Store(int64(3 * time.Second))
		r := NewResolver("h", dns.lookup)
		defer r.Close()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Addrs(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, "10.0.0.1", addrsOf(t, r))
		assert.Equal(t, 3*time.Second, time.Since(begin))
	})
}

func TestResolverCloseBreaksLookupOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newDNS("10.0.0.1")
		dns.delay.Store(int64(time.Hour))
		r := NewResolver("h", dns.lookup)
		synctest.Wait()
		begin := time.Now()
		r.Close()
		assert.Zero(t, time.Since(begin))
		_, err := r.Addrs(t.Context())
		assert.ErrorIs(t, err, context.Canceled)
	})
}

func TestResolverDoesNotAllocate(t *testing.T) {
	r := NewResolver("h", newDNS("10.0.0.1 10.0.0.2").lookup)
	defer r.Close()
	ctx := t.Context()
	require.Equal(t, "10.0.0.1 10.0.0.2", addrsOf(t, r))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = r.Addrs(ctx) }))
}
