package main

// Where the listeners come from: systemd, the process before this one, or the
// addresses of the configuration.

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/handover"
)

// The listeners' names, between processes and in FileDescriptorName=.
const (
	clientsName = "clients"
	adminName   = "admin"
)

const takeWithin = 10 * time.Second // for each word of the old process

// sockets are the listeners of a serving process.
type sockets struct {
	clients *net.TCPListener
	admin   net.Listener
	taken   *handover.Taken // nil unless they are another process's until committed
}

// openSockets takes the listeners from systemd, if it started this process with
// any, else from the process behind server.handover, if takeover says so and
// there is one, and opens those that are missing.
func openSockets(s configs.Server, takeover bool, log *slog.Logger) (*sockets, error) {
	given, err := handover.Activated(clientsName, adminName)
	if err != nil {
		return nil, err
	}
	var taken *handover.Taken
	if takeover && len(given) == 0 {
		if s.Handover == "" {
			return nil, &usageError{"--takeover needs server.handover in the configuration"}
		}
		switch taken, err = handover.Take(s.Handover, takeWithin); {
		case errors.Is(err, handover.ErrNobody):
			log.Info("nobody to take over from; opening the listeners", "handover", s.Handover)
		case err != nil:
			return nil, err
		default:
			given = fitting(taken.Listeners, map[string]string{clientsName: s.Listen, adminName: s.Admin})
		}
	}
	o := &sockets{taken: taken}
	if err := o.complete(given, s); err != nil {
		o.abort()
		return nil, err
	}
	return o, nil
}

// fitting keeps the listeners that are where the configuration wants them, and
// closes this process's share of the others.
func fitting(listeners map[string]net.Listener, addresses map[string]string) map[string]net.Listener {
	for name, l := range listeners {
		if address, ok := addresses[name]; !ok || !handover.Fits(l, address) {
			_ = l.Close()
			delete(listeners, name)
		}
	}
	return listeners
}

func (o *sockets) complete(given map[string]net.Listener, s configs.Server) (err error) {
	clients := given[clientsName]
	if clients == nil {
		if clients, err = net.Listen("tcp", s.Listen); err != nil {
			return fmt.Errorf("cannot listen for clients: %w", err)
		}
	}
	var ok bool
	if o.clients, ok = clients.(*net.TCPListener); !ok {
		return fmt.Errorf("cannot serve clients on %s: not a TCP socket", clients.Addr())
	}
	if o.admin = given[adminName]; o.admin == nil {
		if o.admin, err = net.Listen("tcp", s.Admin); err != nil {
			return fmt.Errorf("cannot listen for the admin API: %w", err)
		}
	}
	return nil
}

// commit makes the listeners this process's own, once it serves on them.
func (o *sockets) commit() error {
	if o.taken == nil {
		return nil
	}
	return o.taken.Commit()
}

// abort leaves the listeners to whoever has them, when nothing is served.
func (o *sockets) abort() {
	if o.taken != nil {
		o.taken.Abort()
	}
	if o.clients != nil {
		_ = o.clients.Close()
	}
	if o.admin != nil {
		_ = o.admin.Close()
	}
}
