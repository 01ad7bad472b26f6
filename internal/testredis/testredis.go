//go:build unix

// Package testredis runs a real Redis for tests, or a cluster: one redis-server per
// node, on loopback, in a directory of its own, gone with the test.
package testredis

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Server is a running redis-server.
type Server struct {
	Address string // host:port
	tls     string // likewise, once it listens for TLS
	args    []string
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// Start runs redis-server with these further arguments until the test ends. A
// machine without redis-server fails the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{Address: freeAddress(t), args: args, dir: t.TempDir()}
	s.Run(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

// freeAddress is one on loopback that nobody listens on, below the ports that
// systems take for outgoing connections: it stays free until the server takes it,
// and takes it again.
func freeAddress(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
}

// URL is where it is, for a client.
func (s *Server) URL() string { return "redis://" + s.Address }

// Run starts it, again perhaps: on the same address, with nothing remembered.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Address)
	require.NoError(t, err)
	var log bytes.Buffer
	s.cmd = exec.Command("redis-server", append([]string{
		"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--dir", s.dir, "--loglevel", "warning", "--tcp-backlog", "128",
	}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	require.NoError(t, s.cmd.Start(), "install the package redis-server")
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(ended)
	}(s.cmd)
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("redis-server ended: %s", log.String())
		default:
		}
		c, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, 20*time.Second, 5*time.Millisecond)
}

// Kill ends it at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// Stop halts it: connections stay, nothing answers. Continue goes on.
func (s *Server) Stop() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue ends what Stop began.
func (s *Server) Continue() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Command sends one command, in words without spaces, and returns the first line of the answer.
func (s *Server) Command(t testing.TB, words ...string) string {
	t.Helper()
	return firstLine(s.command(t, words)[0])
}

// CommandAs is Command for a server that wants a password.
func (s *Server) CommandAs(t testing.TB, password string, words ...string) string {
	t.Helper()
	return firstLine(s.command(t, []string{"AUTH", password}, words)[1])
}

func firstLine(answer string) string {
	line, _, _ := strings.Cut(answer, "\r\n")
	return line
}

// command sends commands on one connection and returns the answers, as far as they
// come in one piece.
func (s *Server) command(t testing.TB, commands ...[]string) (answers []string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.Address, 10*time.Second)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	for _, words := range commands {
		text := "*" + strconv.Itoa(len(words)) + "\r\n"
		for _, w := range words {
			text += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
		}
		_, err = c.Write([]byte(text))
		require.NoError(t, err)
		answer := make([]byte, 64<<10)
		n, err := c.Read(answer)
		require.NoError(t, err)
		answers = append(answers, string(answer[:n]))
	}
	return answers
}
