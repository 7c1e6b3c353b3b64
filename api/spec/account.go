package spec

import "github.com/muster-hq/muster/fsm/model"

// account are the rows of people: their accounts, sessions and one-time codes, and who is invited.
func account() []Section {
	return []Section{
		{Own, "Account", []Row{
			{GET, "/account", "account.show", Built, "", "", "Account"},
			{GET, "/account/sessions/", "account.sessions.list", Built, "", "", "list of Session"},
			{POST, "/account/sessions/", "account.sessions.create", Built, "", "SessionRequest", "Session with its token, this once, or a cookie"},
			{DELETE, "/account/sessions/{id}", "account.sessions.delete", Built, "", "", "ignored"},
			{POST, "/account/totp", "account.totp.begin", Built, "", "empty", "TOTPSecret, this once"},
			{PUT, "/account/totp/_confirm", "account.totp.confirm", Built, "", "TOTPCode", "non-empty JSON"},
			{DELETE, "/account/totp", "account.totp.delete", Built, "", "", "ignored"},
			{POST, "/account/_register", "account.register", Built, "", "UserAccount", "non-empty JSON; needs no credentials"},
			{POST, "/account/_confirm", "account.confirm", Built, "", "Confirmation", "User; needs no credentials"},
			{GET, "/account/identities/", "account.identities.list", Built, "", "", "list of Identity"},
			{POST, "/account/identities/", "account.identities.link", Built, "", "IdentityLink", "IdentityLink with the provider's address, and a cookie"},
			{DELETE, "/account/identities/{id}", "account.identities.delete", Built, "", "", "ignored"},
			{GET, "/login/oidc", "login.oidc.begin", Built, "return", "", "302 to the OpenID provider, and a cookie; needs no credentials"},
			{GET, "/login/oidc/callback", "login.oidc.callback", Built, "code, state, error", "", "302 to what return named, with the cookie of a session; needs no credentials"},
			{GET, "/users/{name}/identities/", "users.identities.list", Built, "", "", "list of Identity"},
			{POST, "/users/{name}/identities/", "users.identities.create", Built, "", "Identity", "Identity"},
			{DELETE, "/users/{name}/identities/{id}", "users.identities.delete", Built, "", "", "ignored"},
			{POST, "/loginkeys", "loginkeys.rotate", Built, "", "empty", "non-empty JSON; ends all sessions"},
		}},
		{Own, "Invitations", []Row{
			{GET, "{O}/invitations/", "invitations.list", Built, "", "", "list of Invitation"},
			{PUT, "{O}/invitations/{id}/_confirm", "invitations.confirm", Built, "", "empty", "Group"},
			{DELETE, "{O}/invitations/{id}", "invitations.delete", Built, "", "", "ignored"},
		}},
	}
}

// Account is what a user is told of itself.
type Account struct {
	model.User
	TOTP    bool `json:"totp"`    // one-time codes are needed
	Session bool `json:"session"` // it asks in a session, not with the password
}

// SessionRequest is the body that begins a session.
type SessionRequest struct {
	Description string `json:"description"` // what logs in; default its User-Agent
	Expires     string `json:"expires"`     // from now: "12h" (the default), up to 720h
	Cookie      bool   `json:"cookie"`      // for a browser: the token comes as a cookie, and is not shown
}

// TOTPSecret is what one-time codes are made from, to be typed (Base32) or read by a program.
type TOTPSecret struct {
	Secret string `json:"secret"`
	URI    string `json:"uri"`
}

// IdentityLink begins linking a login at the OpenID provider to one's account.
type IdentityLink struct {
	Return  string `json:"return"`            // path of this site to come back to; default /
	Address string `json:"address,omitempty"` // of the answer: where the browser goes
}

// TOTPCode is a one-time code.
type TOTPCode struct {
	Code string `json:"code"`
}

// Confirmation is the body that confirms a registration.
type Confirmation struct {
	Token string `json:"token"`
}
