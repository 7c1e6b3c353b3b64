package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// secretNote is a row that is sealed with the key of who owns it.
type secretNote struct {
	ID   string `json:"id"`
	Org  string `json:"org"`
	Text string `json:"text"`
}

func (*secretNote) Table() string            { return "testnote" }
func (n *secretNote) Key() string            { return n.ID }
func (*secretNote) Ranges() []string         { return nil }
func (*secretNote) Parent() (string, string) { return "", "" }

// planted is what must be found nowhere.
const planted = "tr0ub4dor-and-3"

func withNotes() clustertest.Option {
	return clustertest.WithConfig(func(_ int, c *cluster.Config) {
		c.Tables = append(clustertest.Tables(), state.Define[secretNote](state.TableOptions[secretNote]{Sealed: func(_ state.Reader, n *secretNote) string { return n.Org }}))
	})
}

func putNote(id, org string) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		return state.Put(tx, &secretNote{ID: id, Org: org, Text: planted + id})
	}
}

// hasNote says whether a node reads a note; it has no error while the node lacks the key.
func hasNote(n *cluster.Node, id string) bool {
	ok := false
	_, _ = n.Store().Attempt(state.TxOptions{}, func(tx *state.Tx) error {
		s, found := state.Get[secretNote](tx, id)
		ok = found && s.Text == planted+id
		return nil
	})
	return ok
}

func waitKey(t *testing.T, c *clustertest.Cluster) string {
	t.Helper()
	clustertest.WaitFor(t, "a cluster key in use", func() bool { return state.ClusterKeysOf(c.Leader().Local()).Active != "" })
	return state.ClusterKeysOf(c.Leader().Local()).Active
}

func update(t *testing.T, n *cluster.Node, fn func(tx *state.Tx) error) {
	t.Helper()
	if err := n.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// showPlanted gives the files below a folder that show what was planted.
func showPlanted(t *testing.T, dir string) (shown []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		if bytes.Contains(b, []byte(planted)) {
			shown = append(shown, path)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files were looked at, %v", files, err)
	}
	return shown
}

// TestNothingInClearOnDisk writes secrets, also large ones and over others, takes snapshots, and looks into every file of
// each node, with both stores of the log. That the look finds what is there is tried, too, with a row in clear.
func TestNothingInClearOnDisk(t *testing.T) {
	t.Parallel()
	for _, store := range []string{cluster.StoreBolt, cluster.StoreWAL} {
		t.Run(store, func(t *testing.T) {
			c := clustertest.New(t, 1, withNotes(), clustertest.WithStore(store))
			waitKey(t, c)
			n := c.Leader()
			for i := range 20 {
				update(t, n, putNote(fmt.Sprint(i%7), fmt.Sprintf("org-%d", i%3)))
			}
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
			update(t, n, putNote("later", "org-1"))
			var saved bytes.Buffer
			if _, err := n.SaveSnapshot(t.Context(), &saved); err != nil {
				t.Fatal(err)
			}
			rows := 0
			if _, err := state.Inspect(bytes.NewReader(saved.Bytes()), func(r state.RawRow) error {
				if rows++; bytes.Contains(r.Value, []byte(planted)) {
					t.Errorf("the saved snapshot shows the row %s %s", r.Table, r.Key)
				}
				return nil
			}); err != nil || rows == 0 {
				t.Fatal(rows, err)
			}
			c.Kill(0)
			if shown := showPlanted(t, c.DataDir(0)); len(shown) > 0 {
				t.Errorf("secrets are in %v", shown)
			}
			c.Restart(0)
			clustertest.WaitFor(t, "the note after the restart", func() bool { return hasNote(c.Node(0), "later") })
			update(t, c.Leader(), func(tx *state.Tx) error {
				return state.Put(tx, &clustertest.Counter{Name: "in-clear-" + planted})
			})
			c.Kill(0)
			if len(showPlanted(t, c.DataDir(0))) == 0 {
				t.Error("a row in clear is not found, either: the look proves nothing")
			}
		})
	}
}

// TestKeysAreRotated rotates the cluster's key and an organization's while writes go on, with a member that is away and a
// change of leader in the middle; a joiner gets the keys; the files are 0600.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, withNotes())
	first := waitKey(t, c)
	for i := range 300 {
		if i%100 == 0 {
			update(t, c.Leader(), putNote(fmt.Sprint("n", i), "acme"))
		} else {
			update(t, c.Leader(), func(tx *state.Tx) error {
				return state.Put(tx, &secretNote{ID: fmt.Sprint("n", i), Org: "acme", Text: planted + fmt.Sprint("n", i)})
			})
		}
	}
	away := c.FollowerIndex()
	c.Kill(away)

	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	done := make(chan error, 1)
	go func() { done <- writeNotes(ctx, c, &written) }()
	update(t, c.Leader(), func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") })
	if err := c.Leader().RotateClusterKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Restart(away)
	c.WaitVoters(3)
	second := waitKey(t, c)
	if second == first {
		t.Fatal("the key in use is the old one")
	}
	clustertest.WaitFor(t, "the one that was away to have the key", func() bool { return c.Node(away).Ready() == nil && hasNote(c.Node(away), "n7") })

	// Another of both, and the leader goes in the middle.
	update(t, c.Leader(), func(tx *state.Tx) error {
		k := state.ClusterKeysOf(tx)
		k.Asked = true
		return state.PutClusterKeys(tx, k)
	})
	clustertest.WaitFor(t, "an old key of the organization to go", func() bool { return versions(c.Leader(), "acme") == 1 })
	update(t, c.Leader(), func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") })
	gone := c.LeaderIndex()
	c.Kill(gone)
	clustertest.WaitFor(t, "both rotations to end under another leader", func() bool {
		for _, n := range c.Nodes() {
			if n.IsLeader() {
				k := state.ClusterKeysOf(n.Local())
				return k.Active != second && k.Next == "" && !k.Asked && versions(n, "acme") == 1 && named(n) == k.Active
			}
		}
		return false
	})
	c.Restart(gone)
	c.WaitVoters(3)
	stop()
	if err := <-done; err != nil || written.Load() < 5 {
		t.Fatalf("%d writes went through meanwhile, %v", written.Load(), err)
	}
	joined := c.Add()
	for i := range 4 {
		clustertest.WaitFor(t, fmt.Sprintf("node %d to read everything", i), func() bool {
			return c.Node(i).Ready() == nil && hasNote(c.Node(i), "n299") && hasNote(c.Node(i), "w1")
		})
		st, err := os.Stat(cluster.ClusterKeyPath(c.DataDir(i)))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("node %d: the key file: %v, %v", i, st, err)
		}
	}
	if rows, err := state.Stale(c.Node(joined).Local()); err != nil || len(rows) != 0 {
		t.Errorf("%d rows are not sealed with the newest key, %v", len(rows), err)
	}
	s, err := c.Node(joined).Status(t.Context())
	if err != nil || s.Key.Active == "" || s.Key.Rotating || s.Key.Keys == 0 {
		t.Errorf("status: %+v, %v", s.Key, err)
	}
}

func versions(n *cluster.Node, domain string) int {
	d, ok := state.DataKeysOf(n.Local(), domain)
	if !ok {
		return 0
	}
	return len(d.Versions)
}

func named(n *cluster.Node) string { return strings.Join(state.NamedKeys(n.Local()), " ") }

// writeNotes writes through whichever node takes it until ctx ends.
func writeNotes(ctx context.Context, c *clustertest.Cluster, written *atomic.Int64) error {
	for i := 0; ctx.Err() == nil; i++ {
		for _, n := range c.Nodes() {
			actx, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := n.Update(actx, putNote(fmt.Sprint("w", i%5), "acme"))
			cancel()
			if err == nil {
				written.Add(1)
				break
			}
			if code := model.CodeOf(err); ctx.Err() == nil && code != model.Unavailable && code != model.Unknown {
				return err
			}
		}
	}
	return nil
}

// TestRestoreNeedsTheKey: a snapshot goes into another cluster with the key only, and into its own without.
func TestRestoreNeedsTheKey(t *testing.T) {
	t.Parallel()
	from, to := clustertest.New(t, 1, withNotes()), clustertest.New(t, 3, withNotes())
	key := waitKey(t, from)
	own := waitKey(t, to)
	update(t, from.Leader(), putNote("a", "acme"))
	update(t, to.Leader(), putNote("b", "other"))
	var saved bytes.Buffer
	if _, err := from.Leader().SaveSnapshot(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	wrong := &seal.Keyring{}
	wrong.Add(seal.NewKey())
	for name, keys := range map[string]*seal.Keyring{"no key": nil, "another key": wrong} {
		err := to.Leader().RestoreSealed(t.Context(), bytes.NewReader(saved.Bytes()), keys)
		if model.CodeOf(err) != model.Conflict || !strings.Contains(err.Error(), key) {
			t.Errorf("with %s: %v, want a refusal that names %s", name, err, key)
		}
		if !hasNote(to.Leader(), "b") {
			t.Fatalf("with %s something was changed", name)
		}
	}
	text, err := os.ReadFile(cluster.ClusterKeyPath(from.DataDir(0)))
	if err != nil {
		t.Fatal(err)
	}
	right, err := seal.ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Leader().RestoreSealed(t.Context(), bytes.NewReader(saved.Bytes()), right); err != nil {
		t.Fatal(err)
	}
	if !hasNote(to.Leader(), "a") || hasNote(to.Leader(), "b") {
		t.Error("the notes are not those of the snapshot")
	}
	if got := named(to.Leader()); got != own {
		t.Errorf("the state names the keys %s, want its own %s", got, own)
	}
	update(t, to.Leader(), putNote("c", "acme"))
	for i, n := range to.Nodes() {
		clustertest.WaitFor(t, fmt.Sprintf("the notes on node %d of a cluster of another size", i), func() bool { return hasNote(n, "a") && hasNote(n, "c") })
	}
	to.Kill(0)
	to.Restart(0)
	clustertest.WaitFor(t, "the notes after a restart", func() bool { return hasNote(to.Node(0), "a") && hasNote(to.Node(0), "c") })

	// Into its own cluster, after a rotation: nothing is needed.
	if err := from.Leader().RotateClusterKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := from.Leader().RestoreSnapshot(t.Context(), bytes.NewReader(saved.Bytes())); err != nil {
		t.Fatal(err)
	}
	clustertest.WaitFor(t, "the note, wrapped with the key in use", func() bool {
		return hasNote(from.Leader(), "a") && named(from.Leader()) == state.ClusterKeysOf(from.Leader().Local()).Active
	})
}

// TestDamagedKeyFile: a flipped bit is told and named, and a node without the file gets the keys from the others.
func TestDamagedKeyFile(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, withNotes())
	waitKey(t, c)
	update(t, c.Leader(), putNote("a", "acme"))
	i := c.FollowerIndex()
	clustertest.WaitFor(t, "the note on the follower", func() bool { return hasNote(c.Node(i), "a") })
	c.Kill(i)
	path := cluster.ClusterKeyPath(c.DataDir(i))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(text)
	bad[len(bad)-10] ^= 1
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = cluster.Open(t.Context(), cluster.Config{Name: fmt.Sprintf("node-%d", i), DataDir: c.DataDir(i), ClusterAddr: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), path) || !errors.Is(err, seal.ErrForm) {
		t.Fatalf("with a flipped bit in the key file: %v", err)
	}
	if strings.Contains(err.Error(), strings.Split(string(bad), ".")[2][:10]) {
		t.Errorf("the error shows the key: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.Restart(i)
	clustertest.WaitFor(t, "the key from the others", func() bool { return c.Node(i).Ready() == nil && hasNote(c.Node(i), "a") })
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file is not what it was: %v", err)
	}
}
