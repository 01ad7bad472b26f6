//go:build integration

// The binary as a process: run to its end, or in the background as a router.

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/helixflow/helixflow/tests/outside"
)

// process is a router in the background.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr outside.Output
	addr, admin    string
	exited         chan struct{} // closed after code is set
	code           int
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.exited
}

func (w *world) command(ts *testscript.TestScript, env, args []string) *exec.Cmd {
	cmd := exec.Command(w.bin, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + ts.MkAbs(".")}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+dir)
	}
	for k, v := range w.vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func (w *world) helixflow(ts *testscript.TestScript, neg bool, args []string) {
	want := -1
	var env list
	args = flags(ts, args, 0, true, func(f *flag.FlagSet) {
		f.IntVar(&want, "exit", want, "")
		f.Var(&env, "env", "")
	})
	cmd := w.command(ts, env, args)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("cannot run helixflow: %v", err)
	}
	code := cmd.ProcessState.ExitCode()
	switch {
	case want >= 0 && code != want:
		ts.Fatalf("helixflow exited with %d, want %d", code, want)
	case want < 0 && neg == (code == 0):
		ts.Fatalf("helixflow exited with %d", code)
	}
}

func (w *world) router(ts *testscript.TestScript, _ bool, args []string) {
	verb, args := sub(ts, args)
	switch verb {
	case "start":
		w.routerStart(ts, args)
	case "signal":
		args = flags(ts, args, 2, false, nil)
		signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "KILL": os.Kill, "HUP": syscall.SIGHUP}
		ts.Check(get(ts, w.routers, args[0]).cmd.Process.Signal(get(ts, signals, args[1])))
	case "unready":
		p := get(ts, w.routers, flags(ts, args, 1, false, nil)[0])
		if !eventually(patience, func() bool { return !p.ready() }) {
			ts.Fatalf("the router still says it is ready")
		}
	case "wait":
		w.routerWait(ts, args)
	case "out", "log":
		w.routerSaid(ts, verb, args)
	default:
		ts.Fatalf("router: no verb %q", verb)
	}
}

func (w *world) routerStart(ts *testscript.TestScript, args []string) {
	var env list
	args = flags(ts, args, 2, true, func(f *flag.FlagSet) { f.Var(&env, "env", "") })
	name := args[0]
	p := &process{addr: freeAddr(ts), admin: freeAddr(ts), exited: make(chan struct{})}
	serve := append([]string{"serve"}, args[1:]...)
	p.cmd = w.command(ts, env, append(serve, "--listen", p.addr, "--admin", p.admin))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the code says it
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	if old, ok := w.routers[name]; ok {
		old.kill()
		w.inspect(name, old)
	}
	w.routers[name] = p
	w.set(ts, name, p.addr)
	w.set(ts, name+"_ADMIN", p.admin)
	if !eventually(patience, p.ready) {
		p.kill()
		ts.Fatalf("router %s is not ready; it said:\n%s%s", name, p.stdout.String(), p.stderr.String())
	}
}

func (p *process) ready() bool {
	select {
	case <-p.exited:
		return false
	default:
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	resp, err := web.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (w *world) routerSaid(ts *testscript.TestScript, stream string, args []string) {
	has := ""
	args = flags(ts, args, 1, false, func(f *flag.FlagSet) { f.StringVar(&has, "has", "", "") })
	p := get(ts, w.routers, args[0])
	from := &p.stdout
	if stream == "log" {
		from = &p.stderr
	}
	eventually(patience, func() bool { return strings.Contains(from.String(), has) })
	fmt.Fprint(ts.Stdout(), from.String())
}

func (w *world) routerWait(ts *testscript.TestScript, args []string) {
	within := patience
	args = flags(ts, args, 2, false, func(f *flag.FlagSet) { f.DurationVar(&within, "within", within, "") })
	p := get(ts, w.routers, args[0])
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		ts.Fatalf("router %s still runs after %v", args[0], within)
	}
	if got := fmt.Sprint(p.code); got != args[1] {
		ts.Fatalf("router %s exited with %s, want %s; it said:\n%s", args[0], got, args[1], p.stderr.String())
	}
}

func freeAddr(ts *testscript.TestScript) string {
	address, err := outside.Address()
	ts.Check(err)
	return address
}
