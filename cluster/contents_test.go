package cluster_test

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/state"
)

// TestTheLeaderCollectsContents: what no row names goes, on all nodes, but not while one of them runs another version.
func TestTheLeaderCollectsContents(t *testing.T) {
	t.Parallel()
	other := true
	c := clustertest.New(t, 3, clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Timing.Collect, cfg.Timing.ContentAge = 100*time.Millisecond, time.Second
		if cfg.Version = "2"; i == 2 && other {
			cfg.Version = "1"
		}
	}), withNotes())
	waitKey(t, c)
	stage := func(text string) string {
		t.Helper()
		digest, err := state.StageContent(t.Context(), c.Node(0), "acme", []byte(strings.Repeat(text, 1000)))
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	there := func(n *cluster.Node, digest string) bool {
		_, ok := state.Content(n.Local(), "acme", digest)
		return ok
	}
	named, lost := stage("named"), stage("lost")
	if err := c.Node(1).Update(t.Context(), func(tx *state.Tx) error {
		return state.Put(tx, &secretNote{ID: "x", Org: "acme", Text: "it has " + named})
	}); err != nil {
		t.Fatal(err)
	}
	wait(t, 2*time.Second) // twice the age, and many looks
	if !there(c.Leader(), lost) {
		t.Error("contents are collected, although a member runs another version")
	}
	other = false
	c.Kill(2)
	c.Restart(2)
	c.WaitVoters(3)
	clustertest.WaitFor(t, "the content that no row names to go", func() bool {
		for _, n := range c.Nodes() {
			if there(n, lost) {
				return false
			}
		}
		return true
	})
	for _, n := range c.Nodes() {
		if !there(n, named) {
			t.Errorf("%s has lost a content that a row names", n.Name())
		}
	}
}
