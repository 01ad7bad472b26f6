// Command go is openai-go against a router: it runs every check and prints a line
// for each, as the package compat above it describes.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// patience bounds one check.
const patience = 25 * time.Second

// check proves one thing. It panics with a failure where that is not so, and may
// return a detail worth reporting.
type check struct {
	name string
	run  func(ctx context.Context, w *world) string
}

func main() {
	w := newWorld()
	good := true
	for _, list := range [][]check{chatChecks, endpointChecks, errorChecks, faultChecks} {
		for _, c := range list {
			good = c.report(w) && good
		}
	}
	if !good {
		os.Exit(1)
	}
}

// report runs the check and prints its line.
func (c *check) report(w *world) (ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	verdict, detail := "ok", ""
	defer func() {
		if p := recover(); p != nil {
			f, isFailure := p.(failure)
			if !isFailure {
				panic(p)
			}
			verdict, detail = "FAIL", string(f)
		}
		detail = fmt.Sprintf("%dms %s", time.Since(start).Milliseconds(), strings.Join(strings.Fields(detail), " "))
		fmt.Printf("%s %s %.600s\n", c.name, verdict, detail)
		ok = verdict == "ok"
	}()
	detail = c.run(ctx, w)
	return
}

// failure is what a check panics with.
type failure string

func fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for skip := 1; skip < 8; skip++ { // the first caller that is no helper
		if _, file, line, ok := runtime.Caller(skip); ok && !strings.HasSuffix(file, "main.go") {
			text = fmt.Sprintf("%s (%s:%d)", text, file[strings.LastIndexByte(file, '/')+1:], line)
			break
		}
	}
	panic(failure(text))
}

func want(ok bool, what string, args ...any) {
	if !ok {
		fail("not so: "+what, args...)
	}
}

func equal[T comparable](what string, got, want T) {
	if got != want {
		fail("%s: %v, want %v", what, got, want)
	}
}

// must returns what a call returned if it went well.
func must[T any](v T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return v
}
