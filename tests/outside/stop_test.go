//go:build unix

package outside

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Another process may have a copy of the socket, as each has that is being started.
func TestStopWithACopy(t *testing.T) {
	l, err := Listen()
	require.NoError(t, err)
	copied, err := l.File()
	require.NoError(t, err)
	defer func() { _ = copied.Close() }()
	Stop(l)
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err)
	again, err := net.Listen("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
