package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// asNode makes this test binary one node of a cluster, for a fault that may end a process: store, address and folder.
const asNode = "MUSTER_TEST_AS_NODE"

// How such a node ends.
const (
	endWell  = 0 // it has caught up, and holds what was written
	endCrash = 2 // a panic
	endTold  = 3 // it says why it does not start, or cannot go on
	endMute  = 4 // it serves nothing
	endWrong = 5 // it serves what was not written
)

const flipRows = 300

func TestMain(m *testing.M) {
	if text := os.Getenv(asNode); text != "" {
		os.Exit(runNode(strings.SplitN(text, " ", 3)))
	}
	moreAtOnce()
	os.Exit(m.Run())
}

// atOnce is how many tests run at the same time. They wait for elections and disks nearly all the time: one alone takes a tenth
// of a processor, and half of one under the race detector, whose run is the one with -short.
const atOnce = "4"

// moreAtOnce lets that many run, unless whoever started the tests said another number, or -short.
func moreAtOnce() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said || testing.Short() {
		return
	}
	if err := flag.Set("test.parallel", atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// runNode runs a node until it is known how it takes its folder.
func runNode(args []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	defer cancel()
	n, err := cluster.Open(ctx, cluster.Config{Name: "node-2", RaftStore: args[0], ClusterAddr: args[1], DataDir: args[2], Tables: clustertest.Tables()})
	if err != nil {
		fmt.Println(err)
		return endTold
	}
	v, err := n.View(ctx)
	if why := n.Err(); why != nil {
		fmt.Println(why)
		return endTold
	}
	if err != nil {
		fmt.Println(err)
		return endMute
	}
	for i := range flipRows {
		if got := count(v, fmt.Sprint("row", i)); got != i {
			fmt.Printf("row %d reads %d\n", i, got)
			return endWrong
		}
	}
	if err := n.Abort(); err != nil {
		fmt.Println(err)
	}
	return endWell
}

// TestFlippedBitInEachFile flips a bit in each file of a stopped node, many times, and starts it. It says what is wrong, or
// the bit did not matter; what was not written it never serves. Then the node is made anew from the others.
func TestFlippedBitInEachFile(t *testing.T) {
	t.Parallel()
	stores(t, testFlippedBitInEachFile)
}

func testFlippedBitInEachFile(t *testing.T, store string) {
	r := seedOf(t)
	c := clustertest.New(t, 3, clustertest.WithStore(store))
	addr := c.Node(2).ClusterAddr()
	for i := range flipRows {
		if err := c.Node(2).Update(t.Context(), put(fmt.Sprint("row", i), i)); err != nil {
			t.Fatal(err)
		}
		if i == flipRows/2 {
			if err := c.Node(2).Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sameState(t, c)
	c.Kill(2)
	ends := map[int]int{}
	for _, name := range filesOf(t, c.DataDir(2)) {
		times := 2
		if strings.Contains(name, "raft") {
			times = 5
		}
		if testing.Short() {
			times = 1
		}
		for range times {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(c.DataDir(2))); err != nil {
				t.Fatal(err)
			}
			at, ok := flipIn(t, r, filepath.Join(dir, name))
			if !ok {
				continue
			}
			code, said := startFlipped(t, store, addr, dir)
			ends[code]++
			last := said[strings.LastIndexByte(strings.TrimSpace(said), '\n')+1:]
			t.Logf("%s, byte %d: %d %.150s", name, at, code, last)
			if code != endWell && code != endTold {
				t.Errorf("%s, a bit of byte %d: ended with %d: %s", name, at, code, said)
			}
		}
	}
	for _, key := range []string{`"Index":`, `"Term":`, `"ID":"`} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(c.DataDir(2))); err != nil {
			t.Fatal(err)
		}
		flipAfter(t, dir, key)
		if code, said := startFlipped(t, store, addr, dir); code != endTold {
			t.Errorf("a snapshot whose %s is wrong: ended with %d: %s", key, code, said)
		}
	}
	t.Logf("%d did not matter, %d were told", ends[endWell], ends[endTold])
	if ends[endTold] < 3 {
		t.Error("hardly anything was damaged: this proves nothing")
	}
	rebuild(t, c)
}

// rebuild makes node 2 anew from the others, as its message says.
func rebuild(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	if err := c.Leader().Remove(t.Context(), "node-2"); err != nil {
		t.Fatal(err)
	}
	token, err := c.Leader().CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n, err := open(t, cluster.Config{Name: "node-2", DataDir: filepath.Join(t.TempDir(), "data"), Bootstrap: cluster.Bootstrap{Token: token}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := n.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range flipRows {
		if got := count(v, fmt.Sprint("row", i)); got != i {
			t.Fatalf("row %d reads %d on the node that was made anew", i, got)
		}
	}
}

func filesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path != "lock" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// flipIn flips one bit of a file, of a byte that is not 0: most of a log is room for more.
func flipIn(t *testing.T, r *rand.Rand, path string) (at int, ok bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var used []int
	for i, b := range text {
		if b != 0 {
			used = append(used, i)
		}
	}
	if len(used) == 0 {
		return 0, false
	}
	at = used[r.IntN(len(used))]
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{text[at] ^ 1<<r.IntN(8)}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return at, true
}

// startFlipped starts the node in a process of its own.
func startFlipped(t *testing.T, store, addr, dir string) (code int, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asNode+"="+strings.Join([]string{store, addr, dir}, " "))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// flipAfter changes the digit that follows a text in what the newest snapshot says of itself.
func flipAfter(t *testing.T, dir, key string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "meta.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no snapshot: %v", err)
	}
	path := files[len(files)-1]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[strings.Index(string(text), key)+len(key)] ^= 2
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
