package sys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Watch calls changed(name) whenever one of the names may have been written, replaced, made, removed
// or had its attributes changed, possibly too often. It watches the directories that hold the names;
// where one does not exist yet, the nearest above that does. It returns nil when ctx ends.
func (m *Machine) Watch(ctx context.Context, names []string, changed func(name string)) error {
	inotify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer inotify.Close()
	w := &watch{m: m, inotify: inotify, names: names, at: map[string]string{}, changed: changed}
	if err := w.place(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-inotify.Events:
			if !ok {
				return errors.New("watch files: the kernel's event queue was closed")
			}
			if err := w.event(e); err != nil {
				return err
			}
		case err, ok := <-inotify.Errors:
			if !ok {
				return errors.New("watch files: the kernel's event queue was closed")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch files: %w", err)
			}
			for _, name := range names { // events were lost: anything may have changed
				changed(name)
			}
			if err := w.place(); err != nil {
				return err
			}
		}
	}
}

type watch struct {
	m       *Machine
	inotify *fsnotify.Watcher
	names   []string
	at      map[string]string // name to the directory that is watched for it, both below the root
	changed func(name string)
}

// place puts a watch on the nearest existing directory of each name. The directory is looked for again
// after the watch is set, since a part of the path may appear in between.
func (w *watch) place() error {
	for _, name := range w.names {
		for range 16 { // a directory that is made and removed in turns gets the next event instead
			dir := w.nearest(path.Dir(name))
			if w.at[name] == dir && w.watched(dir) {
				break
			}
			moved := w.at[name] != ""
			err := w.inotify.Add(w.m.HostPath(dir))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			if err == nil {
				w.at[name] = dir
			}
			if moved {
				w.changed(name)
			}
		}
	}
	return w.tidy()
}

func (w *watch) watched(dir string) bool {
	host := w.m.HostPath(dir)
	for _, have := range w.inotify.WatchList() {
		if have == host {
			return true
		}
	}
	return false
}

// tidy ends the watches that no name needs any more.
func (w *watch) tidy() error {
	needed := map[string]bool{}
	for _, dir := range w.at {
		needed[w.m.HostPath(dir)] = true
	}
	for _, have := range w.inotify.WatchList() {
		if needed[have] {
			continue
		}
		if err := w.inotify.Remove(have); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			return fmt.Errorf("end the watch on %s: %w", have, err)
		}
	}
	return nil
}

func (w *watch) nearest(dir string) string {
	for dir != "/" && !w.m.isDir(dir) {
		dir = path.Dir(dir)
	}
	return dir
}

func (w *watch) event(e fsnotify.Event) error {
	host := filepath.Clean(e.Name)
	again := false
	for _, name := range w.names {
		target := w.m.HostPath(name)
		if host == target {
			w.changed(name)
		}
		if host == target || strings.HasPrefix(target, host+"/") || host == w.m.HostPath(w.at[name]) {
			again = true
		}
	}
	if !again || e.Op == fsnotify.Write || e.Op == fsnotify.Chmod {
		return nil
	}
	return w.place()
}

func (m *Machine) isDir(name string) bool {
	var info os.FileInfo
	var err error
	if m.confined != nil {
		info, err = m.confined.Stat(relative(name))
	} else {
		info, err = os.Stat(name)
	}
	return err == nil && info.IsDir()
}
