package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/muster-hq/muster/fsm/model"
)

// Write writes the tree into a folder, which is made if it is missing. A folder that holds something is refused with
// model.Conflict unless replace is given: then what an export wrote there is removed first, and all else stays. private
// makes files and folders that only their owner reads, for trees with secrets.
func (t *Tree) Write(dir string, replace, private bool) error {
	w := &writer{file: 0o644, dir: 0o755}
	if private {
		w.file, w.dir = 0o600, 0o700
	}
	if err := os.MkdirAll(dir, w.dir); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	w.root = root
	if err := w.clear(dir, replace); err != nil {
		return err
	}
	for _, o := range t.Objects {
		if err := w.object(o); err != nil {
			return fmt.Errorf("%s in %s: %w", o.Title(), dir, err)
		}
	}
	return nil
}

type writer struct {
	root      *os.Root
	file, dir fs.FileMode
}

// clear makes room, or refuses.
func (w *writer) clear(dir string, replace bool) error {
	f, err := w.root.Open(".")
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read the folder: %w", err)
	}
	for _, name := range names {
		if !isLeft(name) && !replace {
			return model.Errorf(model.Conflict, "%s is not empty: choose another folder, or replace what it holds (--force)", dir)
		}
	}
	ours := []string{definition}
	for _, k := range organizationKind().under {
		ours = append(ours, k.dir)
	}
	for _, name := range ours {
		if err := w.root.RemoveAll(name); err != nil {
			return fmt.Errorf("make room in the folder: %w", err)
		}
	}
	return nil
}

// home is the folder of an object on disk.
func home(o *Object) string {
	switch {
	case o.parent == nil:
		return ""
	case o.kind.set || o.kind.file == "":
		return home(o.parent)
	}
	return path.Join(home(o.parent), o.kind.dir, fileName(o.name()))
}

func (w *writer) object(o *Object) error {
	at := home(o)
	file := path.Join(at, o.kind.file)
	if o.kind.file == "" {
		file = path.Join(at, o.kind.dir, fileNameEnding(o.name(), ".json"))
	}
	if err := w.document(file, o.raw); err != nil {
		return err
	}
	for _, k := range o.kind.under { // so that an empty collection is known to be empty
		if !k.set {
			if err := w.root.MkdirAll(path.Join(at, k.dir), w.dir); err != nil {
				return err
			}
		}
	}
	if o.Instance != nil {
		b, err := json.Marshal(o.Instance)
		if err == nil {
			err = w.document(path.Join(at, "instance.json"), b)
		}
		if err != nil {
			return err
		}
	}
	if o.kind.kit == "" {
		return nil
	}
	if err := w.root.MkdirAll(path.Join(at, "files"), w.dir); err != nil {
		return err
	}
	for name, content := range o.Contents {
		if err := model.CheckStoredName("file", name); err != nil {
			return err
		}
		if err := w.plain(path.Join(at, "files", fileName(name)), content); err != nil {
			return err
		}
	}
	if o.Thumb != nil {
		return w.plain(path.Join(at, "thumb"), o.Thumb)
	}
	return nil
}

// document writes JSON indented by four, as the published client does.
func (w *writer) document(file string, doc []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(doc), "", "    "); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	b.WriteByte('\n')
	return w.plain(file, b.Bytes())
}

// plain writes a new file.
func (w *writer) plain(file string, content []byte) error {
	if err := w.root.MkdirAll(path.Dir(file), w.dir); err != nil {
		return err
	}
	f, err := w.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, w.file)
	if errors.Is(err, fs.ErrExist) {
		return model.Errorf(model.Conflict, "%s is there already: two names differ only in what this file system does not tell apart", file)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
