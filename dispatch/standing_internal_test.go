package dispatch

import (
	"testing"

	"github.com/muster-hq/muster/dispatch/wire"
)

// TestStandingInTheWordsOfTheState: nothing that an agent tells is lost on the way.
func TestStandingInTheWordsOfTheState(t *testing.T) {
	got := standing(wire.Standing{
		Epoch: 1, Above: 2, Journal: "j", Floor: 3, Highest: 4, Digest: "d", Retold: 5,
		Orders: []wire.Held{{Order: "o", Change: "c", Num: 6, Epoch: 7, Term: 8, Sequence: 9, Over: true, Steps: "ce", Error: "why"}},
	})
	if got.Epoch != 1 || got.Above != 2 || got.Journal != "j" || got.Floor != 3 || got.Highest != 4 || got.Digest != "d" || got.Retold != 5 {
		t.Errorf("%+v", got)
	}
	if h := got.Orders[0]; h.ID != "o" || h.ChangeID != "c" || h.Num != 6 || h.Epoch != 7 || h.Term != 8 || h.Sequence != 9 || !h.Over ||
		len(h.Steps) != 2 || !h.Steps[0].OK || h.Steps[1].OK || h.Steps[1].Error != "why" {
		t.Errorf("%+v", got.Orders)
	}
}
