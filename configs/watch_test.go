package configs

// Watching real files, and, in fake time, when changes are told.

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long a test waits for the kernel: well below pollTime, so that
// looking now and then is not what passes it.
const soon = pollTime / 2

// watched is a Watcher and how often it told of changes.
type watched struct {
	*Watcher
	t     *testing.T
	calls atomic.Int64
}

func watch(t *testing.T, path string) *watched {
	t.Helper()
	w := &watched{t: t}
	var err error
	w.Watcher, err = Watch(path, func() { w.calls.Add(1) }, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// tells does something and waits until it is told.
func (w *watched) tells(what string, do func()) {
	w.t.Helper()
	before := w.calls.Load()
	do()
	require.Eventually(w.t, func() bool { return w.calls.Load() > before }, soon, 5*time.Millisecond, what)
	w.settled()
}

// settled waits until the last state of the files is known: what a slow
// machine spreads over several events may be told more than once.
func (w *watched) settled() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for path, seen := range w.files {
			if !same(seen, look(path)) {
				return false
			}
		}
		return true
	}, soon, 5*time.Millisecond)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(path, 0o700))
	return path
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.Rename(from, to))
}

func TestWatchEdits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "helixflow.yaml")
	write(t, path, "1")
	w := watch(t, path)
	w.tells("written in place", func() { write(t, path, "22") })
	w.tells("replaced by a rename", func() {
		write(t, path+".new", "333")
		rename(t, path+".new", path)
	})
	w.tells("an editor's dance", func() {
		rename(t, path, path+"~")
		write(t, path, "4444")
		require.NoError(t, os.Chmod(path, 0o640))
		require.NoError(t, os.Remove(path+"~"))
	})
	w.tells("touched", func() {
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
	})
	w.tells("deleted", func() { require.NoError(t, os.Remove(path)) })
	w.tells("made again", func() { write(t, path, "55555") })
	w.tells("written again", func() { write(t, path, "666666") })
}

func TestWatchDirectories(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "etc", "helixflow")
	path := filepath.Join(dir, "helixflow.yaml")
	w := watch(t, path) // nothing of it exists
	w.tells("made with its directories", func() {
		mkdir(t, dir)
		write(t, path, "1")
	})
	w.tells("written", func() { write(t, path, "22") })
	w.tells("its directory deleted", func() { require.NoError(t, os.RemoveAll(dir)) })
	w.tells("its directory made again", func() {
		mkdir(t, dir)
		write(t, path, "333")
	})
	w.tells("written in the new directory", func() { write(t, path, "4444") })
	w.tells("its directory replaced by another", func() {
		other := mkdir(t, filepath.Join(root, "etc", "other"))
		write(t, filepath.Join(other, "helixflow.yaml"), "55555")
		rename(t, dir, dir+".old")
		rename(t, other, dir)
	})
	w.tells("written in the other directory", func() { write(t, path, "666666") })
}

// swapper does what a kubelet does when a ConfigMap or Secret changes: a new
// directory, then ..data renamed to it, then the old directory deleted
// (kubernetes/pkg/volume/util/atomic_writer.go).
type swapper struct {
	t       *testing.T
	volume  string
	current string
}

func (s *swapper) put(version string, files map[string]string) {
	s.t.Helper()
	dir := mkdir(s.t, filepath.Join(s.volume, "..2026_"+version))
	for name, text := range files {
		write(s.t, filepath.Join(dir, name), text)
		link := filepath.Join(s.volume, name)
		if _, err := os.Lstat(link); err != nil {
			require.NoError(s.t, os.Symlink(filepath.Join("..data", name), link))
		}
	}
	require.NoError(s.t, os.Symlink(filepath.Base(dir), filepath.Join(s.volume, "..data_tmp")))
	rename(s.t, filepath.Join(s.volume, "..data_tmp"), filepath.Join(s.volume, "..data"))
	if s.current != "" {
		require.NoError(s.t, os.RemoveAll(s.current))
	}
	s.current = dir
}

func TestWatchKubernetes(t *testing.T) {
	config := swapper{t: t, volume: mkdir(t, filepath.Join(t.TempDir(), "config"))}
	certs := swapper{t: t, volume: mkdir(t, filepath.Join(t.TempDir(), "certs"))}
	config.put("1", map[string]string{"helixflow.yaml": "1"})
	certs.put("1", map[string]string{"tls.crt": "1", "tls.key": "1"})
	w := watch(t, filepath.Join(config.volume, "helixflow.yaml"))
	w.SetPaths([]string{filepath.Join(certs.volume, "tls.crt"), filepath.Join(certs.volume, "tls.key")})
	for _, version := range []string{"2", "3", "4"} {
		w.tells("the ConfigMap, "+version, func() { config.put(version, map[string]string{"helixflow.yaml": "1"}) })
		w.tells("the Secret, "+version, func() { certs.put(version, map[string]string{"tls.crt": "1", "tls.key": "1"}) })
	}
}

func TestWatchLinks(t *testing.T) {
	root := t.TempDir()
	first, second := mkdir(t, filepath.Join(root, "first")), mkdir(t, filepath.Join(root, "second"))
	write(t, filepath.Join(first, "file"), "1")
	write(t, filepath.Join(second, "file"), "2")
	link := filepath.Join(root, "links", "dir")
	mkdir(t, filepath.Dir(link))
	require.NoError(t, os.Symlink("../first", link))
	w := watch(t, filepath.Join(link, "file"))
	w.tells("the file behind the link", func() { write(t, filepath.Join(first, "file"), "333") })
	w.tells("the link", func() {
		require.NoError(t, os.Remove(link))
		require.NoError(t, os.Symlink(second, link))
	})
	w.tells("the file behind the new link", func() { write(t, filepath.Join(second, "file"), "4444") })
}

func TestWatchSetPaths(t *testing.T) {
	dir := t.TempDir()
	main, cert, secret := filepath.Join(dir, "main"), filepath.Join(dir, "cert"), filepath.Join(mkdir(t, filepath.Join(dir, "run")), "secret")
	write(t, main, "1")
	write(t, cert, "1")
	w := watch(t, main)
	w.SetPaths([]string{cert, secret, cert})
	w.tells("another file", func() { write(t, cert, "22") })
	w.tells("a missing file comes", func() { write(t, secret, "22") })
	w.SetPaths([]string{secret, ""})
	w.tells("the other that stays", func() { write(t, secret, "333") })
	w.tells("the main file", func() { write(t, main, "22") })

	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotContains(t, w.files, cert)
	require.ElementsMatch(t, []string{dir, filepath.Dir(secret)}, w.notify.WatchList())
}

// TestWatchFromChanged: a reload sets the paths anew, from changed itself.
func TestWatchFromChanged(t *testing.T) {
	dir := t.TempDir()
	main, cert := filepath.Join(dir, "main"), filepath.Join(dir, "cert")
	write(t, main, "1")
	var w *Watcher
	ready, calls := make(chan struct{}), make(chan struct{}, 100)
	w, err := Watch(main, func() {
		<-ready
		w.SetPaths([]string{cert})
		calls <- struct{}{}
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	close(ready)
	for _, path := range []string{main, cert} {
		write(t, path, "22")
		select {
		case <-calls:
		case <-time.After(soon):
			t.Fatal("not told of " + path)
		}
	}
	w.Close()
	w.Close()
	require.Empty(t, calls)
}

// TestWatchCloseWaits: Close returns after the running call, and there is none
// after it.
func TestWatchCloseWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	entered, leave := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	w, err := Watch(path, func() {
		close(entered)
		<-leave
		left.Store(true)
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	write(t, path, "1")
	<-entered
	closed := make(chan bool)
	go func() {
		w.Close()
		closed <- left.Load()
	}()
	write(t, path, "22")
	close(leave)
	require.True(t, <-closed)
}

func TestTrace(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	mkdir(t, filepath.Join(root, "a", "b"))
	write(t, filepath.Join(root, "a", "b", "file"), "")
	for link, target := range map[string]string{
		"up": "a/b/../b", "absolute": filepath.Join(root, "up"), "loop": "loop", "chain": "absolute/", "dangling": "nowhere/x",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(root, link)))
	}
	f := func(path string, want ...string) {
		t.Helper()
		var got []string
		for _, name := range trace(filepath.Join(root, path)) {
			name, err := filepath.Rel(root, name)
			require.NoError(t, err)
			got = append(got, name)
		}
		assert.Equal(t, want, got)
	}
	f("a/b/file", "a/b/file")
	f("a/b/none", "a/b/none")
	f("a/none/none/none", "a/none")
	f("a/b/file/none", "a/b/file/none")
	f("up/file", "up", "a/b/file")
	f("absolute/file", "absolute", "up", "a/b/file")
	f("chain/file", "chain", "absolute", "up", "a/b/file")
	f("dangling", "dangling", "nowhere")
	require.Len(t, trace(filepath.Join(root, "loop")), maxHops+1)
}

// fake is a Watcher in a synctest bubble: its events come from the test.
type fake struct {
	*Watcher
	path  string
	event chan fsnotify.Event
	fail  chan error
	at    []time.Duration // when it told
}

// inFakeTime runs test in a bubble. blind is a machine without events.
func inFakeTime(t *testing.T, blind bool, test func(t *testing.T, f *fake)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &fake{path: filepath.Join(dir, "file"), event: make(chan fsnotify.Event), fail: make(chan error)}
		write(t, f.path, "")
		f.Watcher = newWatcher(f.path, func() { f.at = append(f.at, time.Since(began)) }, slog.New(slog.DiscardHandler))
		f.events, f.errors, f.blind = f.event, f.fail, blind
		f.watch(nil)
		go f.run()
		test(t, f)
		f.Close()
	})
}

// change makes the file another n times, each step later, and says so.
func (f *fake) change(t *testing.T, n int, step time.Duration) {
	t.Helper()
	for i := range n {
		write(t, f.path, strings.Repeat("x", i+1))
		f.event <- fsnotify.Event{Name: f.path, Op: fsnotify.Write}
		time.Sleep(step)
	}
	synctest.Wait()
}

func TestWatchDebounce(t *testing.T) {
	f := func(changes int, step time.Duration, want ...time.Duration) {
		t.Helper()
		inFakeTime(t, false, func(t *testing.T, f *fake) {
			f.change(t, changes, step)
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, want, f.at)
		})
	}
	const ms = time.Millisecond
	f(1, 0, 100*ms)
	f(5, 20*ms, 180*ms)           // 100 ms after the last
	f(20, 50*ms, 500*ms, 1000*ms) // never quiet: every 500 ms
	f(2, 150*ms, 100*ms, 250*ms)  // two changes
	f(3, 99*ms, 298*ms)           // just not quiet
	f(12, 99*ms, 500*ms, 1094*ms) // the second 500 ms begin with the event at 594
}

func TestWatchIgnores(t *testing.T) {
	inFakeTime(t, false, func(t *testing.T, f *fake) {
		f.event <- fsnotify.Event{Name: f.path, Op: fsnotify.Chmod} // nothing is different
		f.event <- fsnotify.Event{Name: filepath.Join(filepath.Dir(f.path), "other"), Op: fsnotify.Write}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Empty(t, f.at)
	})
}

func TestWatchPolls(t *testing.T) {
	f := func(blind bool, want time.Duration) {
		t.Helper()
		inFakeTime(t, blind, func(t *testing.T, f *fake) {
			write(t, f.path, "changed, and no event")
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Equal(t, []time.Duration{want}, f.at)
		})
	}
	f(false, pollTime)
	f(true, blindTime)
}

// TestWatchErrors: when events were lost, the files are looked at.
func TestWatchErrors(t *testing.T) {
	for _, err := range []error{fsnotify.ErrEventOverflow, errors.New("broken")} {
		inFakeTime(t, false, func(t *testing.T, f *fake) {
			write(t, f.path, "changed")
			f.fail <- err
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, []time.Duration{quietTime}, f.at)
			close(f.fail)
			close(f.event)
			synctest.Wait()
		})
	}
}
