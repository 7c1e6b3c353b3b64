package model

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// SessionRow is a login that outlives its request: a browser's, which sends a cookie, or a client's, which sends a
// JWT. The text that is sent is signed with a login key and names the row, so that deleting the row ends it.
type SessionRow struct {
	ID          string    `json:"id"`
	UserID      string    `json:"userId"`
	Kind        string    `json:"kind"`                  // SessionBrowser or SessionClient
	Description string    `json:"description,omitempty"` // what logged in, as it says of itself
	Address     string    `json:"address,omitempty"`     // where from
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	// Password is a digest of the stored hash of the user's password: another password ends the session.
	Password string `json:"password"`
}

// The kinds of sessions.
const (
	SessionBrowser = "browser"
	SessionClient  = "client"
)

// Table names the table of sessions.
func (*SessionRow) Table() string { return "session" }

// Key is the session's id.
func (s *SessionRow) Key() string { return s.ID }

// Ranges: the sessions of the user.
func (s *SessionRow) Ranges() []string { return []string{SessionsOf(s.UserID)} }

// Parent is the user.
func (s *SessionRow) Parent() (table, key string) { return "user", s.UserID }

// SessionsOf is the range of a user's sessions.
func SessionsOf(userID string) string { return "user/" + userID }

// Session is how a session is shown. Token is in the answer of its making only.
type Session struct {
	UUID        string `json:"uuid"`
	Kind        string `json:"kind"`
	Description string `json:"description"`
	Address     string `json:"address"`
	Created     string `json:"created"`
	Expires     string `json:"expires"`
	LastUsed    string `json:"lastUsed,omitempty"` // to the hour or so
	Current     bool   `json:"current,omitempty"`  // the one that asks
	Token       string `json:"token,omitempty"`
}

// LoginKey signs what sessions send.
type LoginKey struct {
	ID      string    `json:"id"`
	Secret  []byte    `json:"secret"` // 32 random bytes, for HMAC-SHA-256
	Created time.Time `json:"created"`
}

// LoginKeys are the keys of all sessions, the newest first; the others verify what was signed before. There is one row.
type LoginKeys struct {
	Keys []LoginKey `json:"keys"`
}

// LoginKeysKey is the key of the one row of login keys.
const LoginKeysKey = "login"

// Table names the table of the login keys.
func (*LoginKeys) Table() string { return "loginkeys" }

// Key is the same for the one there is.
func (*LoginKeys) Key() string { return LoginKeysKey }

// Ranges: none.
func (*LoginKeys) Ranges() []string { return nil }

// Parent: none.
func (*LoginKeys) Parent() (table, key string) { return "", "" }

// TOTPRow is what a user's one-time codes are made from (RFC 6238: SHA-1, 30 s, six digits).
type TOTPRow struct {
	UserID    string    `json:"userId"`
	Secret    []byte    `json:"secret"`
	Confirmed bool      `json:"confirmed"` // until then it is asked for nowhere
	LastStep  int64     `json:"lastStep"`  // of the last code that was taken: none is taken twice
	Created   time.Time `json:"created"`
}

// Table names the table of what one-time codes are made from.
func (*TOTPRow) Table() string { return "totp" }

// Key is the user's id.
func (t *TOTPRow) Key() string { return t.UserID }

// Ranges: none.
func (*TOTPRow) Ranges() []string { return nil }

// Parent is the user.
func (t *TOTPRow) Parent() (table, key string) { return "user", t.UserID }

// LastUseRow says when an application key or a session was used last, written at most once in LastUseEvery. It is a
// row of its own, so that using a key conflicts with no edit of it.
type LastUseRow struct {
	ID      string    `json:"id"` // of the key or session
	Time    time.Time `json:"time"`
	Address string    `json:"address,omitempty"`
}

// LastUseEvery is how old a last use gets before it is written anew.
const LastUseEvery = time.Hour

// Table names the table of last uses.
func (*LastUseRow) Table() string { return "lastuse" }

// Key is the id of what was used.
func (l *LastUseRow) Key() string { return l.ID }

// Ranges: none.
func (*LastUseRow) Ranges() []string { return nil }

// Parent: none; whoever deletes what was used deletes it.
func (*LastUseRow) Parent() (table, key string) { return "", "" }

// RegistrationRow is an account that was asked for and not confirmed: it is no user, and reserves no name.
type RegistrationRow struct {
	ID           string    `json:"id"`
	Username     string    `json:"username"`
	Fullname     string    `json:"fullname,omitempty"`
	Email        string    `json:"email"`
	PasswordHash string    `json:"passwordHash"`
	TokenHash    string    `json:"tokenHash"` // SHA-256 of what was sent to the address
	Created      time.Time `json:"created"`
	Expires      time.Time `json:"expires"`
}

// Table names the table of registrations.
func (*RegistrationRow) Table() string { return "registration" }

// Key is the row's id.
func (r *RegistrationRow) Key() string { return r.ID }

// Ranges: all of them, and the unique token.
func (r *RegistrationRow) Ranges() []string {
	return []string{AllRegistrations, RegistrationOfToken(r.TokenHash)}
}

// Parent: none.
func (*RegistrationRow) Parent() (table, key string) { return "", "" }

// AllRegistrations is the range of all registrations.
const AllRegistrations = "all"

// RegistrationOfToken is the unique range of the digest of a token.
func RegistrationOfToken(hash string) string { return "token/" + hash }

// IdentityRow says that a subject of an OpenID provider is a user.
type IdentityRow struct {
	ID      string    `json:"id"` // IdentityKey
	UserID  string    `json:"userId"`
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
}

// Table names the table of identities.
func (*IdentityRow) Table() string { return "identity" }

// Key is made of issuer and subject.
func (i *IdentityRow) Key() string { return i.ID }

// Ranges: the identities of the user.
func (i *IdentityRow) Ranges() []string { return []string{IdentitiesOf(i.UserID)} }

// Parent is the user.
func (i *IdentityRow) Parent() (table, key string) { return "user", i.UserID }

// Identity is a login at an OpenID provider that is a user's. Issuer and subject name it for good.
type Identity struct {
	UUID    string `json:"uuid"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Created string `json:"created"`
}

// IdentityKey is the key of the row of an issuer's subject.
func IdentityKey(issuer, subject string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return hex.EncodeToString(sum[:])
}

// IdentitiesOf is the range of a user's identities.
func IdentitiesOf(userID string) string { return "user/" + userID }

// InvitationRow is a name put into a group that was nobody's account then. It grants nothing: once there is such a
// user, an administrator of the organization confirms that it is the one who was meant.
type InvitationRow struct {
	ID       string    `json:"id"`
	Owner    Owner     `json:"owner"`
	Group    string    `json:"group"`
	Username string    `json:"username"`
	By       string    `json:"by"`
	Created  time.Time `json:"created"`
}

// Table names the table of invitations.
func (*InvitationRow) Table() string { return "invitation" }

// Key is the invitation's id.
func (i *InvitationRow) Key() string { return i.ID }

// Ranges: the invitations of the group, its owner and the organization.
func (i *InvitationRow) Ranges() []string {
	return []string{InvitationsTo(i.Owner.ID, i.Group), InvitationsBelow(i.Owner.ID), InvitationsOf(i.Owner.OrgID)}
}

// Parent is the owner of the group.
func (i *InvitationRow) Parent() (table, key string) { return string(i.Owner.Level), i.Owner.ID }

// InvitationsTo is the range of the invitations to a group.
func InvitationsTo(ownerID, group string) string { return "group/" + ownerID + "/" + group }

// InvitationsBelow is the range of the invitations to the groups of an owner.
func InvitationsBelow(ownerID string) string { return "owner/" + ownerID }

// InvitationsOf is the range of the invitations of an organization, at all levels.
func InvitationsOf(orgID string) string { return "org/" + orgID }

// Invitation is how an invitation is shown.
type Invitation struct {
	UUID         string `json:"uuid"`
	Organization string `json:"organization"`
	Environment  string `json:"environment,omitempty"`
	Host         string `json:"host,omitempty"`
	Group        string `json:"group"`
	Username     string `json:"username"`
	By           string `json:"by"`
	Created      string `json:"created"`
	// Registered says that there is such a user now, who can be confirmed; Fullname and Email are what it told of itself.
	Registered bool   `json:"registered"`
	Fullname   string `json:"fullname,omitempty"`
	Email      string `json:"email,omitempty"`
}
