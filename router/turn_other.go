//go:build !linux

package router

import "errors"

// turn does not exist here: nobody tells an idle connection of its client's end but
// a reading.
type turn struct{}

var errNotYet = errors.New("nothing has come yet")

func newTurn(*clientConn) *turn { return nil }

func (*turn) wait() (readiness, error) { panic("BUG: there are no turns here") }

func (*turn) Read([]byte) (int, error) { panic("BUG: there are no turns here") }
