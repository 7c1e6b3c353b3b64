package model

import (
	"encoding/json"
	"time"
)

// ComplianceError is the document of contract section 3.6.
type ComplianceError struct {
	Application   string          `json:"application"`
	Type          string          `json:"type"` // serviceResource, fileResource, ...
	Name          string          `json:"name"`
	CurrentState  json.RawMessage `json:"currentState"`  // an object, never null
	ExpectedState json.RawMessage `json:"expectedState"` // an object, never null
	Since         string          `json:"since,omitempty"`
}

// ComplianceRow is what is kept of a compliance error. AppID is "" when no application on the host declares
// the resource any more; then Application holds the name that the agent told.
type ComplianceRow struct {
	OrgID       string          `json:"orgId"`
	HostID      string          `json:"hostId"`
	AppID       string          `json:"appId,omitempty"`
	Application string          `json:"application,omitempty"`
	Type        string          `json:"type"` // collection word: services, files, ...
	Name        string          `json:"name"`
	Expected    json.RawMessage `json:"expected"`
	Observed    json.RawMessage `json:"observed"`
	Since       time.Time       `json:"since"`
	Told        uint64          `json:"told,omitempty"` // the agent's count when it told this last
}

// Table names the table of compliance errors.
func (*ComplianceRow) Table() string { return "compliance" }

// Key is made of the host's id, the application's id or name, the collection word and the resource's name.
func (c *ComplianceRow) Key() string {
	app := c.AppID
	if app == "" {
		app = "=" + c.Application
	}
	return c.HostID + "/" + app + "/" + c.Type + "/" + c.Name
}

// Ranges: the errors of the host.
func (c *ComplianceRow) Ranges() []string { return []string{ComplianceOf(c.HostID)} }

// Parent is the host.
func (c *ComplianceRow) Parent() (table, key string) { return "host", c.HostID }

// ComplianceOf is the range of a host's compliance errors.
func ComplianceOf(hostID string) string { return "host/" + hostID }

// The collection words of compliance identifiers and of the origin of tasks (contract section 4.4).
// Directories are ours.
const (
	TypeServices     = "services"
	TypeFiles        = "files"
	TypePackages     = "packages"
	TypeUsers        = "users"
	TypeGroups       = "groups"
	TypeRepositories = "repos"
	TypeDirectories  = "directories"
)

// ResourceType is the type name that a compliance error shows for a collection word, one of the six of contract
// section 3.6: a directory shows as a file.
func ResourceType(word string) string {
	switch word {
	case TypeServices:
		return "serviceResource"
	case TypeFiles, TypeDirectories: // the published client's list breaks off at a type it does not know
		return "fileResource"
	case TypePackages:
		return "packageResource"
	case TypeUsers:
		return "userResource"
	case TypeGroups:
		return "groupResource"
	case TypeRepositories:
		return "repoResource"
	}
	return word + "Resource"
}

// MonitoringAlert is the document of contract section 3.3.
type MonitoringAlert struct {
	Timestamp     string `json:"timestamp"`
	Collection    string `json:"collection"`
	Property      string `json:"property"`
	Output        string `json:"output"`
	Threshold     string `json:"threshold"`
	Level         string `json:"level"`
	CompareMethod string `json:"compare_method"`
}
