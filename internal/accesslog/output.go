package accesslog

// output: the file, or the standard stream, that lines go to.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// output is owned by one goroutine.
type output struct {
	path string // empty: a standard stream, which is neither rotated nor reopened nor closed
	max  int64  // bytes; 0: never rotated
	keep int

	w    io.WriteCloser
	info fs.FileInfo // of w when it was opened: which file it is
	size int64
}

func openOutput(dest string, o Options) (*output, error) {
	switch dest {
	case "stdout", "/dev/stdout":
		return &output{w: os.Stdout}, nil
	case "stderr", "/dev/stderr":
		return &output{w: os.Stderr}, nil
	case "":
		return nil, errors.New("no file is named")
	}
	out := &output{path: dest, max: o.MaxSize, keep: o.Keep}
	_, err := out.Reopen()
	return out, err
}

// Write writes p. With an error it says how much of p is there all the same.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.size += int64(n)
	return n, err
}

// Reopen opens the file anew by its name and closes the old one, and reports
// whether it is another one. If it cannot, the old one stays in use.
func (o *output) Reopen() (other bool, err error) {
	if o.path == "" {
		return false, nil
	}
	f, info, err := openFile(o.path)
	if err != nil {
		return false, err
	}
	if o.w != nil {
		_ = o.w.Close()
	}
	other = !os.SameFile(o.info, info)
	o.w, o.info, o.size = f, info, info.Size()
	return other, nil
}

// openFile opens a file to append to. What would wait for a reader, or is none at
// all, is refused.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&(fs.ModeDir|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return nil, nil, fmt.Errorf("%s is neither a file nor a device", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// full reports whether n more bytes would make the file too large. One that is
// empty takes anything, and a device has no size.
func (o *output) full(n int) bool {
	return o.max > 0 && o.path != "" && o.size > 0 && o.size+int64(n) > o.max && o.info.Mode().IsRegular()
}

// Rotate makes the file .1, the .1 before it .2 and so on, and begins a new one.
// If it cannot, the old one stays in use.
func (o *output) Rotate() error {
	now, err := os.Stat(o.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && os.SameFile(now, o.info) { // else somebody moved it away already
		if err := o.shift(); err != nil {
			return err
		}
	}
	_, err = o.Reopen()
	return err
}

// shift renames the file and its predecessors, the oldest first, whose place is
// taken by the next.
func (o *output) shift() error {
	if o.keep == 0 {
		return os.Remove(o.path)
	}
	for i := o.keep; i > 0; i-- {
		from := o.path
		if i > 1 {
			from = numbered(o.path, i-1)
		}
		if err := os.Rename(from, numbered(o.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func numbered(path string, i int) string {
	return path + "." + strconv.Itoa(i)
}

// Close closes a file.
func (o *output) Close() error {
	if o.path == "" {
		return nil
	}
	return o.w.Close()
}
