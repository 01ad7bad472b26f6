// Command fakellm runs the scripted faulty backend as a process of its own, for
// clients in other languages. It prints its two addresses as one JSON line and
// runs until interrupted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/helixflow/helixflow/tests/fakellm"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of the backend")
	control := flag.String("control", "127.0.0.1:0", "address of the control port")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *control); err != nil {
		fmt.Fprintln(os.Stderr, "fakellm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, control string) error {
	s, err := fakellm.Start(fakellm.Options{Addr: listen})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", control)
	if err != nil {
		return fmt.Errorf("cannot listen for control: %w", err)
	}
	web := &http.Server{Handler: s.Control(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = web.Close() }) // Serve returns the reason
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{"addr": s.Addr(), "control": l.Addr().String()})
	if err != nil {
		return fmt.Errorf("cannot print the addresses: %w", err)
	}
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve control: %w", err)
	}
	return nil
}
