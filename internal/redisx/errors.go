package redisx

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Kind is what went wrong with an operation.
type Kind uint8

// The kinds.
const (
	Unreachable Kind = iota // no connection, or one that broke
	TimedOut
	Denied      // a wrong password, or no right to do this
	OutOfMemory // writes are refused
	Unready     // loading, read-only, down for its cluster: it says so itself
	Garbled     // an answer that makes no sense
	Refused     // any other error that it answers
	Skipped     // not tried: the breaker is open
	Cancelled   // whoever asked has left
	numKinds
)

var kindNames = [numKinds]string{
	"unreachable", "timeout", "denied", "out_of_memory", "unready", "garbled", "refused", "skipped", "cancelled",
}

// String is the kind as metrics write it.
func (k Kind) String() string { return kindNames[k] }

// Error is why an operation failed. It never holds a credential.
type Error struct {
	Kind    Kind
	address string
	detail  string
}

// Error says it to an operator.
func (e *Error) Error() string {
	s := "cannot use redis at " + e.address + ": " + kindTexts[e.Kind]
	if e.detail != "" {
		s += " (" + e.detail + ")"
	}
	return s
}

var kindTexts = [numKinds]string{
	Unreachable: "it cannot be reached",
	TimedOut:    "it did not answer in time",
	Denied:      "it does not accept the user or password, or does not let the user do this",
	OutOfMemory: "it is out of memory and refuses to write",
	Unready:     "it says it is not ready",
	Garbled:     "its answer makes no sense",
	Refused:     "it answered with an error",
	Skipped:     "it failed a moment ago and is left alone for a while",
	Cancelled:   "whoever asked has left",
}

var errGarbled = errors.New("garbled")

// codes are the first words of the errors that Redis answers.
var codes = map[string]Kind{
	"NOAUTH": Denied, "WRONGPASS": Denied, "NOPERM": Denied,
	"OOM":     OutOfMemory,
	"LOADING": Unready, "READONLY": Unready, "MASTERDOWN": Unready, "CLUSTERDOWN": Unready, "TRYAGAIN": Unready,
	"BUSY": Unready, "MISCONF": Unready, "NOREPLICAS": Unready, "MOVED": Unready, "ASK": Unready,
}

func kindOf(err error) Kind {
	var answered redis.Error
	var network net.Error
	switch {
	case errors.Is(err, errGarbled):
		return Garbled
	case errors.As(err, &answered):
		code, _, _ := strings.Cut(answered.Error(), " ")
		if k, ok := codes[code]; ok {
			return k
		}
		if strings.HasPrefix(answered.Error(), "ERR AUTH") || strings.HasPrefix(answered.Error(), "ERR invalid password") {
			return Denied
		}
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &network) && network.Timeout():
		return TimedOut
	case strings.HasPrefix(err.Error(), "redis: "): // of what the library cannot read
		return Garbled
	default:
		return Unreachable
	}
}

// mostDetail bounds what is repeated of somebody else's text.
const mostDetail = 160

// detailOf is what the network or Redis said, fit for a log: short, on one line,
// printable.
func detailOf(err error) string {
	if errors.Is(err, errGarbled) || errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, err.Error())
	return s[:min(len(s), mostDetail)]
}
