package orchestrate_test

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func (w *world) session(userID string, life time.Duration) (id string, key model.LoginKey) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		s, k, err := orchestrate.CreateSession(tx, userID, model.SessionClient, "test", "192.0.2.1", life)
		if err == nil {
			id, key = s.ID, k
		}
		return err
	})
	return id, key
}

func (w *world) clock() *time.Time {
	now := time.Now()
	w.db.SetClock(func() time.Time { return now })
	return &now
}

// TestSessionsEnd: with their time, by revocation, with the password, and with the user.
func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	now := w.clock()
	anna, ben := w.user("anna"), w.user("ben")
	open := func(id string) bool {
		w.t.Helper()
		w.do(func(tx *state.Tx) error { return state.Put(tx, &model.LastUseRow{ID: "tick", Time: tx.Now()}) }) // the state's time goes on
		_, _, err := orchestrate.OpenSession(w.db.Local(), id)
		if err != nil && model.CodeOf(err) != model.Unauthenticated {
			t.Errorf("open %s: %v", id, err)
		}
		return err == nil
	}
	short, _ := w.session(anna, time.Hour)
	*now = now.Add(30 * time.Minute)
	if !open(short) {
		t.Error("a session ends early")
	}
	*now = now.Add(31 * time.Minute)
	if open(short) {
		t.Error("a session outlives its time")
	}
	a, _ := w.session(anna, time.Hour)
	b, _ := w.session(anna, time.Hour)
	other, _ := w.session(ben, time.Hour)
	w.refused(model.NotFound, "no session", func(tx *state.Tx) error { return orchestrate.DeleteSession(tx, anna, other) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteSession(tx, anna, a) })
	if open(a) || !open(b) || !open(other) {
		t.Error("revoking one session ends another, or not that one")
	}
	w.do(func(tx *state.Tx) error { return orchestrate.SetPassword(tx, anna, "another hash") })
	if open(b) || !open(other) {
		t.Error("another password leaves the sessions, or ends those of others")
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteUser(tx, ben) })
	if open(other) || len(state.Keys[model.SessionRow](w.db.Local(), model.SessionsOf(ben))) != 0 {
		t.Error("a session outlives its user")
	}
	for range 60 {
		w.session(anna, time.Hour)
	}
	if n := len(orchestrate.Sessions(w.db.Local(), anna)); n != 50 {
		t.Errorf("%d sessions of one user, want 50 at most", n)
	}
	w.refused(model.Invalid, "expires", func(tx *state.Tx) error {
		_, _, err := orchestrate.CreateSession(tx, anna, model.SessionClient, "", "", 31*24*time.Hour)
		return err
	})
}

// TestLoginKeysRotate: a new one after a month, the old ones as long as something may be signed with them.
func TestLoginKeysRotate(t *testing.T) {
	w := newWorld(t)
	now := w.clock()
	anna := w.user("anna")
	_, first := w.session(anna, time.Hour)
	*now = now.Add(29 * 24 * time.Hour)
	if _, k := w.session(anna, time.Hour); k.ID != first.ID {
		t.Error("the key is changed early")
	}
	*now = now.Add(2 * 24 * time.Hour)
	_, second := w.session(anna, time.Hour)
	if second.ID == first.ID || len(second.Secret) != 32 {
		t.Errorf("the key after a month: %+v", second)
	}
	if _, ok := orchestrate.LoginKey(w.db.Local(), first.ID); !ok {
		t.Error("the key before is forgotten while sessions are signed with it")
	}
	*now = now.Add(31 * 24 * time.Hour)
	w.session(anna, time.Hour)
	if _, ok := orchestrate.LoginKey(w.db.Local(), first.ID); ok {
		t.Error("the first key is kept for good")
	}
	w.do(orchestrate.RotateLoginKeys)
	if _, ok := orchestrate.LoginKey(w.db.Local(), second.ID); ok {
		t.Error("a rotation by hand keeps the old keys")
	}
}

// TestCodesAreTakenOnce: also after the clock went back, and never before they were confirmed.
func TestCodesAreTakenOnce(t *testing.T) {
	w := newWorld(t)
	anna := w.user("anna")
	step := func(at int64) orchestrate.CodeStep {
		return func(_ []byte, code string) (int64, bool) { return at, code == "right" }
	}
	use := func(at int64, code string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error { return orchestrate.UseCode(tx, anna, code, step(at)) }
	}
	w.refused(model.Unauthenticated, "not right", use(1, "right"))
	w.refused(model.Conflict, "ask for a secret", func(tx *state.Tx) error { return orchestrate.ConfirmTOTP(tx, anna, "right", step(1)) })
	w.do(func(tx *state.Tx) error { _, err := orchestrate.BeginTOTP(tx, anna); return err })
	w.refused(model.Unauthenticated, "not right", use(1, "right"))
	w.refused(model.Invalid, "clock", func(tx *state.Tx) error { return orchestrate.ConfirmTOTP(tx, anna, "wrong", step(1)) })
	w.do(func(tx *state.Tx) error { return orchestrate.ConfirmTOTP(tx, anna, "right", step(5)) })
	w.refused(model.Conflict, "already", func(tx *state.Tx) error { _, err := orchestrate.BeginTOTP(tx, anna); return err })
	w.refused(model.Unauthenticated, "used already", use(5, "right"))
	w.refused(model.Unauthenticated, "used already", use(4, "right"))
	w.refused(model.Unauthenticated, "not right", use(6, "wrong"))
	w.do(use(6, "right"))
	w.refused(model.Unauthenticated, "used already", use(6, "right"))
	w.do(func(tx *state.Tx) error { return orchestrate.EndTOTP(tx, anna) })
	w.refused(model.NotFound, "no one-time codes", func(tx *state.Tx) error { return orchestrate.EndTOTP(tx, anna) })
}

// TestRegistration: it is no user until it is confirmed, once, in time; and does not tell which names are taken.
func TestRegistration(t *testing.T) {
	w := newWorld(t)
	now := w.clock()
	register := func(name string) (token string) {
		w.do(func(tx *state.Tx) (err error) {
			token, err = orchestrate.Register(tx, model.User{Username: name, Email: name + "@example.org", Admin: true}, "hash")
			return err
		})
		return token
	}
	confirm := func(token string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error { _, err := orchestrate.ConfirmRegistration(tx, token); return err }
	}
	first, second := register("anna"), register("anna")
	if _, err := orchestrate.UserByName(w.db.Local(), "anna"); model.CodeOf(err) != model.NotFound {
		t.Fatalf("an unconfirmed account is a user: %v", err)
	}
	w.do(confirm(first))
	u, err := orchestrate.UserByName(w.db.Local(), "anna")
	if err != nil || u.Admin || u.Email != "anna@example.org" || u.PasswordHash != "hash" {
		t.Fatalf("user %+v %v", u, err)
	}
	w.refused(model.NotFound, "register again", confirm(first))
	w.refused(model.Conflict, "taken already", confirm(second))
	late := register("ben")
	*now = now.Add(orchestrate.RegistrationLife + time.Minute)
	w.refused(model.NotFound, "register again", confirm(late))
	register("carl")
	if n := len(state.Keys[model.RegistrationRow](w.db.Local(), model.AllRegistrations)); n != 1 {
		t.Errorf("%d registrations are kept, want the one that is not over", n)
	}
	w.refused(model.Invalid, "control characters", func(tx *state.Tx) error {
		_, err := orchestrate.Register(tx, model.User{Username: "x", Email: "a@b\r\nBcc: c@d"}, "")
		return err
	})
}

// TestLastUse is written once an hour, and goes with the key.
func TestLastUse(t *testing.T) {
	w := newWorld(t)
	now := w.clock()
	var key model.ApplicationKey
	w.do(func(tx *state.Tx) (err error) {
		key, err = orchestrate.CreateApplicationKey(tx, w.org, model.ApplicationKey{Name: "ci", Method: "TOKEN", Group: "architects"}, "anna")
		return err
	})
	use := func() uint64 {
		w.do(func(tx *state.Tx) error { return orchestrate.NoteUse(tx, key.UUID, "192.0.2.1") })
		return w.db.Local().Index()
	}
	at := use()
	*now = now.Add(50 * time.Minute)
	if use() != at {
		t.Error("written again within the hour")
	}
	*now = now.Add(11 * time.Minute)
	if use() == at {
		t.Error("not written after an hour")
	}
	doc, err := orchestrate.GetApplicationKey(w.db.Local(), w.org, "ci")
	if err != nil || doc.LastUsed == "" {
		t.Errorf("key %+v %v", doc, err)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteApplicationKey(tx, w.org, "ci") })
	if _, ok := state.Get[model.LastUseRow](w.db.Local(), key.UUID); ok {
		t.Error("the last use outlives the key")
	}
	at = w.db.Local().Index()
	if use() != at {
		t.Error("the use of a key that is gone is written")
	}
}

// TestIdentity: a subject of a provider is one user, and stays it.
func TestIdentity(t *testing.T) {
	w := newWorld(t)
	anna, ben := w.user("anna"), w.user("ben")
	for range 2 {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.LinkIdentity(tx, anna, "https://op", "7"); return err })
	}
	w.refused(model.Conflict, "another user", func(tx *state.Tx) error { _, err := orchestrate.LinkIdentity(tx, ben, "https://op", "7"); return err })
	if u, ok := orchestrate.UserOfIdentity(w.db.Local(), "https://op", "7"); !ok || u.ID != anna {
		t.Errorf("%+v %v", u, ok)
	}
	if _, ok := orchestrate.UserOfIdentity(w.db.Local(), "https://other", "7"); ok {
		t.Error("the same subject of another provider is the same user")
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteUser(tx, anna) })
	if _, ok := orchestrate.UserOfIdentity(w.db.Local(), "https://op", "7"); ok {
		t.Error("an identity outlives its user")
	}
}
