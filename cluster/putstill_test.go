package cluster

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestARowIsPutForItsMemberOnly: a member tells its new address after its row was removed, or another one has its name.
func TestARowIsPutForItsMemberOnly(t *testing.T) {
	all, err := tables(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		row     *Member // nil for none
		changed bool
	}{
		{"its own row", &Member{Name: "n1", Instance: "a", ClusterAddr: "old"}, true},
		{"a row of before there were instances", &Member{Name: "n1", ClusterAddr: "old"}, true},
		{"another one's row", &Member{Name: "n1", Instance: "b", ClusterAddr: "old"}, false},
		{"no row", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := statetest.NewOptions(t, state.Options{Tables: all})
			if c.row != nil {
				if err := st.Update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, c.row) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.Update(t.Context(), func(tx *state.Tx) error {
				return putStill(tx, &Member{Name: "n1", Instance: "a", ClusterAddr: "new"})
			}); err != nil {
				t.Fatal(err)
			}
			m, ok := state.Get[Member](st.Local(), "n1")
			if ok != (c.row != nil) || ok && (m.ClusterAddr == "new") != c.changed {
				t.Errorf("the row is %+v", m)
			}
		})
	}
}

// TestADeadMemberIsRemovedOnceAtATime: raft-autopilot asks again while the removal is under way.
func TestADeadMemberIsRemovedOnceAtATime(t *testing.T) {
	p := &pilot{removing: map[raft.ServerID]bool{}}
	if !p.begin("n1") || p.begin("n1") || !p.begin("n2") {
		t.Error("a removal may begin twice, or not at all")
	}
	if p.end("n1"); !p.begin("n1") {
		t.Error("a removal that failed is not tried again")
	}
}
