package admin

// What the tests see of the inside.

import (
	"maps"
	"slices"
)

// Paths are all that the server knows.
func (s *Server) Paths() []string { return slices.Sorted(maps.Keys(s.routes)) }
