package auth

import "slices"

// The groups that every organization, environment and host has (contract section 3.1).
const (
	GroupAdmin      = "admin"
	GroupUsers      = "users"
	GroupAuditors   = "auditors"
	GroupReadonly   = "readonly"
	GroupNoAccess   = "no access"
	GroupArchitects = "architects" // ours, beside those of the contract
)

// Role is what a caller is to one object; a greater one may do all that a lesser one may.
type Role int

// The roles. A passer-by sees that an object exists because something below it is theirs to see, and
// its name, but nothing in it.
const (
	Nobody Role = iota
	PasserBy
	Reader
	Architect
	Auditor
	User
	Admin
)

// Action is a kind of thing to do to an object.
type Action int

// The actions, each with the least role that may do it.
const (
	Enter      Action = iota // see that it is there: PasserBy
	Read                     // Reader
	Design                   // change applications, distributions and platforms: Architect
	Operate                  // change environments, hosts and settings, run live actions: Auditor
	ReadSecret               // see values of secret settings: User
	Manage                   // groups, application keys, enrolment, the organization itself: Admin
)

// May tells whether the role allows the action. Auditors have the rights of users except that they
// never see secret settings. Architects see none either.
func (r Role) May(a Action) bool {
	switch a {
	case Enter:
		return r >= PasserBy
	case Read:
		return r >= Reader
	case Design:
		return r >= Architect
	case Operate:
		return r >= Auditor
	case ReadSecret:
		return r >= User
	case Manage:
		return r >= Admin
	}
	return false
}

// InGroups is the role that membership in groups of one object gives: the greatest, but "no access"
// beats all. decided is false when no group of the list is known, so the level above decides.
func InGroups(groups []string) (role Role, decided bool) {
	if slices.Contains(groups, GroupNoAccess) {
		return Nobody, true
	}
	for _, g := range groups {
		r := Nobody
		switch g {
		case GroupAdmin:
			r = Admin
		case GroupUsers:
			r = User
		case GroupAuditors:
			r = Auditor
		case GroupArchitects:
			r = Architect
		case GroupReadonly:
			r = Reader
		}
		if r > role {
			role, decided = r, true
		}
	}
	return role, decided
}

// Resolve is the role at the innermost of levels, given from the organization inwards: what the nearest
// level that names the caller says. An administrator of the organization stays one everywhere in it, as
// nobody could take the object back otherwise.
func Resolve(levels ...[]string) Role {
	role := Nobody
	for i, groups := range levels {
		r, decided := InGroups(groups)
		if decided {
			role = r
		}
		if i == 0 && role == Admin {
			return Admin
		}
	}
	return role
}
