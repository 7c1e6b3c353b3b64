package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster/clustertest"
)

// A node that votes alone reads its own writes without asking anybody. Once another votes, too, it asks, and gets no answer
// when it is cut off.
func TestOnlyAVoterAloneAsksNobody(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, clustertest.Steady())
	c.WaitVoters(1)
	for n := range 20 {
		if err := c.Leader().Update(t.Context(), put("x", n+1)); err != nil {
			t.Fatal(err)
		}
		v, ok := c.Node(0).ViewAlone()
		if !ok || count(v, "x") != n+1 {
			t.Fatalf("after write %d: alone %v", n+1, ok)
		}
	}
	if age, ok := c.Node(0).Age(); !ok || age > time.Minute {
		t.Errorf("its state is %s old, %v", age, ok)
	}
	c.Add()
	c.WaitVoters(2)
	lead := c.LeaderIndex()
	for i := range 2 {
		if _, ok := c.Node(i).ViewAlone(); ok {
			t.Errorf("node %d of two asks nobody", i)
		}
	}
	c.Isolate(lead)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Node(lead).View(ctx); err == nil {
		t.Error("a leader that nobody hears answers a verified read")
	}
}
