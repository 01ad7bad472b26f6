package handover

// Errors that a caller may want to tell apart.

import "errors"

// ErrNobody says that no process offers its listeners on that path: open your own.
var ErrNobody = errors.New("no process offers its listeners there")

// ErrInUse says that another process offers its listeners on that path.
var ErrInUse = errors.New("another process offers its listeners there")
