package model

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// User is the document of contract section 3.1, as it stands in groups.
type User struct {
	UUID     string `json:"uuid,omitempty"`
	Version  int    `json:"version,omitempty"`
	Username string `json:"username"`
	Fullname string `json:"fullname"`
	Email    string `json:"email"`
	Admin    bool   `json:"admin,omitempty"`   // of the whole installation; ours
	Invited  bool   `json:"invited,omitempty"` // of a group: no member yet; ours
}

// UserRow is what is kept of a person's account.
type UserRow struct {
	ID           string    `json:"id"`
	Version      int       `json:"version"`
	Username     string    `json:"username"`
	Fullname     string    `json:"fullname,omitempty"`
	Email        string    `json:"email,omitempty"`
	Admin        bool      `json:"admin,omitempty"`
	PasswordHash string    `json:"passwordHash,omitempty"` // opaque here; never shown
	Created      time.Time `json:"created"`
}

// Table names the table of users.
func (*UserRow) Table() string { return "user" }

// Key is the user's id.
func (u *UserRow) Key() string { return u.ID }

// Ranges: all users, and the unique user name.
func (u *UserRow) Ranges() []string { return []string{AllUsers, UserNamed(u.Username)} }

// Parent: none.
func (*UserRow) Parent() (table, key string) { return "", "" }

// AllUsers is the range of all users.
const AllUsers = "all"

// UserNamed is the unique range of a user name.
func UserNamed(username string) string { return "name/" + username }

// The groups that every organization, environment and host has (contract section 3.1).
const (
	GroupAdmin      = "admin"
	GroupUsers      = "users"
	GroupAuditors   = "auditors"
	GroupReadonly   = "readonly"
	GroupNoAccess   = "no access"
	GroupArchitects = "architects" // ours: they change applications, distributions and platforms
)

// GroupNames lists the fixed groups.
func GroupNames() []string {
	return []string{GroupAdmin, GroupUsers, GroupAuditors, GroupReadonly, GroupNoAccess, GroupArchitects}
}

// Group is the document of contract section 3.1.
type Group struct {
	UUID            string           `json:"uuid,omitempty"`
	Version         int              `json:"version,omitempty"`
	Name            string           `json:"name"`
	Description     string           `json:"description"`
	Organization    string           `json:"organization"`
	Users           []User           `json:"users"`
	ApplicationKeys []ApplicationKey `json:"applicationKeys"`
}

// GroupTree is the document of contract section 3.1; the same at all three levels.
type GroupTree struct {
	Organization          string                 `json:"organization"`
	GroupViews            []Group                `json:"groupViews"`
	EnvironmentGroupViews []EnvironmentGroupView `json:"environmentGroupViews"`
}

// EnvironmentGroupView is the part of a GroupTree below an environment.
type EnvironmentGroupView struct {
	Environment    string          `json:"environment"`
	GroupViews     []Group         `json:"groupViews"`
	HostGroupViews []HostGroupView `json:"hostGroupViews"`
}

// HostGroupView is the part of a GroupTree at a host.
type HostGroupView struct {
	Host       string  `json:"host"`
	GroupViews []Group `json:"groupViews"`
}

// GroupRow is what is kept of a group; a group without a row has no members.
type GroupRow struct {
	Owner   Owner    `json:"owner"`
	Name    string   `json:"name"`
	Version int      `json:"version"`
	Users   []string `json:"users"` // ids
}

// Table names the table of groups.
func (*GroupRow) Table() string { return "group" }

// Key is made of the owner's id and the group's name.
func (g *GroupRow) Key() string { return GroupKey(g.Owner.ID, g.Name) }

// Ranges: the groups of the owner, those of the organization, and those that each member is in.
func (g *GroupRow) Ranges() []string {
	r := []string{GroupsOf(g.Owner.ID), GroupsOfOrganization(g.Owner.OrgID)}
	for _, u := range g.Users {
		r = append(r, GroupsOfUser(u))
	}
	return r
}

// Parent is the owner.
func (g *GroupRow) Parent() (table, key string) { return string(g.Owner.Level), g.Owner.ID }

// GroupKey is the key of the row of an owner's group.
func GroupKey(ownerID, name string) string { return ownerID + "/" + name }

// GroupsOf is the range of an owner's groups that have a row.
func GroupsOf(ownerID string) string { return "owner/" + ownerID }

// GroupsOfOrganization is the range of the groups with a row at all levels of an organization.
func GroupsOfOrganization(orgID string) string { return "org/" + orgID }

// GroupsOfUser is the range of the groups that a user is in.
func GroupsOfUser(userID string) string { return "user/" + userID }

// GroupUUID is the id shown for a group. It is made from owner and name, because a group exists before it has a row.
func GroupUUID(ownerID, name string) string {
	sum := sha256.Sum256([]byte("group/" + ownerID + "/" + name))
	return strings.ToUpper(hex.EncodeToString(sum[:16]))
}

// The methods of an application key (contract section 1.2).
const (
	KeyToken     = "TOKEN"
	KeyBasicAuth = "BASIC_AUTH"
)

// ApplicationKey is the document of contract section 3.1. Token and SecretKey are given once, in the
// answer to the request that made them.
type ApplicationKey struct {
	UUID           string `json:"uuid,omitempty"`
	Version        int    `json:"version,omitempty"`
	Name           string `json:"name"`
	Description    string `json:"description"`
	Organization   string `json:"organization"`
	Creator        string `json:"creator"`
	Created        string `json:"created"`
	Method         string `json:"method"`
	Group          string `json:"group"`
	ExpirationDate string `json:"expirationDate,omitempty"`
	LastUsed       string `json:"lastUsed,omitempty"` // to the hour or so; ours
	Token          string `json:"token,omitempty"`
	AccessKey      string `json:"accessKey,omitempty"`
	SecretKey      string `json:"secretKey,omitempty"`
}

// ApplicationKeyRow is what is kept of an application key: of its secrets only SHA-256 digests, which is
// enough since they are random.
type ApplicationKeyRow struct {
	ID          string    `json:"id"`
	OrgID       string    `json:"orgId"`
	Version     int       `json:"version"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Creator     string    `json:"creator"`
	Created     time.Time `json:"created"`
	Method      string    `json:"method"`
	Group       string    `json:"group"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
	TokenHash   string    `json:"tokenHash,omitempty"`
	AccessKey   string    `json:"accessKey,omitempty"`
	SecretHash  string    `json:"secretHash,omitempty"`
}

// Table names the table of application keys.
func (*ApplicationKeyRow) Table() string { return "applicationkey" }

// Key is the id of the application key.
func (k *ApplicationKeyRow) Key() string { return k.ID }

// Ranges: the keys of the organization, its unique name there, and what it is found by at a request.
func (k *ApplicationKeyRow) Ranges() []string {
	r := []string{ApplicationKeysOf(k.OrgID), ApplicationKeyNamed(k.OrgID, k.Name)}
	if k.TokenHash != "" {
		r = append(r, ApplicationKeyOfToken(k.TokenHash))
	}
	if k.AccessKey != "" {
		r = append(r, ApplicationKeyOfAccess(k.AccessKey))
	}
	return r
}

// Parent is the organization.
func (k *ApplicationKeyRow) Parent() (table, key string) { return "organization", k.OrgID }

// ApplicationKeysOf is the range of an organization's keys.
func ApplicationKeysOf(orgID string) string { return "org/" + orgID }

// ApplicationKeyNamed is the unique range of a name in an organization.
func ApplicationKeyNamed(orgID, name string) string { return "name/" + orgID + "/" + name }

// ApplicationKeyOfToken is the unique range of the digest of a token.
func ApplicationKeyOfToken(hash string) string { return "token/" + hash }

// ApplicationKeyOfAccess is the unique range of an access key.
func ApplicationKeyOfAccess(accessKey string) string { return "access/" + accessKey }

// HashSecret is the digest kept of a random secret: SHA-256 in hexadecimal digits.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
