package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// settings are how much to measure.
type settings struct {
	helixflow string
	rounds    int
	each      time.Duration
	only      string
	gate      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// run is the command; as "part NAME ADDRESS ENGINE" it is one of its own parts.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 4 && args[0] == "part" {
		return serve(args[1], args[2], args[3])
	}
	var s settings
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	flags.StringVar(&s.helixflow, "helixflow", "bin/helixflow", "the built binary")
	flags.IntVar(&s.rounds, "rounds", 7, "rounds of each figure")
	flags.DurationVar(&s.each, "for", time.Second, "how long a target is asked in each round")
	flags.StringVar(&s.only, "only", "", "figures whose name holds this")
	flags.BoolVar(&s.gate, "gate", false, "fail if a promise is not kept")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || s.rounds < 1 || s.each <= 0 {
		return errors.New("usage: figures [-helixflow FILE] [-rounds N] [-for D] [-only NAME] [-gate]")
	}
	return s.measure(ctx, out)
}

// serve is a part of the measurement, in a process of its own.
func serve(part, address, engine string) error {
	switch part {
	case "engine":
		failed := make(chan error)
		for a := range strings.SplitSeq(address, ",") {
			go func() { failed <- serveEngine(a) }()
		}
		return <-failed
	case "bare":
		return serveBare(address, engine)
	case "reverse":
		return serveReverse(address, engine)
	}
	return fmt.Errorf("there is no part %q", part)
}

// measure starts everything and prints the table.
func (s *settings) measure(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return fmt.Errorf("cannot make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := &lab{dir: dir, helixflow: s.helixflow, started: map[string]*target{}}
	defer l.stop()
	if err := l.begin(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d CPUs, %s, %s; %d rounds of %v\n\n", runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, runtime.Version(), s.rounds, s.each)
	fmt.Fprintln(out, "| figure | target | CPU | ratio | spread | p50 | p99 | a second | RSS | failed | promised |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	missed := 0
	for _, f := range figures {
		if !strings.Contains(f.name, s.only) {
			continue
		}
		n, err := f.measure(ctx, l, s, out)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		missed += n
	}
	if missed > 0 && s.gate {
		return fmt.Errorf("%d promises are not kept", missed)
	}
	return nil
}

// installed returns where a program is, or "".
func installed(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
