package pressure

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
)

// In a root without /proc nobody knows how many are open, and that is no pressure.
func TestDescriptorsWithoutProc(t *testing.T) {
	_, known := descriptorsIn(filepath.Join(t.TempDir(), "none"))
	assert.False(t, known)
	u, known := descriptorsIn(fds)
	assert.True(t, known)
	assert.Positive(t, u.Used)
	assert.Less(t, u.Used, u.Limit)
}
