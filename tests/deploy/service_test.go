//go:build integration && linux

package deploy

// A service as small as can be, on internal/handover: what the binary's serve
// does with systemd, shown apart from it. It is this test binary again.

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/helixflow/helixflow/internal/handover"
)

const roleVariable = "DEPLOY_TEST_ROLE"

func playService() int {
	if err := service(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func service() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	manager, err := handover.NewNotifier()
	if err != nil {
		return err
	}
	listeners, err := handover.Activated("clients", "admin")
	if err != nil {
		return err
	}
	// As the router does: clients without a key are refused, health is told.
	for name, code := range map[string]int{"clients": http.StatusUnauthorized, "admin": http.StatusOK} {
		l := listeners[name]
		if l == nil {
			if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				return err
			}
		}
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		}()
	}
	if err := manager.Ready("serving"); err != nil {
		return err
	}
	go manager.Watch(ctx, func() bool { return true })
	for {
		select {
		case <-reload:
			if err := manager.Reloading(); err != nil {
				return err
			}
			if err := manager.Ready("reloaded"); err != nil {
				return err
			}
		case <-ctx.Done():
			return manager.Stopping("draining")
		}
	}
}
