package api_test

import (
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// TestKeyOfAnOrganization: its administrators see which key it is and rotate it, nobody else.
func TestKeyOfAnOrganization(t *testing.T) {
	s := newSite(t).furnish()
	boss, user, stranger := s.user("boss", "admin", "acme"), s.user("dev", "users", "acme"), s.user("stranger", "", "")
	show := client.Op{Name: "organizations.key.show", Params: map[string]string{"org": "acme"}}
	rotate := client.Op{Name: "organizations.key.rotate", Params: map[string]string{"org": "acme"}}
	var before, after model.SealKey
	s.call(boss, show, &before)
	if before.ID == "" || before.ClusterKey == "" || before.Rotating {
		t.Fatalf("the key is %+v", before)
	}
	for _, op := range []client.Op{show, rotate} {
		if err := user.Call(t.Context(), op, nil); model.CodeOf(err) != model.Forbidden {
			t.Errorf("%s by a user of the organization: %v", op.Name, err)
		}
		if err := stranger.Call(t.Context(), op, nil); model.CodeOf(err) != model.NotFound {
			t.Errorf("%s by a stranger: %v", op.Name, err)
		}
	}
	s.call(boss, rotate, &after)
	if after.ID == before.ID || !after.Rotating {
		t.Errorf("after a rotation of %+v it is %+v", before, after)
	}
	if err := boss.Call(t.Context(), rotate, nil); model.CodeOf(err) != model.Conflict {
		t.Errorf("a rotation within the rotation: %v", err)
	}
}
