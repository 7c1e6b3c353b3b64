package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/dispatch/wire"
)

// FakeDisk is the real disk until its count of calls is used up; then one call, or every call, fails.
// A failed write leaves half of its bytes, as a full disk does.
type FakeDisk struct {
	OS
	calls   int
	failAt  int  // 0: never
	forever bool // all calls from failAt on
}

var errFull = fmt.Errorf("fake: %w", syscall.ENOSPC)

func (d *FakeDisk) fails() bool {
	d.calls++
	return d.failAt > 0 && (d.calls == d.failAt || d.forever && d.calls > d.failAt)
}

func (d *FakeDisk) OpenAppend(name string) (File, error) {
	f, err := d.OS.OpenAppend(name)
	return &fakeFile{f, d}, err
}

func (d *FakeDisk) Create(name string) (File, error) {
	if d.fails() {
		return nil, errFull
	}
	f, err := d.OS.Create(name)
	return &fakeFile{f, d}, err
}

func (d *FakeDisk) Rename(from, to string) error {
	if d.fails() {
		return errFull
	}
	return d.OS.Rename(from, to)
}

func (d *FakeDisk) SyncDir(name string) error {
	if d.fails() {
		return errFull
	}
	return d.OS.SyncDir(name)
}

type fakeFile struct {
	File
	d *FakeDisk
}

func (f *fakeFile) Write(p []byte) (int, error) {
	if f.d.fails() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errFull
	}
	return f.File.Write(p)
}

func (f *fakeFile) Sync() error {
	if f.d.fails() {
		return errFull
	}
	return f.File.Sync()
}

func (f *fakeFile) Truncate(size int64) error {
	if f.d.fails() {
		return errFull
	}
	return f.File.Truncate(size)
}

// work does some calls on a journal and returns how many of the orders were said to be accepted.
func work(j *Journal) (accepted []string, err error) {
	for n := 1; n <= 12; n++ {
		o := makeOrder(n, 1)
		if e := j.Accept(o, seenAt(o)); e != nil {
			err = e
			continue
		}
		accepted = append(accepted, o.ID)
		if r, e := j.Finish(wire.Reply{Order: o.ID, Final: true}, nil); e == nil && n%2 == 0 {
			_ = j.Receipt([]uint64{r.Sequence})
		}
	}
	return accepted, err
}

// Every call to the disk fails in turn, once or for good: what was said to be kept is there when the
// journal is opened again, and what was refused is not.
func TestAnyDiskCallMayFail(t *testing.T) {
	probe := &FakeDisk{}
	j := open(t, t.TempDir(), Options{Disk: probe, CompactAt: 1500})
	if _, err := work(j); err != nil {
		t.Fatal(err)
	}
	total := probe.calls
	for _, forever := range []bool{false, true} {
		for at := 3; at <= total; at++ { // the first two make the file
			dir := t.TempDir()
			disk := &FakeDisk{}
			j, err := Open(dir, Options{Disk: disk, CompactAt: 1500})
			if err != nil {
				t.Fatal(err)
			}
			disk.failAt, disk.forever = at, forever
			accepted, failed := work(j)
			_ = j.Close()
			j, err = Open(dir, Options{})
			if err != nil {
				t.Fatalf("call %d failed (%v, for good %v): %v", at, failed, forever, err)
			}
			known := map[string]bool{}
			for _, id := range accepted {
				known[id] = true
			}
			broken := errors.Is(failed, ErrBroken)
			for _, id := range accepted {
				if !j.Known(id) {
					t.Errorf("call %d failed (for good %v): %s was accepted and is gone", at, forever, id)
				}
			}
			for n := 1; n <= 12; n++ {
				id := makeOrder(n, 1).ID
				if j.Known(id) && !known[id] && !broken {
					t.Errorf("call %d failed: %s was refused but is there", at, id)
				}
			}
			_ = j.Close()
		}
	}
}

func TestFullDiskThenFree(t *testing.T) {
	dir := t.TempDir()
	disk := &FakeDisk{}
	j := open(t, dir, Options{Disk: disk})
	disk.failAt = disk.calls + 1
	if err := j.Accept(makeOrder(1, 1), seenAt(makeOrder(1, 1))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk is to be told, not %v", err)
	}
	if j.Known("order-1") || j.Fence(wire.LaneChanges) != (Fence{}) {
		t.Error("an order that could not be kept counts as accepted")
	}
	check(t, j.Accept(makeOrder(1, 1), seenAt(makeOrder(1, 1))))
	check(t, j.Close())
	if j = open(t, dir, Options{}); !j.Known("order-1") {
		t.Error("the order is gone")
	}
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		if _, err := Open(filepath.Join(t.TempDir(), "absent"), Options{}); err == nil {
			t.Fatal("a journal opened in a directory that does not exist")
		}
		return
	}
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o500))
	if _, err := Open(dir, Options{}); err == nil {
		t.Fatal("a journal opened in a directory that cannot be written")
	}
}
