// Command go is a driver for the clients written in Go: it does the orders on
// stdin with the one that its argument names, as the package compat above it
// describes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

type order struct {
	Do         string         `json:"do"`
	BaseURL    string         `json:"base_url"`
	Key        string         `json:"key"`
	Model      string         `json:"model"`
	Retries    int            `json:"retries"`
	Prompt     string         `json:"prompt"`
	Prompts    []string       `json:"prompts"`
	Image      string         `json:"image"`
	Audio      []byte         `json:"audio"`
	Usage      bool           `json:"usage"`
	MaxTokens  int            `json:"max_tokens"`
	Encoding   string         `json:"encoding"`
	Dimensions int            `json:"dimensions"`
	Extra      map[string]any `json:"extra"`
	Endpoint   string         `json:"endpoint"`
	Body       map[string]any `json:"body"`
	Times      int            `json:"times"`
	LeaveMS    int            `json:"leave_ms"`
	LeaveAfter int            `json:"leave_after"`
}

type answer struct {
	Text      string         `json:"text,omitempty"`
	Texts     []string       `json:"texts,omitempty"`
	Finish    string         `json:"finish,omitempty"`
	Input     int64          `json:"input_tokens,omitempty"`
	Output    int64          `json:"output_tokens,omitempty"`
	Items     int            `json:"items,omitempty"`
	UsageAt   []int          `json:"usage_at,omitempty"`
	Events    []string       `json:"events,omitempty"`
	Calls     []call         `json:"calls,omitempty"`
	Parsed    map[string]any `json:"parsed,omitempty"`
	Vectors   [][]float64    `json:"vectors,omitempty"`
	IDs       []string       `json:"ids,omitempty"`
	Flagged   []bool         `json:"flagged,omitempty"`
	Audio     []byte         `json:"audio,omitempty"`
	RequestID string         `json:"request_id,omitempty"`
	Seen      []seen         `json:"seen,omitempty"`
	Error     *failure       `json:"error,omitempty"`
	Bug       string         `json:"bug,omitempty"`

	Versions map[string]string `json:"versions,omitempty"`
	Lacks    map[string]string `json:"lacks,omitempty"`
	Blind    map[string]string `json:"blind,omitempty"`
}

type call struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type failure struct {
	Class      string `json:"class"`
	Status     int    `json:"status,omitempty"`
	Code       string `json:"code,omitempty"`
	Type       string `json:"type,omitempty"`
	Param      string `json:"param,omitempty"`
	Message    string `json:"message"`
	RequestID  string `json:"request_id,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
}

// driver is one client. What came before an error is in the answer, too.
type driver struct {
	module  string
	verbs   map[string]func(ctx context.Context, o *order, a *answer) error
	failure func(err error) *failure
	lacks   map[string]string
	blind   map[string]string
}

var drivers = map[string]driver{"openai": official, "go-openai": community}

func main() {
	d, ok := drivers[os.Args[1]]
	if !ok {
		panic("no such client: " + os.Args[1])
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	for in.More() {
		var o order
		if err := in.Decode(&o); err != nil {
			panic(err)
		}
		if err := out.Encode(d.do(&o)); err != nil {
			panic(err)
		}
	}
}

func (d *driver) do(o *order) *answer {
	if o.Do == "about" {
		return &answer{Versions: map[string]string{d.module: version(d.module)}, Lacks: d.lacks, Blind: d.blind}
	}
	ctx, leave := context.Background(), func() {}
	if o.LeaveMS > 0 {
		ctx, leave = context.WithCancel(ctx)
		time.AfterFunc(time.Duration(o.LeaveMS)*time.Millisecond, leave)
	}
	defer leave()
	var a answer
	verb, ok := d.verbs[o.Do]
	if !ok {
		return &answer{Bug: "no such verb: " + o.Do}
	}
	if err := verb(ctx, o, &a); err != nil {
		if a.Error = d.failure(err); a.Error == nil {
			a.Error = &failure{Class: class(err), Message: err.Error()}
		}
	}
	return &a
}

// class is the name of the error that the others wrap.
func class(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "context.Canceled"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "io.ErrUnexpectedEOF"
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return fmt.Sprintf("%T", err)
}

func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version[1:] // without its v
			}
		}
	}
	return ""
}

// parallel asks each prompt at once.
func parallel(o *order, a *answer, ask func(prompt string) (string, error)) error {
	a.Texts = make([]string, len(o.Prompts))
	problems := make([]error, len(o.Prompts))
	var all sync.WaitGroup
	for i, prompt := range o.Prompts {
		all.Go(func() { a.Texts[i], problems[i] = ask(prompt) })
	}
	all.Wait()
	return errors.Join(problems...)
}

// parameters and personSchema are what the tool takes and the structured output is.
var (
	parameters = map[string]any{
		"type":       "object",
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
		"required":   []string{"city", "days"},
	}
	personSchema = map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"name", "age", "tags"},
		"properties": map[string]any{
			"name": map[string]any{"type": "string"}, "age": map[string]any{"type": "integer"},
			"tags": map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		},
	}
)
