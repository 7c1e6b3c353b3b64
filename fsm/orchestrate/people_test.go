package orchestrate_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func TestFirstStart(t *testing.T) {
	w := newWorld(t)
	for i, want := range []bool{true, false} {
		w.do(func(tx *state.Tx) error {
			created, err := orchestrate.FirstStart(tx, "admin", "hash")
			if created != want {
				t.Errorf("start %d: created is %v", i+1, created)
			}
			return err
		})
	}
	u, err := orchestrate.UserByName(w.db.Local(), "admin")
	if err != nil || !u.Admin || u.PasswordHash != "hash" {
		t.Errorf("got %+v %v", u, err)
	}
	text, err := json.Marshal(orchestrate.UserDoc(u))
	if err != nil || strings.Contains(string(text), "hash") {
		t.Errorf("document %s %v", text, err)
	}
	w.refused(model.Conflict, "only administrator", func(tx *state.Tx) error { return orchestrate.DeleteUser(tx, u.ID) })
	w.refused(model.Conflict, "only administrator", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateUser(tx, u.ID, []byte(`{"admin":false}`))
		return err
	})
}

func TestUsersAndGroups(t *testing.T) {
	w := newWorld(t)
	var id string
	w.do(func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "bob", Fullname: "Bob"}, "x")
		id = u.ID
		return err
	})
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateUser(tx, model.User{Username: "bob"}, "")
		return err
	})
	w.refused(model.Invalid, "colon", func(tx *state.Tx) error {
		_, err := orchestrate.CreateUser(tx, model.User{Username: "a:b"}, "")
		return err
	})
	env := w.owner(model.LevelEnvironment, w.env)
	w.do(func(tx *state.Tx) error {
		g, err := orchestrate.UpdateGroup(tx, env, "users", []byte(`{"name":"users","users":[{"username":"bob"},{"username":"bob"}]}`))
		if len(g.Users) != 1 || g.Users[0].Fullname != "Bob" || g.Organization != "Demo" {
			t.Errorf("group %+v", g)
		}
		return err
	})
	if got := orchestrate.Memberships(w.db.Local(), id); !slices.Equal(got, []orchestrate.Membership{{Owner: env, Group: "users"}}) {
		t.Errorf("memberships %+v", got)
	}
	w.refused(model.NotFound, "the groups are", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateGroup(tx, env, "gods", []byte(`{"users":[]}`))
		return err
	})
	tree, err := orchestrate.GroupTree(w.db.Local(), w.owner(model.LevelOrganization, w.org))
	if err != nil || len(tree.GroupViews) != 0 || len(tree.EnvironmentGroupViews) != 1 || tree.EnvironmentGroupViews[0].GroupViews[0].Name != "users" {
		t.Errorf("tree %+v %v", tree, err)
	}
	if got := orchestrate.Groups(w.db.Local(), env); len(got) != 6 || got[0].UUID == got[1].UUID {
		t.Errorf("groups %+v", got)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteUser(tx, id) })
	if got := orchestrate.Memberships(w.db.Local(), id); len(got) != 0 {
		t.Errorf("after deleting: %+v", got)
	}
}

func TestCreatorBecomesAdmin(t *testing.T) {
	w := newWorld(t)
	w.do(func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "bob"}, "x")
		if err != nil {
			return err
		}
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Bobs"}, u.ID, false)
		if err != nil {
			return err
		}
		want := []orchestrate.Membership{{Owner: orchestrate.OwnerOfOrganization(o), Group: "admin"}}
		if got := orchestrate.Memberships(tx, u.ID); !slices.Equal(got, want) {
			t.Errorf("memberships %+v", got)
		}
		if doc := orchestrate.OrganizationDoc(tx, o, orchestrate.Show{}); len(doc.Environments) != 0 || len(doc.Groups) != 6 || doc.Access.SecretKey == "" {
			t.Errorf("document %+v", doc)
		}
		return nil
	})
}

func TestApplicationKeys(t *testing.T) {
	w := newWorld(t)
	var token, pair model.ApplicationKey
	create := func(doc model.ApplicationKey, into *model.ApplicationKey) {
		w.do(func(tx *state.Tx) (err error) {
			*into, err = orchestrate.CreateApplicationKey(tx, w.org, doc, "bob")
			return err
		})
	}
	expiry := model.FormatTime(w.db.Local().Now().Add(time.Hour))
	create(model.ApplicationKey{Name: "t", Method: "TOKEN", Group: "users", ExpirationDate: expiry}, &token)
	create(model.ApplicationKey{Name: "b", Method: "BASIC_AUTH", Group: "admin"}, &pair)
	if k, err := orchestrate.KeyByToken(w.db.Local(), token.Token); err != nil || k.Name != "t" || k.Creator != "bob" {
		t.Errorf("by token: %+v %v", k, err)
	}
	if k, err := orchestrate.KeyByAccess(w.db.Local(), pair.AccessKey, pair.SecretKey); err != nil || k.Name != "b" {
		t.Errorf("by access key: %+v %v", k, err)
	}
	for _, bad := range [][2]string{{"", ""}, {pair.AccessKey, ""}, {pair.AccessKey, "x"}, {"", pair.SecretKey}} {
		if _, err := orchestrate.KeyByAccess(w.db.Local(), bad[0], bad[1]); model.CodeOf(err) != model.Unauthenticated {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := orchestrate.KeyByToken(w.db.Local(), ""); model.CodeOf(err) != model.Unauthenticated {
		t.Errorf("no token: %v", err)
	}
	for _, k := range orchestrate.ApplicationKeys(w.db.Local(), w.org) {
		if k.Token != "" || k.SecretKey != "" {
			t.Errorf("the secret of %s is shown again", k.Name)
		}
	}
	later := w.db.Local().Now().Add(2 * time.Hour)
	w.db.SetClock(func() time.Time { return later })
	if _, err := orchestrate.KeyByToken(w.db.Local(), token.Token); model.CodeOf(err) != model.Unauthenticated || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired key: %v", err)
	}
	w.do(func(tx *state.Tx) error {
		again, err := orchestrate.ResetApplicationKey(tx, w.org, "b")
		if again.SecretKey == pair.SecretKey || again.SecretKey == "" {
			t.Error("the secret did not change")
		}
		return err
	})
	if _, err := orchestrate.KeyByAccess(w.db.Local(), pair.AccessKey, pair.SecretKey); model.CodeOf(err) != model.Unauthenticated {
		t.Errorf("the old secret: %v", err)
	}
	w.do(func(tx *state.Tx) error {
		k, err := orchestrate.UpdateApplicationKey(tx, w.org, "t", []byte(`{"name":"u","description":"d"}`))
		if k.Name != "u" || k.Description != "d" || k.ExpirationDate != expiry {
			t.Errorf("got %+v", k)
		}
		return err
	})
	w.refused(model.Invalid, "which is past", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateApplicationKey(tx, w.org, "u", []byte(`{"expirationDate":"2001-01-01T00:00:00.000+0000"}`))
		return err
	})
	w.db.SetClock(func() time.Time { return time.Now().Add(1000 * 24 * time.Hour) })
	w.do(func(tx *state.Tx) error { // one that has expired can be renamed, with its date sent back
		_, err := orchestrate.UpdateApplicationKey(tx, w.org, "u", []byte(`{"name":"v","expirationDate":"`+expiry+`"}`))
		if err == nil {
			_, err = orchestrate.UpdateApplicationKey(tx, w.org, "v", []byte(`{"name":"u"}`))
		}
		return err
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteApplicationKey(tx, w.org, "u") })
	for text, doc := range map[string]model.ApplicationKey{
		"method is": {Name: "x", Group: "admin"}, "group is": {Name: "x", Method: "TOKEN", Group: "root"}, "name is missing": {Method: "TOKEN", Group: "admin"},
		"expirationDate": {Name: "x", Method: "TOKEN", Group: "admin", ExpirationDate: "soon"},
	} {
		w.refused(model.Invalid, text, func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplicationKey(tx, w.org, doc, "bob")
			return err
		})
	}
}

func TestOrganizations(t *testing.T) {
	w := newWorld(t)
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", false)
		return err
	})
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Default"})
		return err
	})
	before, err := orchestrate.OrganizationByName(w.db.Local(), "Demo")
	if err != nil {
		t.Fatal(err)
	}
	w.do(func(tx *state.Tx) error {
		access, err := orchestrate.ResetAccess(tx, w.org)
		if access.AccessKey != before.AccessKey || access.SecretKey == before.SecretKey {
			t.Errorf("access %+v", access)
		}
		return err
	})
	if o, err := orchestrate.OrganizationByAccessKey(w.db.Local(), before.AccessKey); err != nil || o.ID != w.org {
		t.Errorf("by access key: %v", err)
	}
	h := w.host("h1")
	w.refused(model.Conflict, "1 host(s)", func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, w.org, w.env) })
	w.refused(model.Conflict, "with an instance", func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) })
	if n := len(orchestrate.Organizations(w.db.Local())); n != 0 {
		t.Errorf("%d organizations", n)
	}
}
