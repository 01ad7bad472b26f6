//go:build linux || darwin || freebsd

package handover

// Frames, and descriptors beside them.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

const (
	magic        = "hfxh"
	version      = 1
	headLen      = len(magic) + 4
	maxPayload   = 1 << 10
	maxListeners = 16
	maxName      = 32
)

// What a frame says.
const (
	kindAsk    = 'a' // new: may I have the listeners?
	kindOffer  = 'o' // old: here they are; payload: their names, one a line
	kindCommit = 'c' // new: I serve on them
	kindYours  = 'y' // old: then I stop
	kindRefuse = 'r' // old: no; payload: why
)

var (
	errNotOurs = errors.New("the other side does not speak this protocol")
	errVersion = errors.New("the other side speaks another version of this protocol")
)

func appendFrame(dst []byte, kind byte, payload string) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	return append(dst, payload...)
}

// readFrame reads exactly one frame. io.EOF means that the other side left
// between frames.
func readFrame(r io.Reader) (kind byte, payload string, err error) {
	var head [headLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	if string(head[:len(magic)]) != magic {
		return 0, "", errNotOurs
	}
	if head[4] != version {
		return 0, "", fmt.Errorf("%w: %d, this is %d", errVersion, head[4], version)
	}
	n := int(binary.BigEndian.Uint16(head[6:]))
	if n > maxPayload {
		return 0, "", fmt.Errorf("%w: a message of %d bytes", errNotOurs, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, "", err
	}
	return head[5], string(body), nil
}

// sendOffer writes an offer with the listeners' descriptors beside it.
func sendOffer(c *net.UnixConn, names []string, listeners map[string]net.Listener) error {
	frame := appendFrame(nil, kindOffer, strings.Join(names, "\n"))
	return withDescriptors(names, listeners, nil, func(fds []int) error {
		n, _, err := c.WriteMsgUnix(frame, syscall.UnixRights(fds...), nil)
		if err == nil && n < len(frame) {
			_, err = c.Write(frame[n:])
		}
		return err
	})
}

// withDescriptors calls do while none of the descriptors can be closed. It uses
// no copies: os.File.Fd of a listener's would set the socket to blocking mode,
// for every process that has it.
func withDescriptors(names []string, listeners map[string]net.Listener, fds []int, do func([]int) error) error {
	if len(names) == 0 {
		return do(fds)
	}
	l, ok := listeners[names[0]].(syscall.Conn)
	if !ok {
		return fmt.Errorf("cannot hand over %q: a %T has no descriptor", names[0], listeners[names[0]])
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot hand over %q: %w", names[0], err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = withDescriptors(names[1:], listeners, append(fds, int(fd)), do)
	})
	if err != nil {
		return fmt.Errorf("cannot hand over %q: %w", names[0], err)
	}
	return inner
}

// rights reads from c and keeps the descriptors that come beside the bytes.
type rights struct {
	c   *net.UnixConn
	fds []int
}

// Read implements io.Reader.
func (r *rights) Read(p []byte) (int, error) {
	oob := make([]byte, syscall.CmsgSpace(4*maxListeners))
	n, oobn, flags, _, err := r.c.ReadMsgUnix(p, oob)
	if errors.Is(err, io.EOF) {
		err = io.EOF // bare, as io.ReadFull knows it
	}
	messages, parse := syscall.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		if fds, e := syscall.ParseUnixRights(&messages[i]); e == nil {
			r.fds = append(r.fds, fds...)
		}
	}
	switch {
	case flags&syscall.MSG_CTRUNC != 0 || len(r.fds) > maxListeners:
		return 0, fmt.Errorf("%w: it sent more than %d descriptors", errNotOurs, maxListeners)
	case parse != nil:
		return 0, fmt.Errorf("%w: %w", errNotOurs, parse)
	}
	return n, err
}

func (r *rights) close() {
	for _, fd := range r.fds {
		_ = syscall.Close(fd)
	}
	r.fds = nil
}

// listeners makes listeners of an offer's descriptors. All of them are consumed,
// whatever it returns.
func (r *rights) listeners(payload string) (map[string]net.Listener, error) {
	defer r.close()
	names := strings.Split(payload, "\n")
	if len(names) != len(r.fds) {
		return nil, fmt.Errorf("%w: %d names for %d descriptors", errNotOurs, len(names), len(r.fds))
	}
	listeners := make(map[string]net.Listener, len(names))
	for i, name := range names {
		if !validName(name) || slices.Contains(names[:i], name) {
			closeAll(listeners)
			return nil, fmt.Errorf("%w: a listener named %.40q", errNotOurs, name)
		}
		fd := r.fds[0]
		r.fds = r.fds[1:]
		l, err := adopt(fd, name)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("listener %q: %w", name, err)
		}
		listeners[name] = l
	}
	return listeners, nil
}

func validName(name string) bool {
	return name != "" && len(name) <= maxName &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// adopt makes a listener of a descriptor that came from outside, and closes the
// descriptor.
func adopt(fd int, name string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("cannot use descriptor %d", fd)
	}
	defer func() { _ = f.Close() }() // FileListener has its own copy
	if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil {
		return nil, fmt.Errorf("not a socket: %w", err)
	} else if kind != syscall.SOCK_STREAM {
		return nil, errors.New("not a stream socket")
	}
	if on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && on == 0 {
		return nil, errors.New("a socket that does not listen (with systemd: Accept= must be no)")
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on it: %w", err)
	}
	return l, nil
}
