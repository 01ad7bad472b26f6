package backends

// Discovery by a DNS that tells the truth, nothing, too much or nonsense. The
// clock is a bubble's.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow/balancer"
)

// nameServer answers as it is told.
type nameServer struct {
	mu       sync.Mutex // guards the fields below
	addrs    string     // several, with spaces
	services []*net.SRV
	err      error
	asked    int
	hangs    bool
}

func (n *nameServer) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *nameServer) lookups() Lookups {
	return Lookups{
		Addresses: func(ctx context.Context, _ string) (list []netip.Addr, err error) {
			n.mu.Lock()
			hangs := n.hangs
			n.asked++
			for a := range strings.FieldsSeq(n.addrs) {
				addr, _ := netip.ParseAddr(a) // the zero Addr where it is none
				list = append(list, addr)
			}
			err = n.err
			n.mu.Unlock()
			if hangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return list, err
		},
		Services: func(context.Context, string) ([]*net.SRV, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.services, n.err
		},
	}
}

func found(list []Found) string {
	var words []string
	for _, f := range list {
		words = append(words, fmt.Sprintf("%s*%d", f.URL, f.Weight))
	}
	return strings.Join(words, " ")
}

func discover(t *testing.T, name DNSName, f func(n *nameServer, d *Discovery, changes *int)) {
	synctest.Test(t, func(*testing.T) {
		n, changes := &nameServer{}, 0
		var mu sync.Mutex
		n.set(func() { n.addrs = "10.0.0.1" })
		d := Discover(name, n.lookups(), func() { mu.Lock(); changes++; mu.Unlock() })
		defer d.Close()
		synctest.Wait()
		f(n, d, &changes)
	})
}

func TestDiscoverAddresses(t *testing.T) {
	name := DNSName{Name: "gpus.example.com", Port: 8000, Scheme: "http", Path: "/base", Every: 10 * time.Second}
	discover(t, name, func(n *nameServer, d *Discovery, changes *int) {
		<-d.First()
		const one = "http://10.0.0.1:8000/base*1"
		assert.Equal(t, one, found(d.Status().List))
		assert.Equal(t, 1, *changes)
		f := func(addrs string, answers int, want, problem string) {
			t.Helper()
			n.set(func() { n.addrs = addrs })
			for range answers {
				time.Sleep(11 * time.Second)
			}
			synctest.Wait()
			s := d.Status()
			assert.Equal(t, want, found(s.List))
			if problem == "" {
				assert.NoError(t, s.Err)
			} else {
				assert.ErrorContains(t, s.Err, problem)
			}
		}
		f("10.0.0.2 10.0.0.1 ::ffff:10.0.0.2", 1, one+" http://10.0.0.2:8000/base*1", "")
		assert.Equal(t, 2, *changes)
		// The order of an answer is no news.
		f("10.0.0.1 10.0.0.2", 3, one+" http://10.0.0.2:8000/base*1", "")
		assert.Equal(t, 2, *changes)
		// One that is left out now and then stays.
		f("10.0.0.1", 1, one+" http://10.0.0.2:8000/base*1", "")
		f("10.0.0.2", 1, one+" http://10.0.0.2:8000/base*1", "")
		f("10.0.0.1", 1, one+" http://10.0.0.2:8000/base*1", "")
		assert.Equal(t, 2, *changes)
		f("10.0.0.1", 4, one, "")
		// Nothing, or nothing of use, is no answer.
		f("", 5, one, "cannot find backends by the name gpus.example.com: the answer has no usable backend")
		f("0.0.0.0 224.0.0.1 :: nonsense", 5, one, "no usable backend")
		assert.GreaterOrEqual(t, d.Status().Failures, uint64(9))
		n.set(func() { n.err = &net.DNSError{Err: "no such host", Name: "gpus.example.com", IsNotFound: true} })
		f("", 1, one, "no such host")
		n.set(func() { n.err = nil })
		f("fd00::1", 1, "http://10.0.0.1:8000/base*1 http://[fd00::1]:8000/base*1", "")
		n.set(func() { n.hangs = true })
		f("fd00::1", 4, "http://10.0.0.1:8000/base*1 http://[fd00::1]:8000/base*1", "deadline exceeded")
	})
}

func TestDiscoverServices(t *testing.T) {
	discover(t, DNSName{Name: "_vllm._tcp.example.com", SRV: true, Scheme: "https", Every: time.Second}, func(n *nameServer, d *Discovery, _ *int) {
		assert.Error(t, d.Status().Err)
		n.set(func() {
			n.err = errors.New("some records are malformed") // and these are not
			n.services = []*net.SRV{
				{Target: "B.example.com.", Port: 8001, Priority: 1, Weight: 60000},
				{Target: "a.example.com.", Port: 8000, Priority: 1, Weight: 5},
				{Target: "a.example.com.", Port: 8000, Priority: 1, Weight: 7},
				{Target: "10.0.0.9", Port: 8000, Priority: 1},
				{Target: ".", Port: 8000, Priority: 1},
				{Target: "evil.example.com/v1?x=", Port: 8000, Priority: 1},
				{Target: "user@evil.example.com", Port: 8000, Priority: 1},
				{Target: "none.example.com.", Port: 0, Priority: 1},
				{Target: "last.example.com.", Port: 8000, Priority: 2},
			}
		})
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, "https://10.0.0.9:8000*1 https://a.example.com:8000*5 https://b.example.com:8001*1000", found(d.Status().List))
		assert.NoError(t, d.Status().Err)
	})
}

// TestDiscoverTooMany: a flood fills the pool, and no more.
func TestDiscoverTooMany(t *testing.T) {
	discover(t, DNSName{Name: "gpus.example.com", Port: 1, Scheme: "http", Every: time.Second}, func(n *nameServer, d *Discovery, _ *int) {
		for round := range 20 {
			n.set(func() {
				n.addrs = ""
				for i := range 1000 {
					n.addrs += fmt.Sprintf("10.%d.%d.%d ", round, i/250, i%250+1)
				}
			})
			time.Sleep(1200 * time.Millisecond)
			synctest.Wait()
			assert.Len(t, d.Status().List, balancer.MaxBackends)
			assert.ErrorContains(t, d.Status().Err, "more than 256")
			assert.LessOrEqual(t, len(d.known), balancer.MaxBackends)
		}
	})
}

func TestDiscoverEnds(t *testing.T) {
	discover(t, DNSName{Name: "gpus.example.com", Port: 1, Scheme: "http", Every: time.Second}, func(n *nameServer, d *Discovery, _ *int) {
		n.set(func() { n.hangs = true })
		time.Sleep(1200 * time.Millisecond)
		began := time.Now()
		d.Close()
		assert.Zero(t, time.Since(began), "a lookup that hangs does not hold it up")
	})
}
