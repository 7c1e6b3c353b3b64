package orchestrate

import (
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// maxInvitations bounds the invitations of an organization.
const maxInvitations = 1000

// Invitations lists the invitations of an organization at all levels, by user name.
func Invitations(r state.Reader, orgID string) []model.Invitation {
	out := []model.Invitation{}
	rows := state.List[model.InvitationRow](r, model.InvitationsOf(orgID))
	for _, i := range byName(rows, func(i *model.InvitationRow) string { return i.Username + "\x00" + i.ID }) {
		out = append(out, InvitationDoc(r, i))
	}
	return out
}

// InvitationDoc is the document of an invitation.
func InvitationDoc(r state.Reader, i *model.InvitationRow) model.Invitation {
	doc := model.Invitation{
		UUID: i.ID, Organization: organizationName(r, i.Owner.OrgID), Group: i.Group, Username: i.Username, By: i.By,
		Created: model.FormatTime(i.Created),
	}
	envID := i.Owner.ID
	if i.Owner.Level == model.LevelHost {
		if h, err := HostByID(r, i.Owner.OrgID, i.Owner.ID); err == nil {
			doc.Host, envID = h.Name, h.EnvID
		}
	}
	if i.Owner.Level != model.LevelOrganization {
		if e, err := environmentByID(r, i.Owner.OrgID, envID); err == nil {
			doc.Environment = e.Name
		}
	}
	if u, ok := state.Find[model.UserRow](r, model.UserNamed(i.Username)); ok {
		doc.Registered, doc.Fullname, doc.Email = true, u.Fullname, u.Email
	}
	return doc
}

func invitation(r state.Reader, orgID, id string) (*model.InvitationRow, error) {
	i, ok := state.Get[model.InvitationRow](r, id)
	if !ok || i.Owner.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "there is no invitation %q", id)
	}
	return i, nil
}

// ConfirmInvitation makes the invited user a member of the group. Errors: NotFound, Conflict (there is no such user yet).
func ConfirmInvitation(tx *state.Tx, orgID, id string) (model.Group, error) {
	i, err := invitation(tx, orgID, id)
	if err != nil {
		return model.Group{}, err
	}
	u, ok := state.Find[model.UserRow](tx, model.UserNamed(i.Username))
	if !ok {
		return model.Group{}, model.Errorf(model.Conflict, "%q has no account yet: confirm the invitation when it has", i.Username)
	}
	g, ok := state.Edit[model.GroupRow](tx, model.GroupKey(i.Owner.ID, i.Group))
	if !ok {
		g = &model.GroupRow{Owner: i.Owner, Name: i.Group, Version: 1, Users: []string{}}
	}
	if !slices.Contains(g.Users, u.ID) {
		g.Users = append(g.Users, u.ID)
	}
	g.Version++
	if err := state.Put(tx, g); err != nil {
		return model.Group{}, err
	}
	state.Delete[model.InvitationRow](tx, i.ID)
	return groupDoc(tx, i.Owner, i.Group), nil
}

// DeleteInvitation takes an invitation back. Error: NotFound.
func DeleteInvitation(tx *state.Tx, orgID, id string) error {
	i, err := invitation(tx, orgID, id)
	if err != nil {
		return err
	}
	state.Delete[model.InvitationRow](tx, i.ID)
	return nil
}

// invite makes the invitations of a group those of names, and gives them no right.
func invite(tx *state.Tx, o model.Owner, group string, names []string) error {
	had := map[string]bool{}
	for _, i := range state.List[model.InvitationRow](tx, model.InvitationsTo(o.ID, group)) {
		if slices.Contains(names, i.Username) {
			had[i.Username] = true
			continue
		}
		state.Delete[model.InvitationRow](tx, i.ID)
	}
	for _, name := range names {
		if had[name] {
			continue
		}
		had[name] = true
		if err := CheckAccount(model.User{Username: name}); err != nil {
			return err
		}
		if len(state.Keys[model.InvitationRow](tx, model.InvitationsOf(o.OrgID))) >= maxInvitations {
			return model.Errorf(model.Conflict, "the organization has %d invitations that wait: take some back first", maxInvitations)
		}
		if err := state.Put(tx, &model.InvitationRow{ID: newID(), Owner: o, Group: group, Username: name, By: tx.Actor(), Created: tx.Now()}); err != nil {
			return err
		}
	}
	return nil
}
