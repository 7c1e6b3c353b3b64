package sys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what Lstat tells.
type Info struct {
	Type     fs.FileMode // the type bits only; 0 is a regular file
	Perm     uint32      // the twelve permission bits as chmod takes them
	UID, GID uint32
	Size     int64
	Modified time.Time
	Changed  time.Time // of the inode (ctime)
}

// Attr is how WriteFile and Mkdir make something. An UID or GID of -1 leaves the process's own.
type Attr struct {
	Perm     uint32
	UID, GID int
}

// openDir follows links in name, within the root when there is one.
func (m *Machine) openDir(name string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if m.confined != nil {
		return m.confined.OpenFile(relative(name), flags, 0)
	}
	return os.OpenFile(name, flags, 0)
}

// at calls do with the descriptor of name's directory and the last part of name. Whatever do does, it
// must not follow a link at that last part.
func (m *Machine) at(op Op, name string, do func(dir int, base string) error) error {
	if err := m.gate(op, name); err != nil {
		return err
	}
	dir, err := m.openDir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := do(int(dir.Fd()), path.Base(name)); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// Lstat describes name itself, not what a link points to. The error wraps fs.ErrNotExist when there is
// nothing, also when a directory on the way is missing.
func (m *Machine) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := m.at(OpStat, name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, err
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	i := Info{Perm: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Size: st.Size,
		Modified: time.Unix(st.Mtim.Unix()), Changed: time.Unix(st.Ctim.Unix())}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		i.Type = fs.ModeDir
	case unix.S_IFLNK:
		i.Type = fs.ModeSymlink
	case unix.S_IFIFO:
		i.Type = fs.ModeNamedPipe
	case unix.S_IFSOCK:
		i.Type = fs.ModeSocket
	default:
		i.Type = fs.ModeDevice
	}
	return i
}

// Open opens a regular file for reading without following a link and without waiting on a pipe.
func (m *Machine) Open(name string) (io.ReadCloser, error) {
	var f *os.File
	err := m.at(OpOpen, name, func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("is not a regular file")
		}
		if err != nil {
			f.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Digest is the SHA-256 of a regular file's content, in hex.
func (m *Machine) Digest(name string) (string, error) {
	f, err := m.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// WriteFile replaces name by a regular file of this content, or does nothing: the content is written
// beside it, owned, moded and flushed, then renamed over it. A link at name is replaced, not followed.
// A file that an earlier, interrupted call left beside it is taken away.
func (m *Machine) WriteFile(name string, content []byte, a Attr) error {
	dir, err := m.openDir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	w := writer{m: m, dir: int(dir.Fd()), base: path.Base(name), name: name}
	sum := sha256.Sum256([]byte(w.base))
	w.temp = ".muster-" + hex.EncodeToString(sum[:8])
	if err := w.write(content, a); err != nil {
		_ = unix.Unlinkat(w.dir, w.temp, 0) // the error that counts is the first
		return err
	}
	return nil
}

type writer struct {
	m                *Machine
	dir              int
	base, temp, name string
}

func (w writer) step(op Op, do func() error) error {
	if err := w.m.gate(op, w.name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return &fs.PathError{Op: string(op), Path: w.name, Err: err}
	}
	return nil
}

func (w writer) write(content []byte, a Attr) error {
	var f *os.File
	err := w.step(OpCreate, func() error {
		if err := unix.Unlinkat(w.dir, w.temp, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// 0600 until the owner is right: the content may be secret.
		fd, err := unix.Openat(w.dir, w.temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			f = os.NewFile(uintptr(fd), w.name)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	steps := []struct {
		op Op
		do func() error
	}{
		{OpWrite, func() error { _, err := f.Write(content); return bare(err) }},
		{OpChown, func() error {
			if a.UID < 0 && a.GID < 0 {
				return nil
			}
			return bare(f.Chown(a.UID, a.GID))
		}},
		// After chown, which takes setuid and setgid away.
		{OpChmod, func() error { return unix.Fchmod(int(f.Fd()), a.Perm) }},
		{OpSync, func() error { return bare(f.Sync()) }},
		{OpRename, func() error { return unix.Renameat(w.dir, w.temp, w.dir, w.base) }},
		{OpSyncDir, func() error { return unix.Fsync(w.dir) }},
	}
	for _, s := range steps {
		if err := w.step(s.op, s.do); err != nil {
			return err
		}
	}
	return nil
}

// bare takes off the name of the file, which step puts on again.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Chmod sets the twelve permission bits of a file or directory, not of what a link points to.
func (m *Machine) Chmod(name string, perm uint32) error {
	return m.at(OpChmod, name, func(dir int, base string) error {
		fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return unix.ELOOP
		}
		// A descriptor opened by O_PATH takes no fchmod; its entry in /proc is the same inode.
		return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), perm)
	})
}

// Chown sets owner and group of name itself; -1 leaves one as it is.
func (m *Machine) Chown(name string, uid, gid int) error {
	return m.at(OpChown, name, func(dir int, base string) error {
		return unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Mkdir makes one directory with exactly these attributes, whatever the umask.
func (m *Machine) Mkdir(name string, a Attr) error {
	err := m.at(OpMkdir, name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, a.Perm&0o700)
	})
	if err != nil {
		return err
	}
	if a.UID >= 0 || a.GID >= 0 {
		if err := m.Chown(name, a.UID, a.GID); err != nil {
			return err
		}
	}
	return m.Chmod(name, a.Perm)
}

// MkdirAll makes name and what is missing above it, with mode 0755. Links to directories count as
// directories.
func (m *Machine) MkdirAll(name string) error {
	dir, err := m.openDir(name)
	if err == nil {
		return dir.Close()
	}
	if name == "/" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := m.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	err = m.Mkdir(name, Attr{Perm: 0o755, UID: -1, GID: -1})
	if errors.Is(err, fs.ErrExist) { // another resource's worker was faster, or a link that leads nowhere
		if dir, err = m.openDir(name); err == nil {
			return dir.Close()
		}
	}
	return err
}

// Remove takes away a file or an empty directory; a link itself, not its target.
func (m *Machine) Remove(name string) error {
	return m.at(OpRemove, name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if errors.Is(err, unix.EISDIR) {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		if err != nil {
			return err
		}
		return unix.Fsync(dir)
	})
}
