package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is wrapped by OpenContent for what is no regular file.
var ErrNotRegular = errors.New("is not a regular file")

// OpenContent opens a regular file for reading; links are followed, within the root when there is one. real is its path
// on the machine with all links resolved. What is no regular file is not even opened: opening a device may do something.
func (m *Machine) OpenContent(name string) (f *os.File, real string, err error) {
	if err := m.gate(OpOpen, name); err != nil {
		return nil, "", err
	}
	if m.confined != nil {
		return m.openConfined(name)
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &fs.PathError{Op: string(OpOpen), Path: name, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, "", &fs.PathError{Op: string(OpStat), Path: name, Err: err}
	}
	if infoOf(&st).Type != 0 {
		return nil, "", fmt.Errorf("%s %w", name, ErrNotRegular)
	}
	at := "/proc/self/fd/" + strconv.Itoa(fd)
	if real, err = os.Readlink(at); err != nil {
		return nil, "", fmt.Errorf("find the place of %s: %w", name, err)
	}
	again, err := unix.Open(at, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) // the very file that was looked at
	if err != nil {
		return nil, "", &fs.PathError{Op: string(OpOpen), Path: name, Err: err}
	}
	return os.NewFile(uintptr(again), name), real, nil
}

func (m *Machine) openConfined(name string) (f *os.File, real string, err error) {
	info, err := m.confined.Stat(relative(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", name, ErrNotRegular)
	}
	if err != nil {
		return nil, "", onMachine(name, err)
	}
	if f, err = m.confined.OpenFile(relative(name), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return nil, "", onMachine(name, err)
	}
	if real, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); err != nil {
		real = filepath.Join(m.root, name)
	}
	return f, real, nil
}

// onMachine is an error of the root as one of the machine: it names the path that was asked for.
func onMachine(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: string(OpOpen), Path: name, Err: p.Err}
	}
	return err
}
