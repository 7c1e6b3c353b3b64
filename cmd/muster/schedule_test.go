package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/state"
)

// TestScheduledSnapshots writes snapshots at a short interval: each is whole, the oldest go, what is not ours stays,
// and the status tells the last one.
func TestScheduledSnapshots(t *testing.T) {
	t.Parallel()
	n := newNode(t, "n1", "--snapshot-every", "100ms", "--snapshot-keep", "3")
	dir := filepath.Join(n.data, "snapshots")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, other := filepath.Join(dir, "muster-n1-20200101T000000.000Z.snapshot"), filepath.Join(dir, "muster-n2-20200101T000000.000Z.snapshot")
	left, others := filepath.Join(dir, ".muster-n1-new-123"), filepath.Join(dir, ".muster-n1-new-new-123")
	for _, path := range []string{old, other, left, others} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.start().waitLogin(n.passwordFile())
	mine := func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "muster-n1-*.snapshot"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	first := ""
	eventually(t, "a snapshot", func() bool {
		for _, f := range mine() {
			if f != old {
				first = f
			}
		}
		return first != ""
	})
	eventually(t, "the oldest to go", func() bool {
		_, err1 := os.Stat(old)
		_, err2 := os.Stat(first)
		return os.IsNotExist(err1) && os.IsNotExist(err2)
	})
	eventually(t, "the status to tell it", func() bool {
		b := n.status(n.passwordFile()).Backup
		return b != nil && b.Error == "" && strings.HasPrefix(b.File, dir) && b.Bytes > 0
	})
	n.stop()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a killed node left unfinished: %v", err)
	}
	if _, err := os.Stat(others); err != nil {
		t.Errorf("what another node is writing: %v", err)
	}
	files := mine()
	if len(files) != 3 {
		t.Errorf("%d snapshots are kept: %v", len(files), files)
	}
	for _, f := range files {
		if _, errs, code := muster(t, "snapshot", "verify", f); code != exitDone {
			t.Errorf("%s: %s", f, errs)
		}
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, st.Mode(), err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another node's: %v", err)
	}
}

func TestPruneByAge(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	for _, age := range []time.Duration{0, 24, 48, 72} {
		name := "muster-n1-" + now.Add(-age*time.Hour).Format(backupTime) + backupEnd
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &backups{dir: dir, keep: 10, age: 30 * time.Hour, name: "n1"}
	if err := b.prune(now); err != nil || len(b.list()) != 2 {
		t.Errorf("%d are left, %v", len(b.list()), err)
	}
	if err := b.prune(now.Add(1000 * time.Hour)); err != nil || len(b.list()) != 1 {
		t.Errorf("%d are left of which all are old, %v", len(b.list()), err)
	}
}

// emptyState gives snapshots of nothing.
type emptyState struct{ t *testing.T }

func (e emptyState) SaveSnapshot(_ context.Context, w io.Writer) (state.SnapshotInfo, error) {
	st, err := state.NewStore(state.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	sn := st.Snapshot()
	defer sn.Release()
	return sn.Info(), sn.Write(w)
}

// TestSnapshotsPauseWhileTheDiskIsNearlyFull: none is written then, the status says why, the log once; with room again
// they go on.
func TestSnapshotsPauseWhileTheDiskIsNearlyFull(t *testing.T) {
	free, log := int64(10<<30), &output{}
	b := &backups{
		dir: filepath.Join(t.TempDir(), "snapshots"), every: time.Hour, keep: 5, name: "n1", node: emptyState{t}, log: slog.New(slog.NewTextHandler(log, nil)),
		space: func(string) (int64, int64, error) { return free, 100 << 30, nil },
	}
	turns := func(want time.Duration, files int) {
		t.Helper()
		if next := b.turn(t.Context()); next != want || len(b.list()) != files {
			t.Errorf("the next one comes in %s, and %d are there; the status is %+v", next, len(b.list()), b.last.Load())
		}
	}
	turns(time.Hour, 1)
	first := b.last.Load()
	if first.Error != "" || first.File == "" {
		t.Errorf("the status is %+v", first)
	}
	free = 64<<20 + 10 // not nearly full before the next one is written
	for range 3 {
		turns(time.Minute, 1)
	}
	if last := b.last.Load(); !strings.Contains(last.Error, "make room") || last.File != first.File {
		t.Errorf("the status is %+v", last)
	}
	if n := strings.Count(log.String(), "are paused"); n != 1 {
		t.Errorf("the log says %d times that they are paused:\n%s", n, log)
	}
	free = 10 << 30
	turns(time.Hour, 2)
	if last := b.last.Load(); last.Error != "" || last.File == first.File {
		t.Errorf("the status is %+v", last)
	}
}

// TestSnapshotsThatCannotBeRemovedAreTold: the new one counts, and the status says what is wrong.
func TestSnapshotsThatCannotBeRemovedAreTold(t *testing.T) {
	b := &backups{dir: t.TempDir(), every: time.Hour, keep: 1, name: "n1", node: emptyState{t}, log: slog.New(slog.DiscardHandler), space: cluster.DiskSpace}
	stuck := filepath.Join(b.dir, "muster-n1-20200101T000000.000Z.snapshot", "file") // a folder with something in it
	if err := os.MkdirAll(stuck, 0o700); err != nil {
		t.Fatal(err)
	}
	if next := b.turn(t.Context()); next != time.Hour {
		t.Errorf("the next one comes in %s", next)
	}
	last := b.last.Load()
	if last == nil || last.File == "" || !strings.Contains(last.Error, "removing old snapshots") {
		t.Fatalf("the status is %+v", last)
	}
	if _, err := os.Stat(last.File); err != nil {
		t.Error(err)
	}
}
