package cluster_test

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/state"
)

// TestClocksThatAreHoursWrong gives each node another clock and lets each lead. Time is the leader's, but never goes
// back when the lead passes to one whose clock is behind, and goes on from there.
func TestClocksThatAreHoursWrong(t *testing.T) {
	t.Parallel()
	skews := []time.Duration{0, 5 * time.Hour, -7 * time.Hour}
	c := clustertest.New(t, 3, clustertest.Steady(), clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(skews[i]) }
	}))
	var latest time.Time
	// see looks at the time by a write and by a read through a node.
	see := func(i int) time.Time {
		t.Helper()
		var at time.Time
		if err := c.Node(i).Update(t.Context(), func(tx *state.Tx) error { at = tx.Now(); return increment("x")(tx) }); err != nil {
			t.Fatal(err)
		}
		v, err := c.Node(i).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stamped := c.Node(i).Store().Now(); stamped.Before(latest) || v.Now().Before(stamped) || at.Add(time.Minute).Before(latest) {
			t.Errorf("node %d: the closure saw %s, the entry is stamped %s, a read says %s; before it was %s", i, at, stamped, v.Now(), latest)
		}
		if d := v.Now().Sub(at).Abs(); d > time.Minute {
			t.Errorf("node %d: the closure saw a time %s from the leader's: its own clock, or an old one", i, d)
		}
		latest = v.Now()
		return latest
	}
	all := func() {
		t.Helper()
		for i := range 3 {
			see(i)
		}
	}
	lead := func(i int) {
		t.Helper()
		if err := c.Leader().TransferLeadership(t.Context(), c.Node(i).Name()); err != nil {
			t.Fatal(err)
		}
		clustertest.WaitFor(t, "the next leader", func() bool { return c.LeaderIndex() == i })
		for j := range 3 { // until they hear of it, they go by the time of the one before
			if _, err := c.Node(j).View(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		all()
	}
	all()
	if d := time.Until(latest).Abs(); d > time.Minute {
		t.Errorf("the first leader's clock is right, but the time is %s off", d)
	}
	lead(1)
	if d := time.Until(latest) - skews[1]; d.Abs() > time.Minute {
		t.Errorf("the leader's clock is 5 h ahead, the time is %s from that", d)
	}
	for _, i := range []int{2, 0} {
		lead(i)
		before := see(i)
		wait(t, 300*time.Millisecond)
		if d := see(i).Sub(before); d < 250*time.Millisecond || d > time.Minute {
			t.Errorf("led by node %d, whose clock is behind what was stamped, %s have passed in 300 ms", i, d)
		}
	}
	// One that starts, and has heard no time yet, does not go by its own clock.
	c.Kill(2)
	c.Restart(2)
	see(2)
	c.Kill(1)
	c.Restart(1)
	see(1)
}
