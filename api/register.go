package api

import (
	"net/mail"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// register keeps an account that somebody asks for until it is confirmed. Whether the name is taken, it answers the same
// in the same time; the letter tells.
func register(c *call) (any, error) {
	if !c.srv.cfg.Login.Register {
		return nil, model.Errorf(model.Forbidden, "this server takes no registrations: ask its administrator for an account")
	}
	if err := c.spend(); err != nil {
		return nil, err
	}
	doc, err := model.Decode[spec.UserAccount](c.body)
	if err != nil {
		return nil, err
	}
	if err := checkPassword(doc.Password); err != nil {
		return nil, err
	}
	if a, err := mail.ParseAddress(doc.Email); err != nil || a.Address != doc.Email {
		return nil, model.Errorf(model.Invalid, "email: give an address like anna@example.org")
	}
	hash := auth.HashPassword(doc.Password)
	user := model.User{Username: doc.Username, Fullname: doc.Fullname, Email: doc.Email}
	var token string
	var taken bool
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		tx.SetActor("registration")
		var err error
		token, err = orchestrate.Register(tx, user, hash)
		_, unknown := orchestrate.UserByName(tx, doc.Username)
		taken = unknown == nil
		if err != nil {
			return err
		}
		return c.recordOpen(tx, "", "", "", "users/"+doc.Username, false)
	})
	if err != nil {
		return nil, err
	}
	return done{true}, c.tellToken(user, token, taken)
}

// tellToken sends what confirms a registration to its address, or writes it to the log.
func (c *call) tellToken(user model.User, token string, taken bool) error {
	l := c.srv.cfg.Login
	if l.Mail == nil {
		if !taken {
			c.srv.cfg.Log.Warn("a registration waits for its confirmation; there is no mail server to send its token by",
				"username", user.Username, "token", token)
		}
		return nil
	}
	text := "Somebody, probably you, asked for the account \"" + user.Username + "\" of Muster" + at(l.PublicURL) + ".\n\n" +
		"To confirm it within " + orchestrate.RegistrationLife.String() + ", run \"muster account confirm\" and type this token:\n\n  " + token + "\n\n" +
		"If it was not you, do nothing: there will be no such account.\n"
	if taken {
		text = "Somebody, probably you, asked for the account \"" + user.Username + "\" of Muster" + at(l.PublicURL) + ".\n\n" +
			"That name is taken already: log in if it is yours, or register under another one.\n"
	}
	if err := l.Mail.Send(c.req.Context(), user.Email, "Your account of Muster", text); err != nil {
		c.srv.cfg.Log.Error("a registration's letter was not sent", "error", err)
		return model.Errorf(model.Unavailable, "the letter with the confirmation could not be sent: try again later")
	}
	return nil
}

func at(url string) string {
	if url == "" {
		return ""
	}
	return " at " + url
}

// confirmAccount makes the account that was asked for.
func confirmAccount(c *call) (any, error) {
	doc, err := model.Decode[spec.Confirmation](c.body)
	if err != nil {
		return nil, err
	}
	guarded, err := c.srv.guard.EnterAddress(c.req.Context(), c.address)
	if err != nil {
		return nil, delayed(err)
	}
	var user *model.UserRow
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		tx.SetActor("registration")
		var err error
		user, err = orchestrate.ConfirmRegistration(tx, doc.Token)
		if err != nil {
			return err
		}
		return c.recordOpen(tx, "", "", "", "users/"+user.Username, false)
	})
	if model.CodeOf(err) == model.NotFound {
		guarded.Done(false)
	}
	if err != nil {
		return nil, err
	}
	return orchestrate.MemberDoc(user), nil
}

// spend lets an address do what costs this server something only so often.
func (c *call) spend() error {
	a, err := c.srv.guard.EnterAddress(c.req.Context(), c.address)
	if err != nil {
		return delayed(err)
	}
	a.Done(false)
	return nil
}
