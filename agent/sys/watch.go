package sys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
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
	w := &watch{m: m, inotify: inotify, changed: changed}
	for _, name := range names {
		w.targets = append(w.targets, &target{name: name, host: m.HostPath(name)})
	}
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
	targets []*target
	changed func(name string)
}

// target is a name and where it is watched; host and at are paths as the host sees them.
type target struct{ name, host, at string }

// place puts a watch on the nearest existing directory of each name. The directory is looked for again
// after the watch is set, since a part of the path may appear in between.
func (w *watch) place() error {
	set := map[string]bool{}
	for _, have := range w.inotify.WatchList() {
		set[have] = true
	}
	for _, t := range w.targets {
		for range 16 { // a directory that is made and removed in turns gets the next event instead
			dir := w.m.HostPath(w.nearest(path.Dir(t.name)))
			if t.at == dir && set[dir] {
				break
			}
			err := w.inotify.Add(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			if t.at != "" {
				w.changed(t.name)
			}
			if err == nil {
				t.at, set[dir] = dir, true
			}
		}
	}
	return w.tidy(set)
}

// tidy ends the watches that no name needs any more.
func (w *watch) tidy(set map[string]bool) error {
	for _, t := range w.targets {
		delete(set, t.at)
	}
	for dir := range set {
		if err := w.inotify.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			return fmt.Errorf("end the watch on %s: %w", dir, err)
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
	moved := false
	for _, t := range w.targets {
		if e.Name == t.host {
			w.changed(t.name)
		}
		moved = moved || e.Name == t.host || e.Name == t.at || strings.HasPrefix(t.host, e.Name+"/")
	}
	if !moved || e.Op&^(fsnotify.Write|fsnotify.Chmod) == 0 {
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
