package configs

// Watching files for changes, however they come: written in place, replaced by
// a rename, deleted and made again, or swapped behind a symbolic link as
// Kubernetes does with ..data.

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quietTime = 100 * time.Millisecond // without an event before changed is called
	latest    = 500 * time.Millisecond // after the first event, however many follow
	pollTime  = 10 * time.Second       // file systems without events are looked at this often
	blindTime = time.Second            // as are all when the kernel grants no watch
	maxHops   = 40                     // symbolic links on the way to a file, as in Linux
)

// Watcher tells when files may have changed. Make one with Watch.
type Watcher struct {
	changed func()
	log     *slog.Logger
	notify  *fsnotify.Watcher // nil when the kernel grants none
	events  <-chan fsnotify.Event
	errors  <-chan error
	stop    chan struct{}
	done    chan struct{} // closed when run has returned
	once    sync.Once

	mu    sync.Mutex // guards the fields below; not held while changed runs
	main  string
	files map[string]os.FileInfo // by absolute path, as last seen; nil when there was none
	dirs  map[string]os.FileInfo // what is watched, and which directory that was
	names map[string]bool        // the last parts of the paths that an event must be about
	blind bool                   // some directory could not be watched
}

// Watch begins to watch the file at path, which need not exist, and calls
// changed after each change of it or of the files that SetPaths names: from a
// goroutine of its own, one call at a time, when nothing has happened for
// 100 ms, and 500 ms after the first event at the latest. A touch counts as a
// change, as does deletion. Changes before Watch returns are not told: watch
// first, then load. Where the kernel tells nothing (a network file system, no
// inotify watches left) it looks each 10 or 1 seconds itself.
//
// The caller owns the Watcher and must Close it, not from changed. log gets a
// warning when a watch fails. The error says that path has no absolute form.
func Watch(path string, changed func(), log *slog.Logger) (*Watcher, error) {
	main, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w := newWatcher(main, changed, log)
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.cannotWatch(main, err)
	} else {
		w.notify, w.events, w.errors = notify, notify.Events, notify.Errors
	}
	w.watch(nil)
	go w.run()
	return w, nil
}

func newWatcher(main string, changed func(), log *slog.Logger) *Watcher {
	return &Watcher{
		changed: changed, log: log, main: main,
		stop: make(chan struct{}), done: make(chan struct{}),
		files: map[string]os.FileInfo{}, dirs: map[string]os.FileInfo{},
	}
}

// SetPaths replaces the files that are watched beside the main one: those that
// Inspect says the configuration names. They need not exist. Changes before
// SetPaths returns are told only of files that were watched before. Safe for
// concurrent use, and from changed.
func (w *Watcher) SetPaths(paths []string) {
	absolute := make([]string, 0, len(paths))
	for _, path := range paths {
		if a, err := filepath.Abs(path); err == nil && path != "" {
			absolute = append(absolute, a)
		}
	}
	w.watch(absolute)
}

// Close stops watching and waits for a running call of changed. Once it has
// returned there will be no other. Close may be called more than once.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.stop)
		if w.notify != nil {
			if err := w.notify.Close(); err != nil {
				w.log.Warn("cannot stop watching for changed files", "error", err)
			}
		}
	})
	<-w.done
}

// watch makes main and others the watched files.
func (w *Watcher) watch(others []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := make(map[string]os.FileInfo, len(others)+1)
	var added []string
	for _, path := range append(others, w.main) {
		seen, known := w.files[path]
		files[path] = seen
		if !known {
			added = append(added, path)
		}
	}
	w.files = files
	w.follow()
	for _, path := range added {
		w.files[path] = look(path)
	}
}

// look returns what the file at the end of path looks like, nil when there is
// none.
func look(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// same reports whether a file looks as it did.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// follow watches the directories through which the files are reached now.
// Caller holds mu.
func (w *Watcher) follow() {
	const rounds = 4 // a directory may come or go between looking and watching
	for range rounds {
		dirs := map[string]os.FileInfo{}
		w.names = map[string]bool{}
		for path := range w.files {
			for _, name := range trace(path) {
				dir := filepath.Dir(name)
				dirs[dir] = nil
				w.names[filepath.Base(name)], w.names[filepath.Base(dir)] = true, true
			}
		}
		if !w.watchDirs(dirs) {
			return
		}
	}
}

// watchDirs makes dirs the watched directories, and reports whether that began
// to watch one.
func (w *Watcher) watchDirs(dirs map[string]os.FileInfo) (began bool) {
	if w.notify == nil {
		return false
	}
	blind := false
	for dir := range dirs {
		dirs[dir] = look(dir)
		if old := w.dirs[dir]; old != nil && dirs[dir] != nil && os.SameFile(old, dirs[dir]) {
			continue
		}
		_ = w.notify.Remove(dir) // another directory of that name, perhaps gone
		switch err := w.notify.Add(dir); {
		case err == nil:
			began = true
		case errors.Is(err, fs.ErrNotExist):
			dirs[dir] = nil
			began = true // and so it has to be looked at again
		default:
			dirs[dir] = nil
			w.cannotWatch(dir, err)
			blind = true
		}
	}
	for dir := range w.dirs {
		if _, wanted := dirs[dir]; !wanted {
			_ = w.notify.Remove(dir) // an error says that it is not watched
		}
	}
	w.dirs, w.blind = dirs, blind
	return began
}

// cannotWatch notes that events will be missed, and says so once.
func (w *Watcher) cannotWatch(path string, err error) {
	if !w.blind {
		w.log.Warn("cannot watch for changed files, looking at them each second instead", "path", path, "error", err)
	}
	w.blind = true
}

// trace follows path through its symbolic links. It returns each link on the
// way and where they end: what has to change for the file to become another.
// Where something is missing on the way it ends there.
func trace(path string) (names []string) {
	root := filepath.VolumeName(path) + string(filepath.Separator)
	at, rest := root, strings.TrimPrefix(path, root)
	for hops := 0; hops <= maxHops; {
		part, after, more := strings.Cut(rest, string(filepath.Separator))
		rest = after
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err == nil && info.Mode()&os.ModeSymlink != 0 {
			names = append(names, next)
			hops++
			target, err := os.Readlink(next)
			if err != nil {
				return names
			}
			if filepath.IsAbs(target) {
				at, target = root, strings.TrimPrefix(target, root)
			}
			rest = strings.TrimSuffix(target+string(filepath.Separator)+rest, string(filepath.Separator))
			continue
		}
		if err != nil || !more {
			return append(names, next)
		}
		at = next
	}
	return names
}

// run is the goroutine of w.
func (w *Watcher) run() {
	defer close(w.done)
	due := time.NewTimer(quietTime)
	due.Stop()
	poll := time.NewTimer(w.pollEvery())
	defer poll.Stop()
	var first time.Time // of the events not yet told
	arm := func() {
		if first.IsZero() {
			first = time.Now()
		}
		due.Reset(min(quietTime, time.Until(first.Add(latest))))
	}
	for {
		select {
		case <-w.stop:
			due.Stop()
			return
		case event, open := <-w.events:
			switch {
			case !open:
				w.events = nil
			case w.concerns(event):
				arm()
			}
		case err, open := <-w.errors:
			if !open {
				w.errors = nil
				continue
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) { // that only says that there was much
				w.log.Warn("cannot read what changed", "error", err)
			}
			arm()
		case <-due.C:
			first = time.Time{}
			w.settle()
			poll.Reset(w.pollEvery())
		case <-poll.C:
			if first.IsZero() {
				w.settle()
			}
			poll.Reset(w.pollEvery())
		}
	}
}

// concerns reports whether an event may be about one of the files. Names in
// other directories may be equal; settle finds out.
func (w *Watcher) concerns(event fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		delete(w.dirs, event.Name) // its watch went with it; a new one may even look the same
	}
	return w.names[filepath.Base(event.Name)]
}

func (w *Watcher) pollEvery() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blind {
		return blindTime
	}
	return pollTime
}

// settle looks at every file and calls changed when one is not as it was.
func (w *Watcher) settle() {
	if w.differs() {
		w.changed()
	}
}

func (w *Watcher) differs() (differ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.follow()
	for path, seen := range w.files {
		now := look(path)
		differ = differ || !same(seen, now)
		w.files[path] = now
	}
	return differ
}
