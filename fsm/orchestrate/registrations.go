package orchestrate

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The limits of registrations that wait to be confirmed.
const (
	RegistrationLife = 24 * time.Hour
	maxRegistrations = 1000
)

// CheckAccount checks what a person says of itself. Error: Invalid.
func CheckAccount(doc model.User) error {
	if err := model.CheckName("user", doc.Username); err != nil {
		return err
	}
	if strings.Contains(doc.Username, ":") {
		return model.Errorf(model.Invalid, "user: name %q contains a colon, which Basic authentication cannot carry: remove it", doc.Username)
	}
	return checkPerson(doc)
}

// checkPerson is CheckAccount for an account whose name was checked when it was given.
func checkPerson(doc model.User) error {
	if len(doc.Fullname) > 200 || len(doc.Email) > 254 {
		return model.Errorf(model.Invalid, "fullname has at most 200 bytes, email at most 254")
	}
	for _, s := range []string{doc.Fullname, doc.Email} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return model.Errorf(model.Invalid, "fullname and email hold no line ends or other control characters: remove them")
		}
	}
	return nil
}

// Register keeps an account that was asked for until it is confirmed, and gives the token for that, which is kept
// nowhere. It looks at no user: whoever asks does not learn which names are taken. Errors: Invalid, Unavailable (too many wait).
func Register(tx *state.Tx, doc model.User, passwordHash string) (token string, err error) {
	if err := CheckAccount(doc); err != nil {
		return "", err
	}
	waiting := state.List[model.RegistrationRow](tx, model.AllRegistrations)
	left := len(waiting)
	for _, w := range waiting {
		if !tx.Now().Before(w.Expires) {
			state.Delete[model.RegistrationRow](tx, w.ID)
			left--
		}
	}
	if left >= maxRegistrations {
		e := model.Errorf(model.Unavailable, "too many registrations wait to be confirmed: try again tomorrow")
		e.RetryAfter = time.Hour
		return "", e
	}
	token = rand.Text()
	return token, state.Put(tx, &model.RegistrationRow{
		ID: newID(), Username: doc.Username, Fullname: doc.Fullname, Email: doc.Email, PasswordHash: passwordHash,
		TokenHash: model.HashSecret(token), Created: tx.Now(), Expires: tx.Now().Add(RegistrationLife),
	})
}

// ConfirmRegistration makes the account that a token is of. Errors: NotFound (the token), Conflict (the name was taken
// meanwhile).
func ConfirmRegistration(tx *state.Tx, token string) (*model.UserRow, error) {
	w, ok := state.Find[model.RegistrationRow](tx, model.RegistrationOfToken(model.HashSecret(token)))
	if !ok || !tx.Now().Before(w.Expires) {
		return nil, model.Errorf(model.NotFound, "the token is of no registration, or of one that is over: register again")
	}
	u, err := CreateUser(tx, model.User{Username: w.Username, Fullname: w.Fullname, Email: w.Email}, w.PasswordHash)
	if err != nil {
		return nil, err
	}
	state.Delete[model.RegistrationRow](tx, w.ID)
	return u, nil
}

// dropUserRows deletes what hangs on a user.
func dropUserRows(tx *state.Tx, userID string) {
	DeleteSessions(tx, userID, "")
	state.Delete[model.TOTPRow](tx, userID)
	for _, key := range state.Keys[model.IdentityRow](tx, model.IdentitiesOf(userID)) {
		state.Delete[model.IdentityRow](tx, key)
	}
}
