//go:build !linux

package router

// turn does not exist here: nobody tells an idle connection of its client's end but
// a reading.
type turn struct{}

func newTurn(*clientConn) *turn { return nil }

func (*turn) wait() (readiness, error) { panic("BUG: there are no turns here") }

func (*turn) Read([]byte) (int, error) { panic("BUG: there are no turns here") }

func (*turn) write([]byte) (int, error) { panic("BUG: there are no turns here") }
