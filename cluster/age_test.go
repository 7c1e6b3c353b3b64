package cluster_test

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster/clustertest"
)

// The age that a cut-off node tells covers every write that it has not got.
func TestAgeBoundsWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	ctx := t.Context()
	f := c.FollowerIndex()
	if err := c.Leader().Update(ctx, put("x", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Node(f).View(ctx); err != nil {
		t.Fatal(err)
	}
	if age, ok := c.Node(f).Age(); !ok || age < 0 {
		t.Fatalf("after a linearizable read the age is %s, %v", age, ok)
	}
	c.Isolate(f)
	if err := c.Leader().Update(ctx, put("x", 2)); err != nil {
		t.Fatal(err)
	}
	acknowledged := time.Now()
	clustertest.WaitFor(t, "an age beyond a second", func() bool {
		since := time.Since(acknowledged)
		age, ok := c.Node(f).Age()
		if count(c.Node(f).Local(), "x") == 2 {
			t.Fatal("a node that is cut off got the write")
		}
		if !ok || age < since {
			t.Fatalf("a write of %s ago is missing, but the age is %s, %v", since, age, ok)
		}
		return age > 1500*time.Millisecond
	})
	c.Heal()
	clustertest.WaitFor(t, "a small age again, as it is asked for by itself", func() bool {
		age, ok := c.Node(f).Age()
		return ok && age < time.Second && count(c.Node(f).Local(), "x") == 2
	})
	if c.Lost() == 0 {
		t.Error("nothing was cut")
	}
}
