package cluster_test

import (
	"testing"

	"github.com/muster-hq/muster/cluster/clustertest"
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
