package outside

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddressIsFree(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		a, err := Address()
		require.NoError(t, err)
		l, err := net.Listen("tcp", a)
		require.NoError(t, err)
		defer func() { _ = l.Close() }() // held, so that no address comes twice
		assert.False(t, seen[a])
		seen[a] = true
	}
}

func TestOutput(t *testing.T) {
	var o Output
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = o.Write([]byte("a"))
	}()
	_ = o.String()
	<-done
	_, _ = o.Write([]byte("b"))
	assert.Equal(t, "ab", o.String())
}
