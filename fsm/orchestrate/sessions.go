package orchestrate

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The limits of sessions and of the keys that sign them.
const (
	MaxSessionLife  = 30 * 24 * time.Hour
	sessionsPerUser = 50                  // beyond, the one that ends first makes room
	loginKeyAge     = 30 * 24 * time.Hour // then the next login signs with a new key
)

// passwordMark is a digest that changes with a user's password.
func passwordMark(u *model.UserRow) string { return model.HashSecret("session\x00" + u.PasswordHash) }

// CreateSession makes a session of a user, and gives the key to sign it with. Sessions that are over are cleared away.
// Errors: NotFound (the user), Invalid (the life).
func CreateSession(tx *state.Tx, userID, kind, description, address string, life time.Duration) (*model.SessionRow, model.LoginKey, error) {
	u, err := UserByID(tx, userID)
	if err != nil {
		return nil, model.LoginKey{}, err
	}
	if life < time.Minute || life > MaxSessionLife {
		return nil, model.LoginKey{}, model.Errorf(model.Invalid, "expires: give a time from 1m to %s, not %s", MaxSessionLife, life)
	}
	tidySessions(tx, userID)
	key, err := SigningLoginKey(tx)
	if err != nil {
		return nil, key, err
	}
	s := &model.SessionRow{
		ID: newID(), UserID: userID, Kind: kind, Description: cutText(description, 200), Address: address, Created: tx.Now(),
		Expires: tx.Now().Add(life), Password: passwordMark(u),
	}
	return s, key, state.Put(tx, s)
}

// cutText is at most n bytes of a text, without half a character at its end.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// tidySessions deletes what is over, and makes room for one more.
func tidySessions(tx *state.Tx, userID string) {
	var live []*model.SessionRow
	for _, s := range state.List[model.SessionRow](tx, model.SessionsOf(userID)) {
		if tx.Now().Before(s.Expires) {
			live = append(live, s)
			continue
		}
		dropSession(tx, s.ID)
	}
	slices.SortFunc(live, func(a, b *model.SessionRow) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.ID, b.ID))
	})
	for len(live) >= sessionsPerUser {
		dropSession(tx, live[0].ID)
		live = live[1:]
	}
}

func dropSession(tx *state.Tx, id string) {
	state.Delete[model.SessionRow](tx, id)
	state.Delete[model.LastUseRow](tx, id)
}

// SigningLoginKey is the newest login key, a new one when that is old or there is none. Keys that no session can be
// signed with any more are dropped.
func SigningLoginKey(tx *state.Tx) (model.LoginKey, error) {
	row, ok := state.Edit[model.LoginKeys](tx, model.LoginKeysKey)
	if !ok {
		row = &model.LoginKeys{}
	}
	if len(row.Keys) > 0 && tx.Now().Sub(row.Keys[0].Created) < loginKeyAge {
		return row.Keys[0], nil
	}
	row.Keys = slices.DeleteFunc(row.Keys, func(k model.LoginKey) bool {
		return tx.Now().Sub(k.Created) >= loginKeyAge+MaxSessionLife
	})
	k := newLoginKey(tx)
	row.Keys = append([]model.LoginKey{k}, row.Keys...)
	return k, state.Put(tx, row)
}

// YoungLoginKey is the key that SigningLoginKey would give without a write; false when it would make one.
func YoungLoginKey(r state.Reader) (model.LoginKey, bool) {
	row, ok := state.Get[model.LoginKeys](r, model.LoginKeysKey)
	if !ok || len(row.Keys) == 0 || r.Now().Sub(row.Keys[0].Created) >= loginKeyAge {
		return model.LoginKey{}, false
	}
	return row.Keys[0], true
}

func newLoginKey(tx *state.Tx) model.LoginKey {
	k := model.LoginKey{ID: newID(), Secret: make([]byte, 32), Created: tx.Now()}
	_, _ = rand.Read(k.Secret) // never fails: crypto/rand ends the program instead
	return k
}

// RotateLoginKeys makes a new login key and forgets all others, which ends every session of everybody.
func RotateLoginKeys(tx *state.Tx) error {
	return state.Put(tx, &model.LoginKeys{Keys: []model.LoginKey{newLoginKey(tx)}})
}

// LoginKey finds a login key by its id; false when there is no such key (any more).
func LoginKey(r state.Reader, id string) (model.LoginKey, bool) {
	row, ok := state.Get[model.LoginKeys](r, model.LoginKeysKey)
	if !ok {
		return model.LoginKey{}, false
	}
	i := slices.IndexFunc(row.Keys, func(k model.LoginKey) bool { return k.ID == id })
	if i < 0 {
		return model.LoginKey{}, false
	}
	return row.Keys[i], true
}

// OpenSession finds a session and its user, if it still holds: not revoked, not over, and the password is the one that it
// began with. Error: Unauthenticated.
func OpenSession(r state.Reader, id string) (*model.SessionRow, *model.UserRow, error) {
	s, ok := state.Get[model.SessionRow](r, id)
	if !ok || !r.Now().Before(s.Expires) {
		return nil, nil, model.Errorf(model.Unauthenticated, "the session is over: log in again")
	}
	u, ok := state.Get[model.UserRow](r, s.UserID)
	if !ok || subtle.ConstantTimeCompare([]byte(s.Password), []byte(passwordMark(u))) != 1 {
		return nil, nil, model.Errorf(model.Unauthenticated, "the session is over: log in again")
	}
	return s, u, nil
}

// Sessions lists the sessions of a user that hold, the newest first.
func Sessions(r state.Reader, userID string) []model.Session {
	out := []model.Session{}
	rows := state.List[model.SessionRow](r, model.SessionsOf(userID))
	slices.SortFunc(rows, func(a, b *model.SessionRow) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range rows {
		if _, _, err := OpenSession(r, s.ID); err == nil {
			out = append(out, SessionDoc(r, s))
		}
	}
	return out
}

// SessionDoc is the document of a session.
func SessionDoc(r state.Reader, s *model.SessionRow) model.Session {
	return model.Session{
		UUID: s.ID, Kind: s.Kind, Description: s.Description, Address: s.Address, Created: model.FormatTime(s.Created),
		Expires: model.FormatTime(s.Expires), LastUsed: lastUsed(r, s.ID),
	}
}

// DeleteSession ends a session of a user. Error: NotFound.
func DeleteSession(tx *state.Tx, userID, id string) error {
	s, ok := state.Get[model.SessionRow](tx, id)
	if !ok || s.UserID != userID {
		return model.Errorf(model.NotFound, "there is no session %q", id)
	}
	dropSession(tx, id)
	return nil
}

// DeleteSessions ends all sessions of a user but the one called keep, "" for none.
func DeleteSessions(tx *state.Tx, userID, keep string) {
	for _, id := range state.Keys[model.SessionRow](tx, model.SessionsOf(userID)) {
		if id != keep {
			dropSession(tx, id)
		}
	}
}

// lastUsed is when a key or session was used last, "" when that is not known.
func lastUsed(r state.Reader, id string) string {
	if l, ok := state.Get[model.LastUseRow](r, id); ok {
		return model.FormatTime(l.Time)
	}
	return ""
}

// LastUseDue tells whether the last use of a key or session is old enough to be written anew.
func LastUseDue(r state.Reader, id string) bool {
	l, ok := state.Get[model.LastUseRow](r, id)
	return !ok || r.Now().Sub(l.Time) >= model.LastUseEvery
}

// NoteUse writes down that an application key or a session was used, if that is due and there is such a one.
func NoteUse(tx *state.Tx, id, address string) error {
	_, key := state.Get[model.ApplicationKeyRow](tx, id)
	_, session := state.Get[model.SessionRow](tx, id)
	if !key && !session || !LastUseDue(tx, id) {
		return nil
	}
	return state.Put(tx, &model.LastUseRow{ID: id, Time: tx.Now(), Address: address})
}
