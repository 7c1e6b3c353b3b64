package journal

import (
	"fmt"
	"io"
	"os"
)

// Disk is what the journal asks of the file system, so that a test can fail one exact call.
type Disk interface {
	ReadFile(name string) ([]byte, error)
	// OpenAppend opens a file for appending and makes it, readable by its owner only, when it is absent.
	OpenAppend(name string) (File, error)
	// Create makes an empty file for appending, in the place of any that is there.
	Create(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir puts the names of a directory on the disk.
	SyncDir(name string) error
}

// File is an open file of a Disk.
type File interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// OS is the real Disk.
type OS struct{}

// ReadFile reads a whole file.
func (OS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// OpenAppend opens or makes a file, mode 0600.
func (OS) OpenAppend(name string) (File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Create makes an empty file, mode 0600.
func (OS) Create(name string) (File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Rename puts from in the place of to.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir syncs a directory.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	err = d.Sync()
	if c := d.Close(); err == nil {
		err = c
	}
	return err
}
