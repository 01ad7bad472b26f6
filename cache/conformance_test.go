package cache_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/cache/cachetest"
)

func TestMemoryConforms(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cachetest.Store {
		m, err := cache.NewMemory(64 << 20)
		require.NoError(t, err)
		t.Cleanup(m.Close)
		return m
	})
}
