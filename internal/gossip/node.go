package gossip

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/helixflow/helixflow/internal/secret"
)

// MaxPacket is how long a packet can be: what one datagram holds beside
// memberlist's own.
const MaxPacket = 1200

const (
	rejoinEvery = 15 * time.Second // to look for peers that are not there
	leaveWithin = time.Second
	missedFor   = time.Hour // where nobody has said how many there are, who was there may be there still
)

// Options say who a node is and whom it looks for.
type Options struct {
	Listen    string      // host:port, TCP and UDP; an empty host is every address
	Advertise string      // host:port at which others reach it; empty: found out
	Peers     []string    // host:port of some others, or of all; a name stands for all its addresses
	Routers   int         // how many members there should be; 0: nobody has said, and those that were there count for an hour
	Secret    secret.Text // the same everywhere
	Receive   func(packet []byte)
	Alone     func(alone bool) // whether there should be others, and none is; told of each change, must not wait
	Log       *slog.Logger
}

// Counts are a node's totals. A plain value.
type Counts struct {
	Members        int // with this one
	Sent, Received uint64
	Failed         uint64 // packets that could not be sent to a member
}

// Node is one replica among the others.
type Node struct {
	list    *memberlist.Memberlist
	self    string
	options Options

	sent, received, failed atomic.Uint64

	mu      sync.Mutex // guards the fields below, and calls of Alone
	others  int        // members but this one
	lacking bool       // some peer is no member
	last    time.Time  // when there were others; zero: never

	stop    context.CancelFunc
	stopped sync.WaitGroup
	closed  sync.Once
}

// Start begins to listen and to look for the peers, for as long as the node lives:
// that none of them is there is no error. Close ends it.
func Start(o Options) (*Node, error) {
	n := &Node{options: o, self: newName()}
	c, err := n.config()
	if err != nil {
		return nil, fmt.Errorf("cannot join the cluster: %w", err)
	}
	if n.list, err = memberlist.Create(c); err != nil {
		return nil, fmt.Errorf("cannot join the cluster: cannot listen on %s: %w", o.Listen, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.stopped.Go(func() { n.keepJoining(ctx) })
	return n, nil
}

func (n *Node) config() (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	host, port, err := splitAddress(n.options.Listen)
	if err != nil {
		return nil, err
	}
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = n.self, host, port, port
	if host == "" {
		c.BindAddr = "0.0.0.0"
	}
	if n.options.Advertise != "" {
		if c.AdvertiseAddr, c.AdvertisePort, err = splitAddress(n.options.Advertise); err != nil {
			return nil, err
		}
		ips, err := net.LookupIP(c.AdvertiseAddr)
		if err != nil {
			return nil, err
		}
		c.AdvertiseAddr = ips[0].String()
	}
	key := sha256.Sum256([]byte("helixflow cluster\x00" + n.options.Secret.Reveal()))
	c.SecretKey = key[:]
	c.Delegate = receiver{n}
	c.Events = watcher{n}
	c.LogOutput = io.Discard // it would tell of every lost datagram; what matters comes as an event
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = 1, 1, 1
	return c, nil
}

// splitAddress parses host:port; the host may be empty, or a name.
func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, port, nil
}

// newName is a name that no other node has, nor this one after a restart: so that
// nobody mistakes it for a member that has just been found dead.
func newName() string {
	host, _ := os.Hostname()
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return host + "-" + hex.EncodeToString(b[:])
}

// keepJoining looks for peers that are not members. memberlist joins once and
// forgets who has been gone for long; addresses behind a name change.
func (n *Node) keepJoining(ctx context.Context) {
	told := false
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = rejoinEvery
		missing := n.missing()
		n.changed(func() { n.lacking = len(missing) > 0 })
		if len(missing) > 0 {
			if _, err := n.list.Join(missing); err != nil && !told && ctx.Err() == nil {
				n.options.Log.Warn("peers of the cluster are not there; looking for them on", "peers", strings.Join(missing, ","))
				told = true
				continue
			}
		}
		told = false
	}
}

// missing is the peers of which no address is a member's.
func (n *Node) missing() (missing []string) {
	members := make(map[string]bool)
	for _, m := range n.list.Members() {
		members[m.Address()] = true
	}
	for _, peer := range n.options.Peers {
		host, port, err := net.SplitHostPort(peer)
		if err != nil {
			continue
		}
		addresses, _ := net.LookupHost(host)
		for _, a := range addresses {
			if address := net.JoinHostPort(a, port); !members[address] {
				missing = append(missing, address)
			}
		}
	}
	return missing
}

// Send sends the packet once to each other member. It may be lost. It waits for no
// answer, and for the network only as long as the kernel's buffers are full.
func (n *Node) Send(packet []byte) {
	for _, m := range n.list.Members() {
		if m.Name == n.self {
			continue
		}
		if err := n.list.SendBestEffort(m, packet); err != nil {
			n.failed.Add(1)
			continue
		}
		n.sent.Add(1)
	}
}

// Counts returns the node's totals.
func (n *Node) Counts() Counts {
	return Counts{Members: n.list.NumMembers(), Sent: n.sent.Load(), Received: n.received.Load(), Failed: n.failed.Load()}
}

// Address is where others reach the node.
func (n *Node) Address() string { return n.list.LocalNode().Address() }

// Close tells the others, who need not find out then, and ends all; a second time
// it does nothing, nor of nil.
func (n *Node) Close() {
	if n != nil {
		n.closed.Do(n.leave)
	}
}

func (n *Node) leave() {
	n.stop()
	n.stopped.Wait()
	_ = n.list.Leave(leaveWithin)
	_ = n.list.Shutdown()
}

// receiver is the node as memberlist tells it of packets.
type receiver struct{ n *Node }

func (r receiver) NotifyMsg(packet []byte) {
	r.n.received.Add(1)
	r.n.options.Receive(packet)
}
func (receiver) NodeMeta(int) []byte             { return nil }
func (receiver) GetBroadcasts(int, int) [][]byte { return nil }
func (receiver) LocalState(bool) []byte          { return nil }
func (receiver) MergeRemoteState([]byte, bool)   {}

// changed notes a change, and tells whether the node is alone now.
func (n *Node) changed(note func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	note()
	if n.options.Alone != nil {
		n.options.Alone(n.others == 0 && (n.lacking || n.expected(time.Now())))
	}
}

// expected reports whether there should be other members, as far as that was said
// or seen: who is not heard of any more may still serve, behind a network that is
// cut. The lock is held.
func (n *Node) expected(now time.Time) bool {
	if n.options.Routers > 0 {
		return n.options.Routers > 1
	}
	return !n.last.IsZero() && now.Sub(n.last) < missedFor
}

// watcher logs and counts who comes and goes.
type watcher struct{ n *Node }

func (w watcher) NotifyJoin(m *memberlist.Node)   { w.tell(m, 1, "a replica joined the cluster") }
func (w watcher) NotifyLeave(m *memberlist.Node)  { w.tell(m, -1, "a replica left the cluster") }
func (w watcher) NotifyUpdate(m *memberlist.Node) {}
func (w watcher) tell(m *memberlist.Node, change int, what string) {
	if m.Name != w.n.self {
		w.n.changed(func() {
			w.n.others += change
			w.n.last = time.Now()
		})
		w.n.options.Log.Info(what, "member", m.Name, "address", m.Address())
	}
}
