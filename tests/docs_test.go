package tests

// The documents are run: each page is a script, from its first block to its
// last. docs/README.md has the rules for whoever writes one.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/outside"
)

// configFile is where a page's configuration is; its commands name it.
const configFile = "helixflow.yaml"

// surroundings are the variables that documented configurations take values from.
var surroundings = map[string]string{
	"OPENAI_API_KEY":           "sk-an-account-of-nobody",
	"GUARD_TOKEN":              "a-token-of-nobody",
	"EGRESS_PROXY":             "http://127.0.0.1:9",
	"HELIXFLOW_CLUSTER_SECRET": "0123456789abcdef0123456789abcdef",
	"HELIXFLOW_PEPPER":         "0123456789abcdef0123456789abcdef",
}

// smallest is the configuration that fragments are laid over before a page has
// shown one of its own.
const smallest = `tenants: [{name: t, keys: [{name: k, generate: true}]}]
pools: [{name: p, backends: [{url: "sim:gpu-a"}]}]
models: [{name: m, targets: [{pool: p}]}]
`

func TestDocs(t *testing.T) {
	bin := buildBinary(t)
	for _, name := range pages(t) {
		if name != "README.md" && !strings.HasPrefix(name, "docs") {
			continue // for those who work on HelixFlow: no commands of a user's
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runPage(t, bin, blocks(readPage(t, name)))
		})
	}
}

func buildBinary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "helixflow")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/helixflow").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// script is a page while it runs.
type script struct {
	*testing.T
	bin, dir string
	env      map[string]string
	ports    map[string]string // documented port → the address in use
	config   string
	router   func() // ends the one that serves; nil before there is one
	ran      int
}

func runPage(t *testing.T, bin string, list []block) {
	s := &script{T: t, bin: bin, dir: t.TempDir(), env: maps.Clone(surroundings), ports: map[string]string{}, config: smallest}
	s.env["PATH"], s.env["HOME"] = os.Getenv("PATH"), s.dir
	s.certificate()
	runnable := 0
	for _, b := range list {
		reason, excused := strings.CutPrefix(b.note, "not run:")
		switch {
		case b.lang == "text" || b.lang == "mermaid":
			continue
		case excused:
			require.NotEmpty(t, strings.TrimSpace(reason), "line %d: not run, and no reason given", b.line)
			runnable++
			continue
		}
		runnable++
		s.ran++
		switch b.lang {
		case "sh":
			s.shell(b)
		case "yaml":
			s.yaml(b)
		case "python":
			name, ok := strings.CutPrefix(b.note, "file: ")
			require.True(t, ok && filepath.Base(name) == name, "line %d: say above it into which file it goes, <!-- file: NAME -->", b.line)
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(b.text), 0o600))
		case "json":
			assert.True(t, json.Valid([]byte(b.text)), "line %d: not JSON", b.line)
		default:
			t.Errorf("line %d: a block of %q can neither be run nor checked here: say why above it, <!-- not run: reason -->", b.line, b.lang)
		}
	}
	if runnable > 0 {
		require.Positive(t, s.ran, "a page with blocks of which none is run shows nothing")
		t.Logf("%d of %d blocks run", s.ran, runnable)
	}
}

var (
	engine       = regexp.MustCompile(`http://10\.0\.0\.(\d+):8000`)
	localAddress = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):(\d{4,5})`)
	anyAddress   = regexp.MustCompile(`":(\d{4,5})"`)
)

// here turns documented addresses into ones that are free on this machine, and
// GPUs nobody has into simulated ones.
func (s *script) here(text string) string {
	text = engine.ReplaceAllString(text, "sim:gpu-$1")
	text = localAddress.ReplaceAllStringFunc(text, func(m string) string {
		return s.address(localAddress.FindStringSubmatch(m)[1])
	})
	return anyAddress.ReplaceAllStringFunc(text, func(m string) string {
		return `"` + s.address(strings.Trim(m, `":`)) + `"`
	})
}

func (s *script) address(port string) string {
	if s.ports[port] == "" {
		var err error
		s.ports[port], err = outside.Address()
		require.NoError(s, err)
	}
	return s.ports[port]
}

// documented is the reverse of here, for what commands print.
func (s *script) documented(text string) string {
	for port, address := range s.ports {
		text = strings.ReplaceAll(text, address, "127.0.0.1:"+port)
	}
	return text
}

// yaml checks a whole configuration, or a fragment laid over the last one.
func (s *script) yaml(b block) {
	text := b.text
	if !strings.Contains(text, "pools:") {
		var whole, part map[string]any
		require.NoError(s, yaml.Unmarshal([]byte(s.config), &whole))
		require.NoError(s, yaml.Unmarshal([]byte(text), &part), "line %d", b.line)
		maps.Copy(whole, part)
		merged, err := yaml.Marshal(whole)
		require.NoError(s, err)
		text = string(merged)
	}
	s.config = text
	require.NoError(s, os.WriteFile(filepath.Join(s.dir, configFile), []byte(s.here(text)), 0o600))
	if b.note != "" { // the page goes on to show what is wrong with it
		require.Equal(s, "a mistake", b.note, "line %d: unknown note", b.line)
		return
	}
	out, code := s.helixflow([]string{"check", configFile})
	require.Zero(s, code, "line %d: the configuration does not load:\n%s", b.line, out)
}

// shell runs an sh block line by line, and compares what it printed.
func (s *script) shell(b block) {
	wantExit, wantStatus := 0, 200
	if b.note != "" {
		if n, _ := fmt.Sscanf(b.note, "exit %d", &wantExit); n == 0 {
			n, _ = fmt.Sscanf(b.note, "status %d", &wantStatus)
			require.Equal(s, 1, n, "line %d: unknown note %q", b.line, b.note)
		}
	}
	var printed string
	repeatable := true
	run := func() bool {
		printed = ""
		for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") || s.assigns(line) {
				continue
			}
			args, err := words(line, s.env)
			require.NoError(s, err, "line %d", b.line)
			repeatable = repeatable && args[0] == "curl" && !slices.Contains(args, "-d")
			out, status, exit := s.command(args)
			printed += s.documented(out) + "\n"
			require.Equal(s, wantExit, exit, "line %d: %s\n%s", b.line, line, out)
			if status != 0 {
				require.Equal(s, wantStatus, status, "line %d: %s\n%s", b.line, line, out)
			}
		}
		return missing(b.output, printed) == ""
	}
	if !run() && repeatable { // what was counted may show a moment later
		deadline := time.Now().Add(5 * time.Second)
		for !run() && time.Now().Before(deadline) {
		}
	}
	require.Empty(s, missing(b.output, printed), "line %d: the page shows a line that was not printed:\n%s", b.line, printed)
}

var assignment = regexp.MustCompile(`^export ([A-Z_]+)=(\S+)(?:\s+#.*)?$`)

// assigns runs "export NAME=value". A value with an ellipsis stands for what the
// reader has: for KEY that is the key printed last, else what surroundings say.
func (s *script) assigns(line string) bool {
	m := assignment.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	if strings.Contains(m[2], "…") {
		require.NotEmpty(s, s.env[m[1]], "nothing to put into %s", m[1])
		return true
	}
	s.env[m[1]] = m[2]
	return true
}

// command runs one command: to its end, or a server until it answers.
func (s *script) command(args []string) (out string, status, exit int) {
	for i := range args {
		args[i] = s.here(args[i])
	}
	switch {
	case args[0] == "curl":
		out, status, exit = curl(s.Context(), s.dir, args[1:])
	case slices.Equal(args, []string{"make", "run"}):
		quickstart, err := os.ReadFile(filepath.Join(root, "configs", "quickstart.yaml"))
		require.NoError(s, err)
		require.Contains(s, readPage(s.T, "Makefile"), "$(BIN) serve -c configs/quickstart.yaml")
		s.config = string(quickstart)
		require.NoError(s, os.WriteFile(filepath.Join(s.dir, configFile), []byte(s.here(s.config)), 0o600))
		out = s.serve([]string{"-c", configFile})
	case args[0] == "python3":
		out = s.python(args[1:])
	case args[0] != "helixflow":
		require.Fail(s, "unknown command", "%s: say why it is not run above its block, <!-- not run: reason -->", args[0])
	case args[1] == "serve" && !slices.Contains(args, "--help"):
		out = s.serve(args[2:])
	case args[1] == "sim" && !slices.Contains(args, "--help"):
		out = s.sim(args[2:])
	default:
		out, exit = s.helixflow(args[1:])
	}
	if key := printedKey.FindString(out); key != "" {
		s.env["KEY"] = key
	}
	return out, status, exit
}

var printedKey = regexp.MustCompile(`sk-hfx_(?:live|test)_\w+`)

func (s *script) process(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir = s.dir
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// helixflow runs a command that ends by itself.
func (s *script) helixflow(args []string) (out string, exit int) {
	cmd := s.process(s.Context(), args)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(s, err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// serve starts a router on free ports, in the place of the one before, and waits
// until it is ready.
func (s *script) serve(args []string) string {
	if s.router != nil {
		s.router()
	}
	fromFile := slices.Contains(args, "-c")
	for _, address := range []struct{ flag, key, port string }{{"--listen", "listen:", "8080"}, {"--admin", "admin:", "9090"}} {
		if !slices.Contains(args, address.flag) && (!fromFile || !strings.Contains(s.config, address.key)) {
			args = append(args, address.flag, s.address(address.port))
		}
	}
	admin := s.address("9090")
	if i := slices.Index(args, "--admin"); i >= 0 {
		admin = args[i+1]
	}
	out, stop := s.background(append([]string{"serve"}, args...), "http://"+admin+"/readyz")
	s.router = stop
	return out
}

// sim starts a simulated engine and waits until it answers.
func (s *script) sim(args []string) string {
	i := slices.Index(args, "--listen")
	if i < 0 {
		args = append(args, "--listen", s.address("8000"))
		i = len(args) - 2
	}
	out, _ := s.background(append([]string{"sim"}, args...), "http://"+args[i+1]+"/health")
	return out
}

// python starts a program of the page's, which serves at its last argument, and
// waits until it listens.
func (s *script) python(args []string) string {
	cmd := exec.CommandContext(context.Background(), "python3", args...)
	cmd.Dir = s.dir
	out := new(outside.Output)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(s, cmd.Start())
	s.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	listens := func() bool {
		c, err := net.Dial("tcp", args[len(args)-1])
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	require.Eventually(s, listens, 20*time.Second, 10*time.Millisecond, "python3 %s does not listen\n%s", strings.Join(args, " "), out)
	return out.String()
}

// announcements is what servers print when they are ready.
var announcements = map[string]string{"serve": "HelixFlow serves", "sim": "simulated engine"}

// background starts a server that lives until the page ends or stop is called,
// waits until url answers 200, and returns what it has printed.
func (s *script) background(args []string, url string) (printed string, stop func()) {
	out := new(outside.Output)
	cmd := s.process(context.Background(), args)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(s, cmd.Start())
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }() // it is killed
	stop = func() { _ = cmd.Process.Kill(); <-exited }
	s.Cleanup(stop)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	answers := func() bool {
		resp, err := client.Get(url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	require.Eventually(s, answers, 20*time.Second, 10*time.Millisecond, "helixflow %s does not answer\n%s", strings.Join(args, " "), out)
	if announced := announcements[args[0]]; announced != "" { // ready is a moment before
		require.Eventually(s, func() bool { return strings.Contains(out.String(), announced) }, 20*time.Second, 5*time.Millisecond)
	}
	return out.String(), stop
}

// missing is the first line that a page shows and nothing printed; an ellipsis
// stands for any text.
func missing(shown, printed string) string {
	for want := range strings.Lines(shown) {
		want = strings.TrimSpace(want)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
		if want != "" && !regexp.MustCompile(`(?m)^\s*`+pattern+`\s*$`).MatchString(printed) {
			return want
		}
	}
	return ""
}

func TestMissing(t *testing.T) {
	f := func(shown, printed, want string) {
		t.Helper()
		assert.Equal(t, want, missing(shown, printed))
	}
	f("", "anything", "")
	f("a\n  c…e\n", "b\na\n  cde  \n", "")
	f("a\nb\n", "a\nbb\n", "b")
	f("x.y\n", "xzy\n", "x.y")
}

// certificate writes tls.crt and tls.key, as the page on TLS makes them with
// openssl.
func (s *script) certificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s, err)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(s, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s, err)
	for name, b := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(s, os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(b), 0o600))
	}
}
