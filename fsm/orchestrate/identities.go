package orchestrate

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// maxIdentities are those of one user.
const maxIdentities = 20

// UserOfIdentity finds the user that a subject of an OpenID provider is.
func UserOfIdentity(r state.Reader, issuer, subject string) (*model.UserRow, bool) {
	i, ok := state.Get[model.IdentityRow](r, model.IdentityKey(issuer, subject))
	if !ok {
		return nil, false
	}
	return state.Get[model.UserRow](r, i.UserID)
}

// LinkIdentity says that a subject of an OpenID provider is a user. Errors: NotFound, Invalid, Conflict (it is another
// user, or the user has too many).
func LinkIdentity(tx *state.Tx, userID, issuer, subject string) (model.Identity, error) {
	if _, err := UserByID(tx, userID); err != nil {
		return model.Identity{}, err
	}
	// Core 1.0 section 2: a subject has at most 255 ASCII characters.
	if issuer == "" || len(issuer) > 500 || subject == "" || len(subject) > 255 {
		return model.Identity{}, model.Errorf(model.Invalid, "give the issuer (at most 500 bytes) and the subject (at most 255)")
	}
	key := model.IdentityKey(issuer, subject)
	if i, ok := state.Get[model.IdentityRow](tx, key); ok {
		if i.UserID == userID {
			return identityDoc(i), nil
		}
		return model.Identity{}, model.Errorf(model.Conflict, "this login of the provider is another user's")
	}
	if len(state.Keys[model.IdentityRow](tx, model.IdentitiesOf(userID))) >= maxIdentities {
		return model.Identity{}, model.Errorf(model.Conflict, "a user has at most %d logins at providers: delete one first", maxIdentities)
	}
	row := &model.IdentityRow{ID: key, UserID: userID, Issuer: issuer, Subject: subject, Created: tx.Now()}
	return identityDoc(row), state.Put(tx, row)
}

// RegisterIdentity makes an account for a subject of an OpenID provider that has none, with no password. The provider's
// word for a name gives nobody an account that is there already. Errors: Invalid, Conflict (the name is taken).
func RegisterIdentity(tx *state.Tx, issuer, subject string, doc model.User) (*model.UserRow, error) {
	doc.Admin = false
	if _, err := UserByName(tx, doc.Username); err == nil {
		return nil, model.Errorf(model.Conflict, "there is an account %q already: log in to it with its password and link this login of the provider", doc.Username)
	}
	u, err := CreateUser(tx, doc, "")
	if err != nil {
		return nil, err
	}
	_, err = LinkIdentity(tx, u.ID, issuer, subject)
	return u, err
}

// Identities are the logins at providers that are a user's.
func Identities(r state.Reader, userID string) []model.Identity {
	out := []model.Identity{}
	for _, i := range state.List[model.IdentityRow](r, model.IdentitiesOf(userID)) {
		out = append(out, identityDoc(i))
	}
	slices.SortFunc(out, func(a, b model.Identity) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.UUID, b.UUID))
	})
	return out
}

// DeleteIdentity unlinks a login at a provider, and ends the user's sessions, one of which it may have begun. Errors:
// NotFound, Conflict (it is all that the user can log in with).
func DeleteIdentity(tx *state.Tx, userID, id string) error {
	u, err := UserByID(tx, userID)
	if err != nil {
		return err
	}
	i, ok := state.Get[model.IdentityRow](tx, id)
	if !ok || i.UserID != userID {
		return model.Errorf(model.NotFound, "identity not found")
	}
	if u.PasswordHash == "" && len(state.Keys[model.IdentityRow](tx, model.IdentitiesOf(userID))) == 1 {
		return model.Errorf(model.Conflict, "the user could not log in any more: set a password first, or delete the user")
	}
	state.Delete[model.IdentityRow](tx, id)
	DeleteSessions(tx, userID, "")
	return nil
}

func identityDoc(i *model.IdentityRow) model.Identity {
	return model.Identity{UUID: i.ID, Issuer: i.Issuer, Subject: i.Subject, Created: model.FormatTime(i.Created)}
}
