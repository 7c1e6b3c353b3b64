package orchestrate_test

import (
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func (w *world) user(name string) string {
	w.t.Helper()
	var id string
	w.do(func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: name, Fullname: "the one called " + name}, "hash of "+name)
		if err == nil {
			id = u.ID
		}
		return err
	})
	return id
}

func (w *world) group(o model.Owner, name, users string) model.Group {
	w.t.Helper()
	var g model.Group
	w.do(func(tx *state.Tx) (err error) {
		tx.SetActor("boss")
		g, err = orchestrate.UpdateGroup(tx, o, name, []byte(`{"users":`+users+`}`))
		return err
	})
	return g
}

// TestInvitation: an unknown name becomes an invitation, which grants nothing until there is such a user and it is
// confirmed on its own; sending the list again confirms nothing.
func TestInvitation(t *testing.T) {
	w := newWorld(t)
	w.user("anna")
	env := w.owner(model.LevelEnvironment, w.env)
	g := w.group(env, "users", `[{"username":"anna"},{"username":"eve"},{"username":"eve"}]`)
	if len(g.Users) != 2 || g.Users[0].Username != "anna" || g.Users[0].Invited || g.Users[1].Username != "eve" || !g.Users[1].Invited {
		t.Fatalf("group %+v", g)
	}
	list := orchestrate.Invitations(w.db.Local(), w.org)
	if len(list) != 1 || list[0].Username != "eve" || list[0].Registered || list[0].By != "boss" || list[0].Environment != "Default" || list[0].Group != "users" {
		t.Fatalf("invitations %+v", list)
	}
	confirm := func(tx *state.Tx) error {
		_, err := orchestrate.ConfirmInvitation(tx, w.org, list[0].UUID)
		return err
	}
	w.refused(model.Conflict, "no account yet", confirm)
	eve := w.user("eve")
	if got := orchestrate.Memberships(w.db.Local(), eve); len(got) != 0 {
		t.Fatalf("an invitation grants %+v", got)
	}
	g = w.group(env, "users", `[{"username":"anna"},{"username":"eve","invited":true}]`)
	if !g.Users[1].Invited || len(orchestrate.Memberships(w.db.Local(), eve)) != 0 {
		t.Fatalf("the same list again confirms: %+v", g)
	}
	if list := orchestrate.Invitations(w.db.Local(), w.org); !list[0].Registered || list[0].Fullname == "" {
		t.Errorf("invitations %+v", list)
	}
	w.refused(model.NotFound, "no invitation", func(tx *state.Tx) error {
		_, err := orchestrate.ConfirmInvitation(tx, "ANOTHER", list[0].UUID)
		return err
	})
	w.do(confirm)
	if got := orchestrate.Memberships(w.db.Local(), eve); len(got) != 1 || got[0].Owner != env || got[0].Group != "users" {
		t.Errorf("after the confirmation: %+v", got)
	}
	if list := orchestrate.Invitations(w.db.Local(), w.org); len(list) != 0 {
		t.Errorf("invitations that are done: %+v", list)
	}
}

// TestInvitationsEnd: by the list, by themselves, and with what they are to.
func TestInvitationsEnd(t *testing.T) {
	w := newWorld(t)
	org := w.owner(model.LevelOrganization, w.org)
	w.group(org, "users", `[{"username":"eve"},{"username":"fay"}]`)
	w.group(org, "users", `[{"username":"fay"}]`)
	list := orchestrate.Invitations(w.db.Local(), w.org)
	if len(list) != 1 || list[0].Username != "fay" {
		t.Fatalf("invitations %+v", list)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInvitation(tx, w.org, list[0].UUID) })
	w.group(w.owner(model.LevelEnvironment, w.env), "admin", `[{"username":"gil"}]`)
	w.refused(model.Invalid, "colon", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateGroup(tx, org, "users", []byte(`{"users":[{"username":"a:b"}]}`))
		return err
	})
	w.user("anna")
	w.group(org, "admin", `[{"username":"anna"}]`)
	w.refused(model.Conflict, "would be empty", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateGroup(tx, org, "admin", []byte(`{"users":[{"username":"nobody"}]}`))
		return err
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, w.org, w.env) })
	if n := len(state.Keys[model.InvitationRow](w.db.Local(), model.InvitationsOf(w.org))); n != 0 {
		t.Errorf("%d invitations outlive their environment", n)
	}
}
