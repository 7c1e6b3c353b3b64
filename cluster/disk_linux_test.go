package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"golang.org/x/sys/unix"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// smallDisk mounts a file system of a few MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mounting a small disk: %v", err)
		}
		t.Skipf("a small disk cannot be mounted here (root is needed): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// fill takes what is free on a disk, by a file that it names.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	return path
}

// fat is an increment that costs disk.
func fat(n *cluster.Node, t *testing.T, key string, v int) error {
	t.Helper()
	return n.Update(t.Context(), put(key+strings.Repeat("-", 8<<10), v))
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	stores(t, testFullDisk)
}

func testFullDisk(t *testing.T, store string) {
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprint("leader ", leads), func(t *testing.T) {
			disk := smallDisk(t)
			const full = 1
			c := clustertest.New(t, 3, clustertest.WithStore(store), clustertest.WithConfig(func(i int, cfg *cluster.Config) {
				if i == full {
					cfg.DataDir = filepath.Join(disk, "data")
				}
			}))
			to := c.Node(full).Name()
			if !leads {
				to = c.Node(0).Name()
			}
			if err := c.Leader().TransferLeadership(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			clustertest.WaitFor(t, to+" to lead", func() bool { return c.Leader().Name() == to })
			ballast := fill(t, disk)
			// A client of another node, which goes on throughout; bbolt reuses free pages for a while.
			acked := 0
			for broken := false; !broken; acked++ {
				if err := fat(c.Node(2), t, fmt.Sprint(acked), acked); err != nil {
					t.Fatalf("write %d on a node with room: %v", acked, err)
				}
				select {
				case <-c.Node(full).Done():
					broken = true
				default:
					if acked > 2000 {
						t.Fatal("the disk does not fill")
					}
				}
			}
			if err := c.Node(full).Err(); err == nil || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") || !strings.Contains(err.Error(), disk) {
				t.Errorf("the node ended with: %v", err)
			}
			c.Kill(full) // as the server does
			for range 5 {
				if err := fat(c.Node(2), t, fmt.Sprint(acked), acked); err != nil {
					t.Fatalf("write %d after the node's end: %v", acked, err)
				}
				acked++
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			c.Restart(full)
			v, err := c.Node(full).View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range acked {
				if got := count(v, fmt.Sprint(i)+strings.Repeat("-", 8<<10)); got != i {
					t.Fatalf("write %d reads %d once there is room again", i, got)
				}
			}
		})
	}
}

// TestFullDiskInAnElection fills the disk before the node must keep a new term.
func TestFullDiskInAnElection(t *testing.T) {
	t.Parallel()
	stores(t, testFullDiskInAnElection)
}

func testFullDiskInAnElection(t *testing.T, store string) {
	disk := smallDisk(t)
	c := clustertest.New(t, 3, clustertest.WithStore(store), clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		if i == 1 {
			cfg.DataDir = filepath.Join(disk, "data")
		}
	}))
	if err := c.Leader().TransferLeadership(t.Context(), c.Node(0).Name()); err != nil {
		t.Fatal(err)
	}
	clustertest.WaitFor(t, "node 0 to lead", func() bool { return c.LeaderIndex() == 0 })
	fill(t, disk)
	for i := 0; ; i++ { // terms and votes cost little
		if err := c.Leader().TransferLeadership(t.Context(), c.Node(2*(1-i%2)).Name()); err != nil {
			t.Logf("handing over: %v", err)
		}
		if c.Node(1).Err() != nil {
			break
		}
		if i > 500 {
			t.Fatal("the disk does not fill")
		}
		_ = fat(c.Leader(), t, "x", i)
	}
	if err := c.Node(1).Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the node ended with: %v", err)
	}
	c.Kill(1)
	if err := c.Node(0).Update(t.Context(), increment("y")); err != nil {
		t.Errorf("the others: %v", err)
	}
}

// TestDamagedEntryStopsTheStart flips a bit of an acknowledged write on a node's disk.
func TestDamagedEntryStopsTheStart(t *testing.T) {
	t.Parallel()
	stores(t, testDamagedEntryStopsTheStart)
}

func testDamagedEntryStopsTheStart(t *testing.T, store string) {
	c := clustertest.New(t, 1, clustertest.WithStore(store))
	for i := range 5 {
		if err := c.Node(0).Update(t.Context(), put("acknowledged", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Kill(0)
	damageLog(t, logFile(t, c.DataDir(0), store))
	_, err := open(t, cluster.Config{Name: "node-0", DataDir: c.DataDir(0), RaftStore: store})
	if !errors.Is(err, cluster.ErrDamaged) || !strings.Contains(err.Error(), "let it join again") {
		t.Errorf("starting over a damaged log: %v", err)
	}
}

// damageLog flips a bit of the last entry of a log, past the stores' own checks.
func damageLog(t *testing.T, path string) {
	t.Helper()
	if filepath.Base(path) != "log.db" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[bytes.LastIndex(text, []byte("acknowledged"))] ^= 0x10
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := raftboltdb.NewBoltStore(path)
	if err != nil {
		t.Fatal(err)
	}
	last, err := b.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := b.GetLog(last, &l); err != nil {
		t.Fatal(err)
	}
	l.Data[len(l.Data)/2] ^= 0x10
	if err := errors.Join(b.StoreLog(&l), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// logFile is the file that has the end of a node's log.
func logFile(t *testing.T, data, store string) string {
	t.Helper()
	if store == cluster.StoreBolt {
		return filepath.Join(data, "raft", "log.db")
	}
	files, err := filepath.Glob(filepath.Join(data, "raft", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of the log: %v", err)
	}
	slices.Sort(files)
	for i := len(files) - 1; i > 0; i-- {
		if written(t, files[i]) > 64 {
			return files[i]
		}
	}
	return files[0]
}

// written is where a file's last byte is that is not zero: files of a log are made longer than what they hold.
func written(t *testing.T, path string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(bytes.TrimRight(text, "\x00")))
}

// TestTornLogFile cuts the log's file short: the node must say so, or have all that it acknowledged.
func TestTornLogFile(t *testing.T) {
	t.Parallel()
	stores(t, testTornLogFile)
}

func testTornLogFile(t *testing.T, store string) {
	for name, tear := range map[string]func(size int64) (keep int64){
		"half":    func(size int64) int64 { return size / 2 },
		"nothing": func(int64) int64 { return 0 },
		"a page":  func(int64) int64 { return 4096 },
		"head":    func(int64) int64 { return 10000 },
	} {
		c := clustertest.New(t, 1, clustertest.WithStore(store))
		for i := range 200 {
			if err := c.Node(0).Update(t.Context(), put(fmt.Sprint("acknowledged", i), i)); err != nil {
				t.Fatal(err)
			}
		}
		c.Kill(0)
		path := logFile(t, c.DataDir(0), store)
		if err := os.Truncate(path, tear(written(t, path))); err != nil {
			t.Fatal(err)
		}
		n, err := open(t, cluster.Config{Name: "node-0", DataDir: c.DataDir(0), RaftStore: store})
		if err == nil {
			v, verr := n.View(t.Context())
			if verr != nil || count(v, "acknowledged199") != 199 {
				t.Errorf("%s: a log that is torn was taken for whole: %v", name, verr)
			}
			continue
		}
		if !strings.Contains(err.Error(), "raft log") && !strings.Contains(err.Error(), "let it join again") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTornSnapshot cuts snapshots short. With an older one and the log behind it nothing is missing; without, the
// node says so and serves nothing.
func TestTornSnapshot(t *testing.T) {
	t.Parallel()
	stores(t, testTornSnapshot)
}

func testTornSnapshot(t *testing.T, store string) {
	c := clustertest.New(t, 1, clustertest.WithStore(store), clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Timing.TrailingLogs = 10 }))
	acked := 0
	write := func(n int) {
		for range n {
			if err := c.Node(0).Update(t.Context(), put(fmt.Sprint(acked), acked)); err != nil {
				t.Fatal(err)
			}
			acked++
		}
	}
	check := func() {
		t.Helper()
		v, err := c.Node(0).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range acked {
			if got := count(v, fmt.Sprint(i)); got != i {
				t.Fatalf("write %d reads %d", i, got)
			}
		}
	}
	tear := func() (torn int) {
		files, err := filepath.Glob(filepath.Join(c.DataDir(0), "raft", "snapshots", "*", "state.bin"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files[len(files)-1:] {
			st, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(f, st.Size()-20); err != nil {
				t.Fatal(err)
			}
			torn++
		}
		return torn
	}
	write(30)
	if err := c.Node(0).Snapshot(); err != nil {
		t.Fatal(err)
	}
	write(5)
	if err := c.Node(0).Snapshot(); err != nil {
		t.Fatal(err)
	}
	write(3)
	c.Kill(0)
	if tear() != 1 {
		t.Fatal("no snapshot to tear")
	}
	c.Restart(0) // the older one and the log behind it
	check()
	write(40)
	if err := c.Node(0).Snapshot(); err != nil {
		t.Fatal(err)
	}
	c.Kill(0)
	tear()
	_, err := open(t, cluster.Config{Name: "node-0", DataDir: c.DataDir(0), RaftStore: store})
	if err == nil || !strings.Contains(err.Error(), "let it join again") {
		t.Errorf("starting where the only whole snapshot is older than the log: %v", err)
	}
}

// TestLostLogIsTold removes the log of a node that has been a member: it must not begin anew under its old name, with
// nothing of what it had acknowledged.
func TestLostLogIsTold(t *testing.T) {
	t.Parallel()
	stores(t, testLostLogIsTold)
}

func testLostLogIsTold(t *testing.T, store string) {
	c := clustertest.New(t, 3, clustertest.WithStore(store))
	for i := range 5 {
		if err := c.Leader().Update(t.Context(), put("acknowledged", i)); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.WaitFor(t, "the write on all", func() bool {
		for _, n := range c.Nodes() {
			if count(n.Local(), "acknowledged") != 4 {
				return false
			}
		}
		return true
	})
	for i, how := range []func(string) error{
		func(raft string) error { return os.RemoveAll(raft) },
		func(raft string) error { return os.Truncate(logFile(t, filepath.Dir(raft), store), 0) },
	} { // the one that founded the cluster, and one that joined
		c.Kill(i)
		if err := how(filepath.Join(c.DataDir(i), "raft")); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it does not forget that it had one
			_, err := open(t, cluster.Config{Name: fmt.Sprint("node-", i), DataDir: c.DataDir(i), RaftStore: store})
			if err == nil || !strings.Contains(err.Error(), "raft log") || !strings.Contains(err.Error(), "let it join again") {
				t.Errorf("node %d started without its log: %v", i, err)
			}
		}
	}
}
