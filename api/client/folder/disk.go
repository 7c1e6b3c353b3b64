package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
)

// What a folder may hold. The server takes less; these keep a hostile folder from filling the memory.
const (
	maxDocument = 16 << 20  // bytes of a document
	maxContent  = 64 << 20  // bytes of a file's content
	maxAll      = 512 << 20 // bytes of all
	maxEntries  = 200_000   // files and folders
)

// Read reads a folder. Errors have code model.Invalid and name the file, and where it is no JSON its line.
func Read(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, model.Errorf(model.Invalid, "the folder cannot be read: %s", err)
	}
	defer func() { _ = root.Close() }()
	r := &reader{seen: map[place]bool{}, root: root, dir: dir, tree: newTree("")}
	org := &Object{kind: organizationKind(), Doc: ordered.New()}
	if doc, err := r.document(definition); err == nil {
		if err := r.adopt(org, doc, definition); err != nil {
			return nil, err
		}
		r.tree.Organization, _ = doc.Get("name").(string)
		r.tree.Objects = append(r.tree.Objects, org)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := r.below(org, ""); err != nil {
		return nil, err
	}
	if len(r.tree.Objects) == 0 {
		return nil, model.Errorf(model.Invalid, "%s holds nothing that muster export would write: neither %s nor a folder like applications or environments", dir, definition)
	}
	return r.tree, nil
}

// place is what no two objects share.
type place struct {
	parent *Object
	kind   *kind
	path   string
}

type reader struct {
	seen    map[place]bool
	root    *os.Root
	dir     string
	tree    *Tree
	bytes   int64
	entries int
}

func (r *reader) fault(at, format string, args ...any) error {
	return model.Errorf(model.Invalid, "%s: %s", path.Join(r.dir, at), fmt.Sprintf(format, args...))
}

// below reads the collections below an object whose folder is at.
func (r *reader) below(parent *Object, at string) error {
	for _, k := range parent.kind.under {
		if err := r.collection(parent, k, at); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) collection(parent *Object, k *kind, at string) error {
	if k.set {
		return r.one(parent, k, path.Join(at, k.file), at)
	}
	dir := path.Join(at, k.dir)
	names, err := r.list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.tree.whole[collectionOf(parent, k)] = true
	for _, name := range names {
		at := path.Join(dir, name)
		if k.file == "" {
			if !strings.HasSuffix(name, ".json") {
				if isLeft(name) {
					continue
				}
				return r.fault(at, "only files NAME.json belong here: remove it")
			}
			if err := r.one(parent, k, at, ""); err != nil {
				return err
			}
			continue
		}
		info, err := r.root.Lstat(at)
		if err != nil {
			return r.readError(at, err)
		}
		if !info.IsDir() {
			if isLeft(name) {
				continue
			}
			return r.fault(at, "this must be a folder with %s, not a %s", k.file, what(info))
		}
		if err := r.one(parent, k, path.Join(at, k.file), at); err != nil {
			return err
		}
	}
	return nil
}

// one reads one object and what lies below it.
func (r *reader) one(parent *Object, k *kind, file, below string) error {
	doc, err := r.document(file)
	if errors.Is(err, fs.ErrNotExist) {
		if k.set {
			if v, ok := parent.Doc.ValueForKey(k.id); ok && (v == nil || v == "") {
				r.tree.whole[collectionOf(parent, k)] = true // the host's document says that it has none
			}
			return nil
		}
		if isLeft(path.Base(below)) {
			return nil
		}
		return r.fault(file, "the file is missing: every object has one")
	}
	if err != nil {
		return err
	}
	o := &Object{kind: k, parent: parent}
	if err := r.adopt(o, doc, file); err != nil {
		return err
	}
	at := place{parent, k, o.Path()}
	if r.seen[at] {
		return r.fault(file, "another file describes %s, too: remove one", o.Title())
	}
	r.seen[at] = true
	r.tree.Objects = append(r.tree.Objects, o)
	if k.kit != "" {
		if err := r.contents(o, below); err != nil {
			return err
		}
	}
	if k.set {
		return nil
	}
	return r.below(o, below)
}

// adopt gives an object its document and its name.
func (r *reader) adopt(o *Object, doc *ordered.Object, file string) error {
	name, ok := doc.Get(o.kind.id).(string)
	if !ok {
		return r.fault(file, "%q is missing: it must be a text, the name", o.kind.id)
	}
	if err := model.CheckStoredName(o.kind.word, name); err != nil {
		return r.fault(file, "%s", err)
	}
	o.Doc = doc
	if o.parent != nil {
		o.names = slices.Clone(o.parent.names)
		if !o.kind.set {
			o.names = append(o.names, name)
		}
	}
	for _, list := range []string{"settings", "files", "parameters"} {
		if err := r.checkList(o, list, file); err != nil {
			return err
		}
	}
	return nil
}

// checkList refuses an embedded list whose items have no names, or the same.
func (r *reader) checkList(o *Object, list, file string) error {
	v, ok := o.Doc.ValueForKey(list)
	if !ok || v == nil {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		return r.fault(file, "%q must be a list", list)
	}
	seen := map[string]bool{}
	for i, it := range items {
		name, _ := field(it, idOf(list)).(string)
		if name == "" || seen[name] {
			return r.fault(file, "item %d of %q needs a %q of its own", i+1, list, idOf(list))
		}
		seen[name] = true
	}
	return nil
}

// idOf is the field that names the items of an embedded list.
func idOf(list string) string {
	if list == "settings" {
		return "key"
	}
	return "name"
}

// contents reads the contents of an object's files, and its picture.
func (r *reader) contents(o *Object, at string) error {
	o.Contents = map[string][]byte{}
	dir := path.Join(at, "files")
	names, err := r.list(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	known := map[string]string{}
	for n := range embedded(o.Doc, "files") {
		known[fileName(n)] = n
	}
	for _, local := range names {
		name := known[local]
		if name == "" && isLeft(local) {
			continue
		}
		if name == "" {
			return r.fault(path.Join(dir, local), "%s has no file of this name: add it to \"files\", or remove it", o.Title())
		}
		if o.Contents[name], err = r.file(path.Join(dir, local), maxContent); err != nil {
			return err
		}
	}
	if !o.kind.thumb {
		return nil
	}
	o.Thumb, err = r.file(path.Join(at, "thumb"), maxContent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// list are the names in a folder but for hidden ones, sorted. The folder itself must be no link.
func (r *reader) list(dir string) ([]string, error) {
	info, err := r.root.Lstat(dir)
	if err != nil {
		return nil, r.readError(dir, err)
	}
	if !info.IsDir() {
		return nil, r.fault(dir, "this must be a folder, not a %s", what(info))
	}
	f, err := r.root.Open(dir)
	if err != nil {
		return nil, r.readError(dir, err)
	}
	defer func() { _ = f.Close() }()
	all, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, r.readError(dir, err)
	}
	if r.entries += len(all); r.entries > maxEntries {
		return nil, r.fault(dir, "the folder holds more than %d files", maxEntries)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// isLeft tells what other tools leave in folders. An object may have such a name, too: then it has a document.
func isLeft(name string) bool {
	return slices.Contains([]string{".git", ".gitkeep", ".gitignore", ".gitattributes", ".DS_Store", ".svn"}, name)
}

func (r *reader) document(file string) (*ordered.Object, error) {
	b, err := r.file(file, maxDocument)
	if err != nil {
		return nil, err
	}
	doc, err := ordered.DecodeObject(b)
	if err != nil {
		return nil, r.fault(file, "%s", err)
	}
	return doc, nil
}

// file reads a plain file.
func (r *reader) file(name string, limit int64) ([]byte, error) {
	info, err := r.root.Lstat(name)
	if err != nil {
		return nil, r.readError(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, r.fault(name, "this must be a plain file, not a %s", what(info))
	}
	f, err := r.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, r.readError(name, err)
	}
	defer func() { _ = f.Close() }()
	// It may have been replaced meanwhile.
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return nil, r.fault(name, "the file changed while it was read: try again")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, r.readError(name, err)
	}
	r.bytes += int64(len(b))
	if int64(len(b)) > limit || r.bytes > maxAll {
		return nil, r.fault(name, "the file has more than %d bytes, or all together more than %d", limit, maxAll)
	}
	return b, nil
}

// readError is an error of the file system; that something does not exist can still be asked of it.
func (r *reader) readError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path.Join(r.dir, name), err)
	}
	return r.fault(name, "%s", err)
}

func what(info fs.FileInfo) string {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return "symbolic link"
	case info.IsDir():
		return "folder"
	case info.Mode().IsRegular():
		return "plain file"
	}
	return "device or pipe"
}

// fileName is what a name is called on disk: the name itself wherever the system takes it. A name that it does not take
// is escaped with %, which no name holds.
func fileName(name string) string { return fileNameOn(runtime.GOOS, name, "") }

// fileNameEnding is the same with an ending.
func fileNameEnding(name, ending string) string { return fileNameOn(runtime.GOOS, name, ending) }

// maxFileName is the longest name of a file, in bytes.
const maxFileName = 255

func fileNameOn(system, name, ending string) string {
	if system == "windows" {
		name = windowsName(name)
	}
	if len(name)+len(ending) <= maxFileName {
		return name + ending
	}
	short := name[:maxFileName-len(ending)-17]
	return fmt.Sprintf("%s%%%016x%s", strings.ToValidUTF8(short, ""), hash(name), ending)
}

// hash tells long names apart (FNV-1a).
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// windowsName escapes what Windows refuses: some signs, a dot at the end, and the names of devices.
func windowsName(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		if strings.IndexByte(`<>:"\|?*`, c) >= 0 || c == '.' && i == len(name)-1 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	out := b.String()
	base, _, _ := strings.Cut(strings.ToUpper(out), ".")
	base = strings.TrimRight(base, " ")
	if slices.Contains([]string{"CON", "PRN", "AUX", "NUL"}, base) ||
		len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) && base[3] >= '0' && base[3] <= '9' {
		return fmt.Sprintf("%%%02X%s", out[0], out[1:])
	}
	return out
}
