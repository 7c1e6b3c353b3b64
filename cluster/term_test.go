package cluster_test

import (
	"testing"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// TestALaterTermEndsTheAnswers puts the term question to a leader whose time is over: its own term, the asker's or that of
// those it asks is later. None of them may be answered, since another may have led, and acknowledged writes.
func TestALaterTermEndsTheAnswers(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	if err := c.Leader().Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	l, f := c.Leader(), c.Node(c.FollowerIndex())
	term := l.Store().Term()
	clustertest.WaitFor(t, "answers", func() bool { return l.AskTerms(t.Context(), term, 2) == nil })
	if err := l.AnswerCurrent(t.Context(), term, f.Name(), term); err != nil {
		t.Errorf("a follower of this term: %v", err)
	}
	if err := l.AnswerCurrent(t.Context(), term, "", 0); err != nil {
		t.Errorf("an asker without a vote: %v", err)
	}
	for what, err := range map[string]error{
		"those asked are in a later term":   l.AskTerms(t.Context(), term-1, 1),
		"the asker is in a later term":      l.AnswerCurrent(t.Context(), term, f.Name(), term+1),
		"the leader itself is in a later":   l.AnswerCurrent(t.Context(), term-1, f.Name(), term-1),
		"all three, and nobody with a vote": l.AnswerCurrent(t.Context(), term-1, "", term),
	} {
		if err == nil {
			t.Errorf("%s: it is answered", what)
		}
	}
	if c.Leader().Store().Term() != term {
		t.Errorf("term %d in place of %d: what was asked is not known", c.Leader().Store().Term(), term)
	}
}

// TestCommitThatCannotBeRead: the leader looks at what others send before it gets into the log, where it would stop every node.
func TestCommitThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	f := c.Node(c.FollowerIndex())
	commit, err := f.Store().Attempt(state.TxOptions{}, put("x", 1))
	if err != nil {
		t.Fatal(err)
	}
	good := commit.Encode(nil)
	for name, data := range map[string][]byte{"nothing": {}, "garbage": []byte("garbage"), "cut off": good[:len(good)-3], "of another form": append([]byte{200}, good[1:]...)} {
		if err := f.Forward(t.Context(), data); model.CodeOf(err) != model.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range c.Nodes() {
		if err := n.Update(t.Context(), increment("y")); err != nil {
			t.Errorf("%s afterwards: %v", n.Name(), err)
		}
	}
	same(t, c)
}

// TestTheLeadersEpochIsWaitedFor: a node whose state is not of the leader's epoch, since a restore is on its way to it, asks
// again, and serves nothing meanwhile. One that is in a later epoch than the leader holds what the cluster did not take.
func TestTheLeadersEpochIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, clustertest.Steady())
	n := c.Leader()
	own := n.Store().Epoch()
	if asked, err := cluster.CurrentWith(t.Context(), n, own+1, own+1, own); asked != 3 || err != nil {
		t.Errorf("a leader in a later epoch was asked %d times: %v", asked, err)
	}
	if asked, err := cluster.CurrentWith(t.Context(), n, 0); asked != 1 || err != nil { // it does not tell
		t.Errorf("a leader of an earlier version was asked %d times: %v", asked, err)
	}
	if _, err := cluster.CurrentWith(t.Context(), n, own-1); model.CodeOf(err) != model.Unavailable {
		t.Errorf("a leader in an earlier epoch: %v", err)
	}
}
