package cluster_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// TestAVoteComesAfterStabilisation: a joiner has no vote before it was healthy for so long, once the leadership is older
// than that; in a young one it need not wait.
func TestAVoteComesAfterStabilisation(t *testing.T) {
	t.Parallel()
	const stable = 3 * time.Second
	c := clustertest.New(t, 1, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Autopilot.Stabilisation = stable }))
	wait(t, stable+3*time.Second) // the leadership is no longer young
	token, err := c.Node(0).CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := open(t, cluster.Config{Name: "late", DataDir: filepath.Join(t.TempDir(), "data"), Bootstrap: cluster.Bootstrap{Token: token}}); err != nil {
		t.Fatal(err)
	}
	listens := false
	clustertest.WaitFor(t, "a vote", func() bool {
		s, err := c.Node(0).Status(t.Context())
		if err != nil || len(s.Members) != 2 {
			return false
		}
		listens = listens || s.Members[0].Name == "late" && !s.Members[0].Voter && s.Members[0].Applied > 0
		return s.Voters == 2
	})
	if took := time.Since(begun); took < stable || !listens {
		t.Errorf("it votes after %s (it was seen without a vote, but with the state: %v), expected no less than %s", took, listens, stable)
	}
}

// deadAfter is short for a test, and long for a machine that is busy.
const deadAfter = 5 * time.Second

func quickToRemove() clustertest.Option {
	return clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Autopilot.DeadAfter = deadAfter })
}

func TestTheDeadAreRemovedWhileQuorumIsSafe(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 4, clustertest.Steady(), quickToRemove()) // each leader counts anew how long one is dead
	first := c.FollowerIndex()
	name := c.Node(first).Name()
	c.Kill(first)
	clustertest.WaitFor(t, "the dead one of four to be removed", func() bool { return len(c.Leader().Members()) == 3 })
	for _, m := range c.Leader().Members() {
		if m.Name == name {
			t.Errorf("%s is a member still", name)
		}
	}
	c.WaitVoters(3)
	second := c.FollowerIndex()
	c.Kill(second)
	for i := range 4 { // while it is dead for far longer than the first was
		wait(t, deadAfter/2)
		if err := c.Leader().Update(t.Context(), put("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.WaitFor(t, "the status of one dead of three", func() bool {
		s, err := c.Leader().Status(t.Context())
		if err == nil && (s.Voters != 3 || s.Healthy) {
			t.Fatalf("one dead of three: %+v", s)
		}
		return err == nil && s.FailureTolerance == 0 // one that stands still for a moment does not answer
	})
	c.Restart(second)
	c.WaitVoters(3)
}

func TestNobodyIsRemovedWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 4, quickToRemove())
	a := c.FollowerIndex()
	c.Kill(a)
	b := c.FollowerIndex()
	c.Kill(b)
	wait(t, 2*deadAfter)
	c.Restart(a)
	c.Restart(b)
	c.WaitVoters(4)
}
