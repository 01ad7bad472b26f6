package helixflow_test

// The shape of the repository, held by a test: who may import whom, in which
// file, and what no file may do.

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module   = "github.com/helixflow/helixflow"
	maxLines = 600 // of a hand-written file; 80 to 250 is what to aim for
)

// room is one row of the table: what the non-test files of a package may
// import. The standard library is free.
type room struct {
	pkg    string              // below the module's root; "x/..." is x and all below, "a/b*" one level
	inside []string            // packages of this module, in the same notation; ".." is the parent
	third  []string            // modules of others; anything for whatever go.mod pins
	only   map[string][]string // those of the above that only these files may import
}

var anything = []string{"*"}

// rooms is the table. The first row that matches a package holds for it; a
// package without a row fails.
var rooms = []room{
	{pkg: "."},
	{pkg: "internal/test*", inside: []string{".", "..", "internal/..."}, third: anything},
	{pkg: "balancer/*test", inside: []string{".", "..", "internal/..."}, third: anything},
	{pkg: "backends/*test", inside: []string{".", "..", "internal/..."}, third: anything},
	{pkg: "cache/*test", inside: []string{".", "..", "internal/..."}, third: anything},

	{pkg: "internal/openai", inside: []string{"."}, third: []string{xxhash}},
	{pkg: "internal/buf", inside: []string{"."}, third: []string{xxhash}},
	{pkg: "internal/framing", inside: []string{"."}},
	{pkg: "internal/formdata", inside: []string{"."}},
	{pkg: "internal/hook", inside: []string{".", "internal/openai"}},
	{pkg: "internal/ring", inside: []string{"."}, third: []string{xxhash}},
	{pkg: "internal/secret", inside: []string{"."}, third: []string{xxhash}},
	{pkg: "internal/build", inside: []string{"."}, third: []string{xxhash}},
	{pkg: "internal/metric", inside: []string{"."}, third: []string{"github.com/VictoriaMetrics/metrics"}},
	{pkg: "internal/redisx", inside: []string{".", "internal/..."}, third: []string{"github.com/redis/go-redis"}},
	{pkg: "internal/gossip", inside: []string{".", "internal/..."}, third: []string{"github.com/hashicorp/memberlist"}},
	{pkg: "internal/trace", inside: []string{".", "internal/..."}, third: []string{"go.opentelemetry.io"}},
	{pkg: "internal/wal", inside: []string{".", "internal/..."}},
	{pkg: "internal/accesslog", inside: []string{".", "internal/..."}, third: []string{xxhash}},
	{pkg: "internal/idempotency", inside: []string{"."}},
	{pkg: "internal/clientaddr", inside: []string{".", "internal/..."}},
	{pkg: "internal/websocket"},
	{pkg: "internal/netloop"},
	{pkg: "internal/objects"},
	{pkg: "internal/pressure"},
	{pkg: "internal/handover", inside: []string{".", "internal/..."}, third: []string{"golang.org/x/sys"}},

	{pkg: "balancer", inside: []string{".", "internal/metric"}, third: []string{xxhash}},
	{
		pkg: "cache", inside: []string{".", "internal/..."},
		third: []string{"github.com/dgraph-io/ristretto", "github.com/klauspost/compress", xxhash},
		only: map[string][]string{
			"github.com/dgraph-io/ristretto": {"memory.go"},
			"github.com/klauspost/compress":  {"codec.go"},
			xxhash:                           {"key.go"},
		},
	},
	{
		pkg: "authn", inside: []string{".", "internal/..."},
		third: []string{"github.com/golang-jwt/jwt"},
	},
	{
		pkg: "configs", inside: []string{".", "internal/secret"},
		third: []string{"github.com/goccy/go-yaml", "github.com/google/jsonschema-go", "github.com/fsnotify/fsnotify"},
		only:  map[string][]string{"github.com/fsnotify/fsnotify": {"watch.go"}},
	},
	{pkg: "backends/...", inside: []string{".", "balancer", "backends/...", "internal/..."}, third: []string{fasthttp}},
	{pkg: "router/admission", inside: []string{".", "internal/..."}},
	{pkg: "router/sharing", inside: []string{".", "internal/...", "router/admission"}},
	{
		pkg:    "router",
		inside: []string{".", "balancer", "backends/...", "cache", "authn", "router/admission", "router/sharing", "internal/...", "configs"},
		third:  []string{fasthttp},
		only: map[string][]string{
			fasthttp:  {"conn.go", "intake.go", "respond.go", "splice.go", "upgrade.go"},
			"configs": {"compile.go", "compile_balance.go", "compile_cache.go", "compile_hooks.go", "compile_identity.go", "compile_keys.go", "compile_limits.go", "compile_standing.go"},
		},
	},

	{pkg: "admin/...", inside: []string{".", "authn", "configs", "internal/...", "admin/..."}, third: anything},
	{
		pkg: "cmd/helixflow",
		inside: []string{
			".", "internal/...", "balancer", "backends/...", "cache", "authn", "configs",
			"router/...", "admin/...", "bench/...",
		},
		third: anything,
	},
	{
		pkg:    "bench/...",
		inside: []string{".", "balancer", "backends/...", "router/admission", "internal/...", "bench/..."},
		third:  anything,
	},
	{pkg: "tests/...", inside: anything, third: anything},
}

const (
	fasthttp = "github.com/valyala/fasthttp"
	xxhash   = "github.com/cespare/xxhash"
)

// dataPlane is where facts about a request travel in typed fields.
var dataPlane = []string{"router/...", "balancer/...", "backends/...", "cache/...", "authn/..."}

// forbiddenNames say nothing of what a package holds.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "types", "base", "shared"}

func TestArchitecture(t *testing.T) {
	sources, problems := readTree(os.DirFS("."))
	require.NotEmpty(t, sources)
	for _, problem := range append(problems, check(sources)...) {
		t.Error(problem)
	}
}

// source is one file, parsed whatever its build tags are.
type source struct {
	pkg, file string // "router", "relay.go"
	ast       *ast.File
	lines     int
}

func (s *source) path() string { return path.Join(s.pkg, s.file) }
func (s *source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

// readTree parses every Go file of the module, nested modules and testdata left out.
func readTree(tree fs.FS) (sources []*source, problems []string) {
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(tree, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			problems = append(problems, err.Error())
			return nil
		}
		sources = append(sources, &source{path.Dir(name), path.Base(name), parsed, bytes.Count(text, []byte("\n"))})
		return nil
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	return sources, problems
}

// enter skips the directories that the go command skips.
func enter(tree fs.FS, dir string) error {
	name := path.Base(dir)
	if dir == "." {
		return nil
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	if err == nil || name == "testdata" || name == "vendor" || name == "node_modules" || strings.ContainsAny(name[:1], "._") {
		return fs.SkipDir
	}
	return nil
}

// check returns what is wrong with the sources, a line for each.
func check(sources []*source) (problems []string) {
	documented := make(map[string]bool) // by package, those with files that are not tests
	for _, s := range sources {
		complain := func(format string, args ...any) {
			problems = append(problems, s.path()+": "+fmt.Sprintf(format, args...))
		}
		checkFile(s, complain)
		if s.isTest() {
			continue
		}
		documented[s.pkg] = documented[s.pkg] || hasPackageDoc(s.ast)
		r := roomOf(s.pkg)
		if r == nil {
			complain("package %s has no row in the table of arch_test.go", s.pkg)
			continue
		}
		for _, imported := range imports(s.ast) {
			checkImport(r, s, imported, complain)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(documented)) {
		if !documented[pkg] {
			problems = append(problems, pkg+": the package has no doc comment")
		}
	}
	return problems
}

// checkFile holds what is true of every file, tests included.
func checkFile(s *source, complain func(string, ...any)) {
	if s.lines > maxLines && !ast.IsGenerated(s.ast) {
		complain("%d lines, above %d", s.lines, maxLines)
	}
	for _, name := range []string{path.Base(s.pkg), strings.TrimSuffix(s.ast.Name.Name, "_test")} {
		if slices.Contains(forbiddenNames, name) {
			complain("a package called %s says nothing of what it holds", name)
			break
		}
	}
	for _, imported := range imports(s.ast) {
		if imported == "C" {
			complain("imports C; the binary is built without cgo")
		}
		if imported == "unsafe" && s.pkg != "internal/buf" {
			complain("imports unsafe, which only internal/buf may")
		}
	}
	if slices.ContainsFunc(dataPlane, func(p string) bool { return covers(p, s.pkg) }) && usesContextValue(s.ast) {
		complain("uses context.WithValue on the data plane")
	}
}

func checkImport(r *room, s *source, imported string, complain func(string, ...any)) {
	allowed, below := r.third, imported
	matches := ofModule
	if ours, ok := insideModule(imported); ok {
		allowed, below, matches = r.inside, ours, covers
	} else if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	i := slices.IndexFunc(allowed, func(pattern string) bool {
		if pattern == ".." {
			pattern = path.Dir(s.pkg)
		}
		return pattern == "*" || matches(pattern, below)
	})
	if i < 0 {
		complain("imports %s, which %s may not", imported, r.pkg)
		return
	}
	if files := r.only[allowed[i]]; files != nil && !slices.Contains(files, s.file) {
		complain("imports %s, which only %s may", imported, strings.Join(files, ", "))
	}
}

func roomOf(pkg string) *room {
	for i := range rooms {
		if covers(rooms[i].pkg, pkg) {
			return &rooms[i]
		}
	}
	return nil
}

// covers reports whether a pattern of the table means the package.
func covers(pattern, pkg string) bool {
	if top, deep := strings.CutSuffix(pattern, "/..."); deep {
		return pkg == top || strings.HasPrefix(pkg, top+"/")
	}
	ok, err := path.Match(pattern, pkg)
	return err == nil && ok
}

// ofModule reports whether an import path lies in somebody's module, of
// whichever major version.
func ofModule(module, imported string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// insideModule returns where below this module's root an import leads.
func insideModule(imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func imports(file *ast.File) []string {
	paths := make([]string, 0, len(file.Imports))
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// hasPackageDoc accepts "Package x …", and for a program any text.
func hasPackageDoc(file *ast.File) bool {
	text := file.Doc.Text()
	if file.Name.Name == "main" {
		return text != ""
	}
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ")
}

// usesContextValue finds context.WithValue under whatever name it was imported.
func usesContextValue(file *ast.File) bool {
	local := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"context"` {
			local = "context"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return false
	}
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			of, ok := n.X.(*ast.Ident)
			found = found || ok && of.Name == local && n.Sel.Name == "WithValue"
		case *ast.Ident:
			found = found || local == "." && n.Name == "WithValue"
		}
		return !found
	})
	return found
}

// The checker itself is checked: a rule that cannot fail holds nothing.
func TestArchitectureChecker(t *testing.T) {
	f := func(name, text string, want ...string) {
		t.Helper()
		sources, problems := readTree(fstest.MapFS{name: {Data: []byte(text)}})
		assert.Equal(t, want, append(problems, check(sources)...), "%s\n%s", name, text)
	}
	importing := func(pkg string, paths ...string) string {
		text := "// Package " + pkg + " is an example.\npackage " + pkg + "\n"
		for _, p := range paths {
			text += "import _ \"" + p + "\"\n"
		}
		return text
	}
	const ours = module + "/"

	// Who may import whom.
	f("doc.go", importing("helixflow", "time", "net/http"))
	f("doc.go", importing("helixflow", fasthttp), "doc.go: imports "+fasthttp+", which . may not")
	f("doc.go", importing("helixflow", ours+"internal/buf"), "doc.go: imports "+ours+"internal/buf, which . may not")
	f("balancer/p2c.go", importing("balancer", module, ours+"internal/metric", xxhash+"/v2"))
	f("balancer/p2c.go", importing("balancer", ours+"backends"), "balancer/p2c.go: imports "+ours+"backends, which balancer may not")
	f("balancer/p2c.go", importing("balancer", xxhash+"fake"), "balancer/p2c.go: imports "+xxhash+"fake, which balancer may not")
	f("balancer/policytest/run.go", importing("policytest", ours+"balancer", "github.com/stretchr/testify/require"))
	f("balancer/policytest/run.go", importing("policytest", ours+"backends"), "balancer/policytest/run.go: imports "+ours+"backends, which balancer/*test may not")
	f("backends/vllm/vllm.go", importing("vllm", ours+"backends", fasthttp))
	f("authn/keyring.go", importing("authn", ours+"configs"), "authn/keyring.go: imports "+ours+"configs, which authn may not")
	f("router/admission/ticket.go", importing("admission", ours+"router"), "router/admission/ticket.go: imports "+ours+"router, which router/admission may not")
	f("admin/server.go", importing("admin", ours+"backends"), "admin/server.go: imports "+ours+"backends, which admin/... may not")
	f("cmd/helixflow/main.go", importing("main", ours+"router", ours+"bench/sim", "github.com/alecthomas/kong"))
	f("cmd/helixflow/main.go", importing("main", ours+"tests/fakellm"), "cmd/helixflow/main.go: imports "+ours+"tests/fakellm, which cmd/helixflow may not")
	f("gateway/gateway.go", importing("gateway"), "gateway/gateway.go: package gateway has no row in the table of arch_test.go")

	// In which file.
	f("router/respond.go", importing("router", fasthttp))
	f("router/compile.go", importing("router", ours+"configs"))
	f("router/handler.go", importing("router", fasthttp, ours+"configs"),
		"router/handler.go: imports "+fasthttp+", which only conn.go, intake.go, respond.go, splice.go, upgrade.go may",
		"router/handler.go: imports "+ours+"configs, which only compile.go, compile_balance.go, compile_cache.go, compile_hooks.go, compile_identity.go, compile_keys.go, compile_limits.go, compile_standing.go may")
	f("cache/key.go", importing("cache", "github.com/klauspost/compress/zstd"), "cache/key.go: imports github.com/klauspost/compress/zstd, which only codec.go may")
	f("router/sweep_windows.go", "//go:build windows\n\n"+importing("router", fasthttp+"/fasthttputil"),
		"router/sweep_windows.go: imports "+fasthttp+"/fasthttputil, which only conn.go, intake.go, respond.go, splice.go, upgrade.go may")

	// What no file may do.
	f("router/handler.go", importing("router", "unsafe"), "router/handler.go: imports unsafe, which only internal/buf may")
	f("router/a_test.go", importing("router", "unsafe", fasthttp), "router/a_test.go: imports unsafe, which only internal/buf may")
	f("internal/buf/buf.go", importing("buf", "unsafe"))
	f("internal/buf/buf.go", importing("buf", "C"), "internal/buf/buf.go: imports C; the binary is built without cgo")
	f("cache/key.go", "package cache\n", "cache: the package has no doc comment")
	f("cache/key.go", "// Key is documented, the package is not.\npackage cache\n", "cache: the package has no doc comment")
	f("cache/key_test.go", "package cache\n")
	f("internal/testutil/x.go", importing("util"), "internal/testutil/x.go: a package called util says nothing of what it holds")
	f("tests/helpers/x.go", importing("fine"), "tests/helpers/x.go: a package called helpers says nothing of what it holds")
	f("cache/key.go", importing("cache")+strings.Repeat("\n", maxLines), "cache/key.go: 602 lines, above 600")
	f("cache/key.go", "// Code generated by hand. DO NOT EDIT.\n\n"+importing("cache")+strings.Repeat("\n", maxLines))
	f("router/x.go", importing("router")+"import \"context\"\nvar _ = context.WithValue\n", "router/x.go: uses context.WithValue on the data plane")
	f("router/x.go", importing("router")+"import c \"context\"\nvar _ = c.WithValue\n", "router/x.go: uses context.WithValue on the data plane")
	f("router/x.go", importing("router")+"import . \"context\"\nvar _ = WithValue\n", "router/x.go: uses context.WithValue on the data plane")
	f("router/x.go", importing("router")+"import \"context\"\nvar _ = context.WithCancel\n")
	f("admin/x.go", importing("admin")+"import \"context\"\nvar _ = context.WithValue\n")
	f("cache/key.go", "package", "cache/key.go:1:8: expected 'IDENT', found 'EOF'")

	// What is not ours to check.
	f("configs/testdata/x.go", "not Go")
	f(".hidden/x.go", "not Go")
	f("tests/compat/node_modules/x.go", "not Go")
}
