package orchestrate

import (
	"crypto/subtle"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// UserByName finds a user. Error: NotFound.
func UserByName(r state.Reader, username string) (*model.UserRow, error) {
	u, ok := state.Find[model.UserRow](r, model.UserNamed(username))
	if !ok {
		return nil, model.Errorf(model.NotFound, "user %q not found", username)
	}
	return u, nil
}

// UserByID finds a user. Error: NotFound.
func UserByID(r state.Reader, userID string) (*model.UserRow, error) {
	u, ok := state.Get[model.UserRow](r, userID)
	if !ok {
		return nil, model.Errorf(model.NotFound, "user not found")
	}
	return u, nil
}

// Users lists all users by name.
func Users(r state.Reader) []*model.UserRow {
	return byName(state.List[model.UserRow](r, model.AllUsers), func(u *model.UserRow) string { return u.Username })
}

// UserDoc is the document of a user, without the password's hash.
func UserDoc(u *model.UserRow) model.User {
	return model.User{UUID: u.ID, Version: u.Version, Username: u.Username, Fullname: u.Fullname, Email: u.Email, Admin: u.Admin}
}

// MemberDoc is the document of a user as others see it in a group.
func MemberDoc(u *model.UserRow) model.User {
	doc := UserDoc(u)
	doc.Admin = false
	return doc
}

// CreateUser creates an account. passwordHash is opaque; "" lets nobody log in with a password.
// Errors: Invalid, Conflict (the name is taken).
func CreateUser(tx *state.Tx, doc model.User, passwordHash string) (*model.UserRow, error) {
	if err := CheckAccount(doc); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.UserRow](tx, model.UserNamed(doc.Username)); taken {
		return nil, taken409("user", doc.Username)
	}
	u := &model.UserRow{
		ID: newID(), Version: 1, Username: doc.Username, Fullname: doc.Fullname, Email: doc.Email, Admin: doc.Admin,
		PasswordHash: passwordHash, Created: tx.Now(),
	}
	return u, state.Put(tx, u)
}

// UpdateUser changes full name, e-mail and the admin flag; the user name stays. Errors: NotFound, Invalid,
// Conflict (the last administrator).
func UpdateUser(tx *state.Tx, userID string, patch []byte) (*model.UserRow, error) {
	u, ok := state.Edit[model.UserRow](tx, userID)
	if !ok {
		return nil, model.Errorf(model.NotFound, "user not found")
	}
	doc, err := model.Merge(UserDoc(u), patch)
	if err != nil {
		return nil, err
	}
	if err := checkPerson(doc); err != nil {
		return nil, err
	}
	if doc.Username != u.Username {
		return nil, model.Errorf(model.Invalid, "a user name cannot change: create %q and delete %q", doc.Username, u.Username)
	}
	if u.Admin && !doc.Admin {
		if err := otherAdmin(tx, u); err != nil {
			return nil, err
		}
	}
	u.Fullname, u.Email, u.Admin = doc.Fullname, doc.Email, doc.Admin
	u.Version++
	return u, state.Put(tx, u)
}

// otherAdmin refuses to leave the installation without an administrator.
func otherAdmin(r state.Reader, u *model.UserRow) error {
	for _, o := range Users(r) {
		if o.Admin && o.ID != u.ID {
			return nil
		}
	}
	return model.Errorf(model.Conflict, "%q is the only administrator: make another user one first", u.Username)
}

// SetPassword replaces the hash of a user's password, which ends the user's sessions. Error: NotFound.
func SetPassword(tx *state.Tx, userID, passwordHash string) error {
	u, ok := state.Edit[model.UserRow](tx, userID)
	if !ok {
		return model.Errorf(model.NotFound, "user not found")
	}
	u.PasswordHash = passwordHash
	u.Version++
	DeleteSessions(tx, userID, "")
	return state.Put(tx, u)
}

// DeleteUser deletes a user and takes it out of all groups. Errors: NotFound, Conflict (the last administrator).
func DeleteUser(tx *state.Tx, userID string) error {
	u, err := UserByID(tx, userID)
	if err != nil {
		return err
	}
	if u.Admin {
		if err := otherAdmin(tx, u); err != nil {
			return err
		}
	}
	for _, k := range state.Keys[model.GroupRow](tx, model.GroupsOfUser(userID)) {
		g, ok := state.Edit[model.GroupRow](tx, k)
		if !ok {
			continue
		}
		g.Users = slices.DeleteFunc(g.Users, func(id string) bool { return id == userID })
		g.Version++
		if err := state.Put(tx, g); err != nil {
			return err
		}
	}
	dropUserRows(tx, userID)
	state.Delete[model.UserRow](tx, userID)
	return nil
}

// FirstStart creates the first administrator; with any user there already it does nothing and answers false.
// Error: Invalid (the name).
func FirstStart(tx *state.Tx, username, passwordHash string) (bool, error) {
	if len(state.Keys[model.UserRow](tx, model.AllUsers)) > 0 {
		return false, nil
	}
	_, err := CreateUser(tx, model.User{Username: username, Admin: true}, passwordHash)
	return err == nil, err
}

// Membership is a group that a user is in, and where.
type Membership struct {
	Owner model.Owner
	Group string
}

// Memberships lists the groups that a user is in, at all levels of all organizations.
func Memberships(r state.Reader, userID string) []Membership {
	var out []Membership
	for _, g := range state.List[model.GroupRow](r, model.GroupsOfUser(userID)) {
		out = append(out, Membership{g.Owner, g.Name})
	}
	return out
}

// Groups lists the fixed groups of an owner. Application keys are members at the level of the organization.
func Groups(r state.Reader, o model.Owner) []model.Group {
	out := []model.Group{}
	for _, name := range model.GroupNames() {
		out = append(out, groupDoc(r, o, name))
	}
	return out
}

func groupDoc(r state.Reader, o model.Owner, name string) model.Group {
	doc := model.Group{
		UUID: model.GroupUUID(o.ID, name), Version: 1, Name: name, Organization: organizationName(r, o.OrgID),
		Users: []model.User{}, ApplicationKeys: []model.ApplicationKey{},
	}
	if g, ok := state.Get[model.GroupRow](r, model.GroupKey(o.ID, name)); ok {
		doc.Version = g.Version
		for _, id := range g.Users {
			if u, ok := state.Get[model.UserRow](r, id); ok {
				doc.Users = append(doc.Users, MemberDoc(u))
			}
		}
	}
	for _, i := range state.List[model.InvitationRow](r, model.InvitationsTo(o.ID, name)) {
		doc.Users = append(doc.Users, model.User{Username: i.Username, Invited: true})
	}
	if o.Level == model.LevelOrganization {
		for _, k := range ApplicationKeys(r, o.OrgID) {
			if k.Group == name {
				doc.ApplicationKeys = append(doc.ApplicationKeys, k)
			}
		}
	}
	return doc
}

// GetGroup is one of the fixed groups of an owner. Error: NotFound.
func GetGroup(r state.Reader, o model.Owner, name string) (model.Group, error) {
	if err := groupOwner(r, o, name); err != nil {
		return model.Group{}, err
	}
	return groupDoc(r, o, name), nil
}

func groupOwner(r state.Reader, o model.Owner, name string) error {
	if err := ownerExists(r, o); err != nil {
		return err
	}
	if o.Level == model.LevelContext || !slices.Contains(model.GroupNames(), name) {
		return model.Errorf(model.NotFound, "group %q not found: the groups are admin, users, auditors, readonly, no access and architects", name)
	}
	return nil
}

// UpdateGroup replaces the users of a group, given by user name. A name that nobody has becomes an invitation, and stays
// one until it is confirmed or taken out of the list. Errors: NotFound, Invalid (another name), Conflict (an organization without an administrator: nobody could enter it any more).
func UpdateGroup(tx *state.Tx, o model.Owner, name string, patch []byte) (model.Group, error) {
	if err := groupOwner(tx, o, name); err != nil {
		return model.Group{}, err
	}
	doc, err := model.Decode[struct {
		Name  *string       `json:"name"`
		Users *[]model.User `json:"users"`
	}](patch)
	if err != nil {
		return model.Group{}, err
	}
	if doc.Name != nil && *doc.Name != name {
		return model.Group{}, model.Errorf(model.Invalid, "the name of group %q cannot change: the groups are fixed", name)
	}
	if doc.Users == nil {
		return groupDoc(tx, o, name), nil
	}
	g, ok := state.Edit[model.GroupRow](tx, model.GroupKey(o.ID, name))
	if !ok {
		g = &model.GroupRow{Owner: o, Name: name, Version: 1}
	}
	if g.Users, err = members(tx, o, name, *doc.Users); err != nil {
		return model.Group{}, err
	}
	if len(g.Users) == 0 && o.Level == model.LevelOrganization && name == model.GroupAdmin {
		return model.Group{}, model.Errorf(model.Conflict, "group %q of the organization would be empty, and nobody could manage it: leave one user", name)
	}
	g.Version++
	if err := state.Put(tx, g); err != nil {
		return model.Group{}, err
	}
	return groupDoc(tx, o, name), nil
}

// members gives the ids of those of the list who are users, and makes invitations for the rest.
func members(tx *state.Tx, o model.Owner, group string, list []model.User) ([]string, error) {
	waiting := map[string]bool{}
	for _, i := range state.List[model.InvitationRow](tx, model.InvitationsTo(o.ID, group)) {
		waiting[i.Username] = true
	}
	ids, invited := []string{}, []string{}
	for _, member := range list {
		if member.Username == "" {
			return nil, model.Errorf(model.Invalid, "a member of group %q has no username: give one", group)
		}
		u, ok := state.Find[model.UserRow](tx, model.UserNamed(member.Username))
		// Who was invited before there was such a user is confirmed on its own, not by a list that is sent again.
		if !ok || waiting[u.Username] {
			invited = append(invited, member.Username)
		} else if !slices.Contains(ids, u.ID) {
			ids = append(ids, u.ID)
		}
	}
	return ids, invite(tx, o, group, invited)
}

// GroupTree shows the groups with members at an owner's level and below (contract section 3.1). Error: NotFound.
func GroupTree(r state.Reader, o model.Owner) (model.GroupTree, error) {
	if err := ownerExists(r, o); err != nil {
		return model.GroupTree{}, err
	}
	t := model.GroupTree{
		Organization: organizationName(r, o.OrgID), GroupViews: peopled(r, o), EnvironmentGroupViews: []model.EnvironmentGroupView{},
	}
	if o.Level != model.LevelOrganization {
		return t, nil
	}
	for _, e := range Environments(r, o.OrgID) {
		view := model.EnvironmentGroupView{Environment: e.Name, GroupViews: peopled(r, OwnerOfEnvironment(e)), HostGroupViews: []model.HostGroupView{}}
		for _, h := range Hosts(r, o.OrgID, e.ID) {
			view.HostGroupViews = append(view.HostGroupViews, model.HostGroupView{Host: h.Name, GroupViews: peopled(r, OwnerOfHost(h))})
		}
		t.EnvironmentGroupViews = append(t.EnvironmentGroupViews, view)
	}
	return t, nil
}

func peopled(r state.Reader, o model.Owner) []model.Group {
	return slices.DeleteFunc(Groups(r, o), func(g model.Group) bool { return len(g.Users)+len(g.ApplicationKeys) == 0 })
}

// KeyByToken finds the application key of a token. Error: Unauthenticated (unknown, expired).
func KeyByToken(r state.Reader, token string) (*model.ApplicationKeyRow, error) {
	k, ok := state.Find[model.ApplicationKeyRow](r, model.ApplicationKeyOfToken(model.HashSecret(token)))
	return usable(r, k, ok && token != "")
}

// KeyByAccess finds the application key of an access key and its secret. Error: Unauthenticated (unknown, wrong,
// expired).
func KeyByAccess(r state.Reader, accessKey, secret string) (*model.ApplicationKeyRow, error) {
	k, ok := state.Find[model.ApplicationKeyRow](r, model.ApplicationKeyOfAccess(accessKey))
	ok = ok && accessKey != "" && subtle.ConstantTimeCompare([]byte(k.SecretHash), []byte(model.HashSecret(secret))) == 1
	return usable(r, k, ok)
}

func usable(r state.Reader, k *model.ApplicationKeyRow, ok bool) (*model.ApplicationKeyRow, error) {
	if !ok || !orgKept(r, k.OrgID) {
		return nil, model.Errorf(model.Unauthenticated, "unknown application key")
	}
	if !k.Expires.IsZero() && !r.Now().Before(k.Expires) {
		return nil, model.Errorf(model.Unauthenticated, "the application key expired at %s", model.FormatTime(k.Expires))
	}
	return k, nil
}
