package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// The way in: Load and Parse, and the reader they use.

// Load reads and checks the file at path, taking ${NAME} from the process's
// environment and file:PATH from the file system. Its error is a Problems with
// everything that is wrong.
func Load(path string) (*Config, error) {
	r, c := open(path)
	if len(r.problems) > 0 {
		return nil, r.problems.finish(r.src)
	}
	return c, nil
}

// Parse is Load for a file's bytes; name is for messages only. It asks env for
// the variables and readFile for the secret files the text names; a nil
// function knows none. It is pure as far as these are, keeps neither data nor
// the functions, and its error is a Problems.
func Parse(name string, data []byte, env func(string) (string, bool), readFile func(string) ([]byte, error)) (*Config, error) {
	r := newReader(name, env, readFile)
	c := r.read(data)
	if len(r.problems) > 0 {
		return nil, r.problems.finish(r.src)
	}
	return c, nil
}

// Report is all that a look at a file tells.
type Report struct {
	Config   *Config  // nil when there are problems
	Problems Problems // as of Load
	Hints    Problems // what is allowed, but looks like a mistake; told only without problems
	Files    []string // the other files it names, certificates and secrets: see Inspect
}

// Inspect is Load that tells more: hints, and the files that the one at path
// names besides itself, as absolute paths, sorted, each once. With problems
// those are the files known so far, so that whoever watches them sees when a
// missing one comes.
func Inspect(path string) *Report {
	r, c := open(path)
	return r.inspect(c, time.Now())
}

// inspect makes the report of what was read into c.
func (r *reader) inspect(c *Config, now time.Time) *Report {
	report := &Report{Files: r.namedFiles(c)}
	if len(r.problems) > 0 {
		report.Problems = r.problems.finish(r.src)
		return report
	}
	report.Config = c
	hint(r, c, now)
	report.Hints = r.problems.finish(r.src)
	return report
}

// namedFiles are the secrets read so far and the files of c, which is nil when
// nothing could be read.
func (r *reader) namedFiles(c *Config) []string {
	files := slices.Clone(r.secrets)
	if c != nil {
		files = append(files, c.Server.TLS.Cert, c.Server.TLS.Key, c.Server.TLS.ClientCA)
		for i := range c.Auth.JWT {
			files = append(files, c.Auth.JWT[i].JWKSFile, c.Auth.JWT[i].CA)
		}
		files = append(files, c.Auth.KeyFiles...)
		for i := range c.Pools {
			t := &c.Pools[i].TLS
			files = append(files, t.CA, t.Cert, t.Key)
			for j := range c.Pools[i].Backends {
				t := &c.Pools[i].Backends[j].TLS
				files = append(files, t.CA, t.Cert, t.Key)
			}
		}
		files = append(files, c.Redis.TLS.CA, c.Redis.TLS.Cert, c.Redis.TLS.Key)
		for i := range c.Hooks {
			t := &c.Hooks[i].TLS
			files = append(files, t.CA, t.Cert, t.Key)
		}
	}
	named := files[:0]
	for _, file := range files {
		if absolute, err := filepath.Abs(file); err == nil && file != "" {
			named = append(named, absolute)
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// open reads the file at path; c is worth nothing when the reader has problems.
func open(path string) (r *reader, c *Config) {
	r = newReader(path, os.LookupEnv, func(name string) ([]byte, error) { return readUpTo(name, maxSecretFile) })
	data, err := readUpTo(path, maxFile)
	if err != nil {
		r.add(&Problem{Message: "cannot read the file: " + reason(err)})
		return r, nil
	}
	return r, r.read(data)
}

func newReader(name string, env func(string) (string, bool), readFile func(string) ([]byte, error)) *reader {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	if readFile == nil {
		readFile = func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	}
	return &reader{file: name, env: env, readFile: readFile, src: &source{unread: true}, failed: map[string]bool{}}
}

// readUpTo reads a file and one byte more than limit at most, so that its
// taker sees that it is too big.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// reason is err without the operation and path around it.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return err.Error()
}

// reader is one run over one file: where it stands, and what it found.
type reader struct {
	file     string
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
	src      *source
	root     *node
	path     []step
	problems Problems
	failed   map[string]bool // paths that have a problem
	secrets  []string        // files that secrets come from
}

// step is one part of a path: a key, or with index ≥ 0 an element.
type step struct {
	key   string
	index int
}

// keyStep is the step to a key; one that is not a short word goes unnamed.
func keyStep(key string) step {
	if len(key) > quoteMax || !isToken(key) {
		key = "…"
	}
	return step{key: key, index: -1}
}

// doubtful is the step to a key that is not one of the table. A key without a
// value, or with more than a word in it, may be a secret whose colon got lost:
// it is not shown.
func (r *reader) doubtful(e entry) step {
	if s := keyStep(e.key.text); e.value.kind != nullNode && s.key == e.key.text && !looksLikeKey(s.key) {
		return s
	}
	r.mask(e.key)
	return keyStep("…")
}

func (r *reader) read(data []byte) *Config {
	if len(data) > maxFile {
		r.add(problemAt(place{}, "is bigger than %s", formatSize(maxFile)))
		return nil
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	r.src = newSource(text)
	if p := checkBytes(text); p != nil {
		r.add(p)
		return nil
	}
	body, p := parseYAML(text)
	if p != nil {
		r.add(p)
		return nil
	}
	if body == nil {
		r.add(problemAt(place{}, "is empty: it needs at least tenants, pools and models"))
		return nil
	}
	return r.build(body)
}

// build makes the configuration of a parsed document, and reports what is
// wrong with it.
func (r *reader) build(body ast.Node) *Config {
	resolve := resolver{r: r, anchors: map[string]*node{}}
	r.root = resolve.node(body)
	if resolve.broken {
		return nil
	}
	r.src.unread = false
	c := Default()
	rootKeys(c).decode(r, r.root)
	settle(r, c)
	check(r, c)
	return c
}

func (r *reader) push(s step) { r.path = append(r.path, s) }
func (r *reader) pop()        { r.path = r.path[:len(r.path)-1] }

func (r *reader) add(p *Problem) {
	p.File = r.file
	r.failed[p.Path] = true
	r.problems = append(r.problems, *p)
}

// report tells of a problem at the place, of what the reader stands on.
func (r *reader) report(at place, format string, args ...any) {
	p := problemAt(at, format, args...)
	p.Path = pathText(r.path)
	r.add(p)
}

// mask hides a value, and what is in it, in every excerpt.
func (r *reader) mask(n *node) {
	if n.masked {
		return
	}
	n.masked = true
	r.src.masks = append(r.src.masks, span{n.at, n.end})
	for _, item := range n.items {
		r.mask(item)
	}
	for _, e := range n.keys {
		r.mask(e.key)
		r.mask(e.value)
	}
}

// pathText writes a path as pools[0].backends[1].url.
func pathText(path []step) string {
	var b strings.Builder
	for _, s := range path {
		switch {
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
