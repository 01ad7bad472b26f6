//go:build unix

package testredis

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Slots is how many hash slots a cluster has.
const Slots = 16384

// StartCluster runs a cluster of n nodes until the test ends. Each has one n-th of
// the slots, in order, and no replica; when one is away, the others serve theirs.
func StartCluster(t testing.TB, n int, args ...string) []*Server {
	t.Helper()
	nodes, buses := make([]*Server, n), make([]string, n)
	for i := range nodes {
		_, buses[i], _ = net.SplitHostPort(freeAddress(t))
		nodes[i] = Start(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", buses[i], "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no",
		}, args...)...)
	}
	for i, s := range nodes {
		from, to := Slots*i/n, Slots*(i+1)/n-1
		require.Equal(t, "+OK", s.Command(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)))
		require.Equal(t, "+OK", s.Command(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)))
		_, port, _ := net.SplitHostPort(s.Address)
		require.Equal(t, "+OK", nodes[0].Command(t, "CLUSTER", "MEET", "127.0.0.1", port, buses[i]))
	}
	for _, s := range nodes {
		require.Eventually(t, func() bool {
			info := s.command(t, []string{"CLUSTER", "INFO"})[0]
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) &&
				strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", Slots))
		}, 30*time.Second, 20*time.Millisecond, "the nodes do not find each other")
	}
	return nodes
}

// Move hands a slot without keys from one node to another, in two steps: after
// begin the first one redirects requests for it, after end it belongs to the other.
func Move(t testing.TB, slot int, from, to *Server) (begin, end func()) {
	t.Helper()
	id := func(s *Server) string {
		_, rest, _ := strings.Cut(s.command(t, []string{"CLUSTER", "MYID"})[0], "\r\n")
		return strings.TrimSpace(rest)
	}
	set := func(s *Server, what string, node *Server) {
		require.Equal(t, "+OK", s.Command(t, "CLUSTER", "SETSLOT", strconv.Itoa(slot), what, id(node)))
	}
	return func() {
			set(to, "IMPORTING", from)
			set(from, "MIGRATING", to)
		}, func() {
			set(to, "NODE", to)
			set(from, "NODE", to)
		}
}
