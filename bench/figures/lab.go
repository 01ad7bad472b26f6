package main

// What is measured: processes on loopback.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// target is a proxy that runs.
type target struct {
	url, key string
	pid      int
	log      string // the file of what it complains about
}

// lab holds the processes.
type lab struct {
	dir, helixflow string
	engines        []string // addresses
	started        map[string]*target
	commands       []*exec.Cmd
}

// patience is how long a process may take to serve.
const patience = 10 * time.Second

// backends is how many engines HelixFlow balances over where it does.
const backends = 4

// begin starts the engines.
func (l *lab) begin(ctx context.Context) error {
	for range backends {
		address, err := freePort()
		if err != nil {
			return err
		}
		l.engines = append(l.engines, address)
	}
	return l.part(ctx, "engine", strings.Join(l.engines, ","), new(target), l.engines[0])
}

// get returns the target of this name, and starts it if it does not run. A nil
// target is one that is not installed here.
func (l *lab) get(ctx context.Context, name string) (*target, error) {
	if t, known := l.started[name]; known {
		return t, nil
	}
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	t := &target{url: "http://" + address + "/v1"}
	switch name {
	case "bare", "reverse":
		err = l.part(ctx, name, address, t, address)
	case "nginx":
		err = l.foreign(ctx, t, address, nginxConfig, name, "-p", l.dir, "-c")
	case "haproxy":
		err = l.foreign(ctx, t, address, haproxyConfig, name, "-db", "-f")
	default:
		err = l.router(ctx, t, name)
	}
	if errors.Is(err, errAbsent) {
		t, err = nil, nil
	}
	if err != nil {
		said, _ := os.ReadFile(t.log)
		return nil, fmt.Errorf("cannot start %s: %w\n%s", name, err, said)
	}
	l.started[name] = t
	return t, nil
}

// part starts this program as one of its parts.
func (l *lab) part(ctx context.Context, name, address string, t *target, ready string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	return l.start(ctx, t, exec.Command(self, "part", name, address, l.engines[0]), ready)
}

var errAbsent = errors.New("not installed")

// foreign starts a proxy that may be installed.
func (l *lab) foreign(ctx context.Context, t *target, address, config, name string, args ...string) error {
	program := installed(name)
	if program == "" {
		return errAbsent
	}
	file := filepath.Join(l.dir, name+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, l.dir, address, l.engines[0]), 0o600); err != nil {
		return fmt.Errorf("cannot write its configuration: %w", err)
	}
	return l.start(ctx, t, exec.Command(program, append(args, file)...), address)
}

// router starts HelixFlow with the configuration of this name.
func (l *lab) router(ctx context.Context, t *target, name string) error {
	text, ok := routers[name]
	if !ok {
		return errors.New("there is no such target")
	}
	urls := make([]string, len(l.engines))
	for i, e := range l.engines {
		urls[i] = `{url: "http://` + e + `"}`
	}
	text = strings.NewReplacer("ONE", urls[0], "ALL", strings.Join(urls, ", "), "DIR", l.dir).Replace(text)
	file := filepath.Join(l.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write its configuration: %w", err)
	}
	cmd := exec.Command(l.helixflow, "serve", "-c", file)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot read what it says: %w", err)
	}
	if err := l.run(t, cmd); err != nil {
		return err
	}
	said := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "HelixFlow serves "); ok {
				t.url = url
			}
			if at := strings.Index(lines.Text(), "sk-hfx_"); at >= 0 { // it comes last
				t.key, _, _ = strings.Cut(lines.Text()[at:], " ")
				said <- true
				return
			}
		}
		said <- false
	}()
	select {
	case ok := <-said:
		if !ok {
			return errors.New("it ended at once")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return errors.New("it does not serve")
	}
}

// start runs cmd until it accepts connections at address.
func (l *lab) start(ctx context.Context, t *target, cmd *exec.Cmd, address string) error {
	if err := l.run(t, cmd); err != nil {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if nc, err := net.Dial("tcp", address); err == nil {
			return nc.Close()
		}
	}
	return errors.New("it does not serve")
}

func (l *lab) run(t *target, cmd *exec.Cmd) error {
	log, err := os.CreateTemp(l.dir, "stderr")
	if err != nil {
		return fmt.Errorf("cannot make its log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr, t.log = log, log.Name()
	if err := cmd.Start(); err != nil {
		return err
	}
	t.pid = cmd.Process.Pid
	l.commands = append(l.commands, cmd)
	return nil
}

// stop ends all processes.
func (l *lab) stop() {
	var all sync.WaitGroup
	for _, cmd := range l.commands {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		killed := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		all.Go(func() {
			_ = cmd.Wait()
			killed.Stop()
		})
	}
	all.Wait()
}

// freePort returns an address of loopback that nobody listens on, below the ports that
// systems take for outgoing connections: of those one may be gone before it is used.
func freePort() (string, error) {
	var last error
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().String(), nil
		}
		last = err
	}
	return "", fmt.Errorf("cannot find a free port: %w", last)
}
