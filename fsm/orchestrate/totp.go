package orchestrate

import (
	"crypto/rand"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// totpSecretBytes is the length of what codes are made from: that of a SHA-1 digest, as RFC 4226 recommends.
const totpSecretBytes = 20

// BeginTOTP gives a user a new secret for one-time codes, which is not asked for until ConfirmTOTP. Errors: NotFound,
// Conflict (codes are in use already).
func BeginTOTP(tx *state.Tx, userID string) ([]byte, error) {
	if _, err := UserByID(tx, userID); err != nil {
		return nil, err
	}
	t, ok := state.Edit[model.TOTPRow](tx, userID)
	if ok && t.Confirmed {
		return nil, model.Errorf(model.Conflict, "one-time codes are in use already: end them first")
	}
	secret := make([]byte, totpSecretBytes)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return secret, state.Put(tx, &model.TOTPRow{UserID: userID, Secret: secret, Created: tx.Now()})
}

// TOTP finds what a user's one-time codes are made from; false when the user has none, or has not confirmed them.
func TOTP(r state.Reader, userID string) (*model.TOTPRow, bool) {
	t, ok := state.Get[model.TOTPRow](r, userID)
	return t, ok && t.Confirmed
}

// CodeStep finds the time step that a code is of, for a secret; false when it is of none that is near the present.
type CodeStep func(secret []byte, code string) (step int64, ok bool)

// ConfirmTOTP turns one-time codes on, once the user has shown one. Errors: Conflict (nothing was begun), Invalid (the code).
func ConfirmTOTP(tx *state.Tx, userID, code string, step CodeStep) error {
	t, ok := state.Edit[model.TOTPRow](tx, userID)
	if !ok || t.Confirmed {
		return model.Errorf(model.Conflict, "there are no one-time codes to confirm: ask for a secret first")
	}
	at, ok := step(t.Secret, code)
	if !ok {
		return model.Errorf(model.Invalid, "code: it is not the present one: check the clock of the device that makes the codes")
	}
	t.Confirmed, t.LastStep = true, at
	return state.Put(tx, t)
}

// UseCode takes a one-time code of a user, once. Error: Unauthenticated.
func UseCode(tx *state.Tx, userID, code string, step CodeStep) error {
	t, ok := state.Edit[model.TOTPRow](tx, userID)
	if ok && t.Confirmed {
		if at, right := step(t.Secret, code); right && at > t.LastStep {
			t.LastStep = at
			return state.Put(tx, t)
		}
	}
	return model.Errorf(model.Unauthenticated, "the one-time code is not right, or was used already: wait for the next one")
}

// EndTOTP turns one-time codes off. Error: NotFound (there are none).
func EndTOTP(tx *state.Tx, userID string) error {
	if _, ok := state.Get[model.TOTPRow](tx, userID); !ok {
		return model.Errorf(model.NotFound, "there are no one-time codes")
	}
	state.Delete[model.TOTPRow](tx, userID)
	return nil
}
