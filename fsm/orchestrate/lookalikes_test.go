package orchestrate_test

import (
	"encoding/json"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// What got a look-alike's name before such names were refused can be read, changed elsewhere, renamed and deleted.
func TestStoredLookAlikes(t *testing.T) {
	w := newWorld(t)
	const odd = "we\u200bb"
	hostID := w.host("web")
	appID := w.app(`{"name": "app"}`)
	var userID string
	w.do(func(tx *state.Tx) error {
		h, _ := state.Edit[model.HostRow](tx, hostID)
		h.Name = odd
		e, _ := state.Edit[model.EnvironmentRow](tx, w.env)
		e.Name = odd
		a, _ := state.Edit[model.ApplicationRow](tx, appID)
		a.Name, a.Document.Name = odd, odd
		u, err := orchestrate.CreateUser(tx, model.User{Username: "u"}, "")
		if err != nil {
			return err
		}
		userID = u.ID
		u, _ = state.Edit[model.UserRow](tx, userID)
		u.Username = odd
		for _, err := range []error{state.Put(tx, h), state.Put(tx, e), state.Put(tx, a), state.Put(tx, u)} {
			if err != nil {
				return err
			}
		}
		return state.Put(tx, &model.SettingRow{ID: "s", Owner: w.owner(model.LevelHost, hostID), Name: odd, Value: json.RawMessage("1"), Version: 1})
	})
	if h, err := orchestrate.HostByName(w.db.Local(), w.org, w.env, odd); err != nil || h.ID != hostID {
		t.Fatalf("by its name: %v", err)
	}
	w.refused(model.Invalid, "U+200B", func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "other" + odd})
		return err
	})
	for what, fn := range map[string]func(tx *state.Tx) error{
		"the host": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, w.org, hostID, []byte(`{"name": "we\u200bb", "description": "d"}`))
			return err
		},
		"the user": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateUser(tx, userID, []byte(`{"fullname": "d"}`))
			return err
		},
		"the lock": func(tx *state.Tx) error { return orchestrate.LockApplication(tx, w.org, appID, true) },
	} {
		if err := w.try(fn); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.do(func(tx *state.Tx) error { return orchestrate.LockApplication(tx, w.org, appID, false) })
	w.do(func(tx *state.Tx) error {
		return orchestrate.DeleteSetting(tx, w.owner(model.LevelHost, hostID), odd, orchestrate.Trigger{})
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, appID) })
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateHost(tx, w.org, hostID, []byte(`{"name": "web"}`))
		return err
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, hostID) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, w.org, w.env) })
}
