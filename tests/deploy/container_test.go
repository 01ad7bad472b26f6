//go:build integration && linux

package deploy

// The image without an engine: its root filesystem is built, and its entry point
// runs in it as the image's user.

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// image is what the Containerfile says of it.
type image struct {
	user             int
	entrypoint, args []string
}

func readImage(t *testing.T) (i image) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/container/Containerfile"))
	require.NoError(t, err)
	_, final, ok := strings.Cut(string(text), "\nFROM ${BASE}\n")
	require.True(t, ok)
	for line := range strings.Lines(final) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "USER":
			_, err := fmt.Sscanf(rest, "%d:%d", &i.user, &i.user)
			require.NoError(t, err)
		case "ENTRYPOINT":
			require.NoError(t, json.Unmarshal([]byte(rest), &i.entrypoint))
		case "CMD":
			if !strings.Contains(rest, "healthcheck") {
				require.NoError(t, json.Unmarshal([]byte(rest), &i.args))
			}
		}
	}
	return i
}

// newRoot builds the root filesystem.
func newRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755)) // for the image's user to reach it
	}
	out, code := run(t.Context(), filepath.Join(root, "deploy/container/build-root.sh"), dir, binary)
	require.Zero(t, code, out)
	return dir
}

func TestContainerRoot(t *testing.T) {
	dir := newRoot(t)
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		if name != dir {
			assert.Zero(t, info.Mode().Perm()&0o022, "%s is writable", name)
		}
		if !d.IsDir() {
			files = append(files, strings.TrimPrefix(name, dir))
		}
		return nil
	}))
	require.Equal(t, []string{
		"/etc/group", "/etc/helixflow/quickstart.yaml", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt",
		"/usr/local/bin/helixflow", "/usr/share/doc/helixflow/LICENSE",
	}, files)

	i := readImage(t)
	require.Equal(t, 65532, i.user)
	require.Equal(t, []string{"serve", "-c", "/etc/helixflow/helixflow.yaml"}, i.args)
	program, err := elf.Open(filepath.Join(dir, i.entrypoint[0]))
	require.NoError(t, err)
	defer func() { _ = program.Close() }()
	for _, p := range program.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary is not static")
	}

	out, code := run(t.Context(), filepath.Join(root, "deploy/container/build-root.sh"), dir, binary)
	require.Equal(t, 1, code)
	require.Contains(t, out, "is not empty")
}

func TestContainerServes(t *testing.T) {
	i := readImage(t)
	dir := newRoot(t)
	args := append(i.entrypoint[1:], "serve", "-c", "/etc/helixflow/quickstart.yaml", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd := exec.Command(i.entrypoint[0], args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{}, inside(dir, i.user)
	p := start(t, cmd)
	clients, admin := p.addresses(t)

	owner := fmt.Sprintf("%d", i.user)
	if os.Geteuid() != 0 {
		owner = fmt.Sprint(os.Geteuid()) // the same user, seen from outside of its namespace
	}
	require.Equal(t, owner, effectiveUser(t, p.Process.Pid))
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/root", p.Process.Pid))
	require.NoError(t, err)
	require.Equal(t, dir, link)

	var key string // printed a moment after the log says where it serves
	require.Eventually(t, func() bool {
		key = regexp.MustCompile(`sk-hfx_\w+\n`).FindString(p.out.String())
		return key != ""
	}, patience, 5*time.Millisecond)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+clients+"/v1/chat/completions",
		strings.NewReader(`{"model":"llama-3.1-8b","messages":[{"role":"user","content":"Hello"}]}`))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(key))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode, "%s", body)
	require.Contains(t, string(body), `"chat.completion"`)
	require.Equal(t, 200, status("http://"+admin+"/readyz"))
	// What HEALTHCHECK runs, but for the address.
	check := func() int {
		cmd := exec.Command(i.entrypoint[0], "healthcheck", "--admin", admin)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{}, inside(dir, i.user)
		_ = cmd.Run() // the code says it
		return cmd.ProcessState.ExitCode()
	}
	require.Zero(t, check())
	p.stop(t)
	require.Equal(t, 1, check())
}

// inside runs a process in root as user: root may, anybody else may in a user
// namespace of their own.
func inside(root string, user int) *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	return &syscall.SysProcAttr{
		Chroot: root, Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getegid(), Size: 1}},
	}
}

func effectiveUser(t *testing.T, pid int) string {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == "Uid:" {
			return fields[2]
		}
	}
	return ""
}
