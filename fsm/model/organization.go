package model

import "time"

// Access identifies the agents and boot media of an organization (contract section 1.2).
type Access struct {
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
}

// Organization is the document of contract section 3.1.
type Organization struct {
	UUID         string    `json:"uuid,omitempty"`
	Version      int       `json:"version,omitempty"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	Access       *Access   `json:"access,omitempty"` // nil for callers without the right
	Environments []string  `json:"environments"`
	Groups       []string  `json:"groups"`
	Settings     []Setting `json:"settings"`
}

// OrganizationRow is what is kept of an organization.
type OrganizationRow struct {
	ID          string    `json:"id"`
	Version     int       `json:"version"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	AccessKey   string    `json:"accessKey"`
	SecretKey   string    `json:"secretKey"`
	Created     time.Time `json:"created"`

	// Importing is there while the organization is being imported: until then it has another name, and nobody sees it.
	Importing *Importing `json:"importing,omitempty"`
	// Going is there while the organization is being deleted: nothing leads to it any more.
	Going *Going `json:"going,omitempty"`
}

// Going is a deletion under way, of what is too much for one commit.
type Going struct {
	By    string    `json:"by"`    // who asked for it
	Since time.Time `json:"since"` // when
}

// AllGoing is the range of what is being deleted, of organizations and of environments.
const AllGoing = "going"

// GoingIn is the range of an organization's environments that are being deleted.
func GoingIn(orgID string) string { return "going/" + orgID }

// Importing is an import under way.
type Importing struct {
	Name string    `json:"name"` // that the organization gets at the end
	By   string    `json:"by"`   // username of who imports it
	Seen time.Time `json:"seen"` // when the import was last known to go on
}

// Table names the table of organizations.
func (*OrganizationRow) Table() string { return "organization" }

// Key is the organization's id.
func (o *OrganizationRow) Key() string { return o.ID }

// Ranges: all organizations, and its unique name and access key. One that is being deleted is in none of these: whatever asks for it
// does not find it, and its name may be taken again.
func (o *OrganizationRow) Ranges() []string {
	if o.Going != nil {
		return []string{AllGoing}
	}
	return []string{AllOrganizations, OrganizationNamed(o.Name), OrganizationOfAccess(o.AccessKey)}
}

// Parent: none.
func (*OrganizationRow) Parent() (table, key string) { return "", "" }

// AllOrganizations is the range of all organizations.
const AllOrganizations = "all"

// OrganizationNamed is the unique range of a name.
func OrganizationNamed(name string) string { return "name/" + name }

// OrganizationOfAccess is the unique range of an access key.
func OrganizationOfAccess(accessKey string) string { return "access/" + accessKey }

// Environment is the document of contract section 3.1.
type Environment struct {
	UUID         string    `json:"uuid,omitempty"`
	Version      int       `json:"version,omitempty"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	Organization string    `json:"organization"`
	Hosts        []string  `json:"hosts"`
	Settings     []Setting `json:"settings"`
}

// EnvironmentRow is what is kept of an environment.
type EnvironmentRow struct {
	ID          string `json:"id"`
	OrgID       string `json:"orgId"`
	Version     int    `json:"version"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`

	// Going is there while the environment is being deleted: nothing leads to it any more.
	Going *Going `json:"going,omitempty"`
}

// Table names the table of environments.
func (*EnvironmentRow) Table() string { return "environment" }

// Key is the environment's id.
func (e *EnvironmentRow) Key() string { return e.ID }

// Ranges: the environments of the organization, and its unique name there. One that is being deleted is in neither.
func (e *EnvironmentRow) Ranges() []string {
	if e.Going != nil {
		return []string{AllGoing, GoingIn(e.OrgID)}
	}
	return []string{EnvironmentsOf(e.OrgID), EnvironmentNamed(e.OrgID, e.Name)}
}

// Parent is the organization.
func (e *EnvironmentRow) Parent() (table, key string) { return "organization", e.OrgID }

// EnvironmentsOf is the range of an organization's environments.
func EnvironmentsOf(orgID string) string { return "org/" + orgID }

// EnvironmentNamed is the unique range of a name in an organization.
func EnvironmentNamed(orgID, name string) string { return "name/" + orgID + "/" + name }
