// Command helixflow is an OpenAI-compatible inference router. This package is
// the composition root: each subcommand has a file of its own, and what serve
// needs is put together in wire.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes, the same for every subcommand.
const (
	exitGood    = 0
	exitProblem = 1 // the command ran and found something wrong
	exitUsage   = 2 // the command line makes no sense
)

// cli is the grammar of the command line. Serve keeps its settings in serve.go.
type cli struct {
	Serve       ServeCmd       `cmd:"" help:"Serve the API in front of the configured backends."`
	Check       CheckCmd       `cmd:"" help:"Check a configuration file and name every problem in it."`
	Diff        DiffCmd        `cmd:"" help:"Tell what a reload would change."`
	Explain     ExplainCmd     `cmd:"" help:"Tell where a request would go, and why."`
	Cache       CacheCmd       `cmd:"" help:"See and forget the answers that a router keeps."`
	Keys        KeysCmd        `cmd:"" help:"Make, hash, inspect and verify API keys."`
	Sim         SimCmd         `cmd:"" help:"Run a simulated inference engine."`
	Replay      ReplayCmd      `cmd:"" help:"Run a traffic trace against balancing policies, in simulated time."`
	Bench       BenchCmd       `cmd:"" help:"Load an endpoint, and tell how long its answers take."`
	Healthcheck HealthcheckCmd `cmd:"" help:"Ask the router on this machine whether it lives; for containers."`
	Completion  CompletionCmd  `cmd:"" help:"Print the completion script of a shell."`
	Version     VersionCmd     `cmd:"" help:"Print the version."`
}

// Env is what a subcommand may touch of the world around the process. Tests
// hand in their own.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer // answers; with --json nothing but JSON
	Stderr io.Writer // complaints and logs

	// Ctx ends when the process is asked to stop (SIGINT, SIGTERM). It stands
	// here because kong calls Run with bound values only.
	Ctx context.Context
}

// errReported says that the command failed and has already told the user why.
var errReported = errors.New("reported")

// usageError is a command line that parses but makes no sense; exit code 2.
type usageError struct{ text string }

// Error returns the text for the user.
func (e *usageError) Error() string { return e.text }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(os.Args[1:], &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Ctx: ctx})
	stop()
	os.Exit(code)
}

// exitRequest carries an exit code out of kong, which wants to end the process
// itself after --help.
type exitRequest int

// run is main without the process: it parses args, runs the subcommand and
// returns the exit code.
func run(args []string, env *Env) (code int) {
	defer func() {
		if r := recover(); r != nil {
			request, ok := r.(exitRequest)
			if !ok {
				panic(r)
			}
			code = int(request)
		}
	}()
	parser, err := kong.New(&cli{},
		kong.Name("helixflow"),
		kong.Description("An OpenAI-compatible edge router for inference."),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(code int) { panic(exitRequest(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Bind(env),
	)
	if err != nil {
		panic("BUG: the command line grammar is broken: " + err.Error())
	}
	command, err := parser.Parse(args)
	if err != nil {
		return complain(env, &usageError{err.Error()})
	}
	return complain(env, command.Run())
}

// apiKey finds our keys in what kong says of a misplaced argument.
var apiKey = regexp.MustCompile(`(?:sk-)?hfx_\w+`)

// complain prints err, unless its command already has, and returns its exit code.
func complain(env *Env, err error) int {
	if err == nil {
		return exitGood
	}
	var usage *usageError
	if errors.As(err, &usage) {
		text := apiKey.ReplaceAllString(usage.text, "[key]")
		fmt.Fprintf(env.Stderr, "helixflow: %s\nRun \"helixflow --help\" for usage.\n", text)
		return exitUsage
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(env.Stderr, "helixflow: %v\n", err)
	}
	return exitProblem
}
