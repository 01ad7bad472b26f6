package handover

// The messages for systemd: sd_notify(3), without its library.

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	maxStatus  = 512 // bytes of STATUS=
	notifyWait = time.Second
)

// Notifier sends the service manager what it wants to hear. Without a manager
// (NOTIFY_SOCKET is not set), and as nil, it does nothing. Immutable, safe for
// concurrent use. Its errors are worth a line in a log, never a stop.
type Notifier struct {
	socket   string        // "" for nobody; "@…" is Linux' abstract namespace
	watchdog time.Duration // 0 for none
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the
// environment.
func NewNotifier() (*Notifier, error) {
	n := &Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	if n.socket == "" {
		return n, nil
	}
	if n.socket[0] != '/' && n.socket[0] != '@' {
		return nil, fmt.Errorf("cannot use NOTIFY_SOCKET %q: it is neither a path nor an abstract socket", n.socket)
	}
	usec, pid := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil // none, or meant for the process that started this one
	}
	v, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || v <= 0 || v > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return nil, fmt.Errorf("cannot use WATCHDOG_USEC %q: not a number of microseconds", usec)
	}
	n.watchdog = time.Duration(v) * time.Microsecond
	return n, nil
}

// Ready says that the service serves, for the first time or again after
// Reloading.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS=" + oneLine(status))
}

// Reloading says that the configuration is being read again; Ready ends it,
// whether the new one was taken or not.
func (n *Notifier) Reloading() error {
	state := "RELOADING=1"
	if usec, ok := monotonic(); ok {
		state += "\nMONOTONIC_USEC=" + strconv.FormatInt(usec, 10)
	}
	return n.send(state)
}

// Stopping says that the service drains and will end.
func (n *Notifier) Stopping(status string) error {
	return n.send("STOPPING=1\nSTATUS=" + oneLine(status))
}

// Status is one line for people, shown by systemctl status.
func (n *Notifier) Status(status string) error { return n.send("STATUS=" + oneLine(status)) }

// Watch tells the manager's watchdog, twice in its period, that the service
// lives, for as long as alive says so, until ctx ends. Without a watchdog it
// returns at once.
func (n *Notifier) Watch(ctx context.Context, alive func() bool) {
	if n == nil || n.watchdog == 0 {
		return
	}
	tick := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		if alive() {
			_ = n.send("WATCHDOG=1") // the next one may get through
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Notifier) send(state string) error {
	if n == nil || n.socket == "" {
		return nil
	}
	// A connection for each message: the manager may have been restarted.
	c, err := net.DialTimeout("unixgram", n.socket, notifyWait)
	if err != nil {
		return fmt.Errorf("cannot notify the service manager: %w", err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetWriteDeadline(time.Now().Add(notifyWait)) // or its full queue stops the service
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("cannot notify the service manager: %w", err)
	}
	return nil
}

// oneLine keeps a text from being read as more assignments.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}
