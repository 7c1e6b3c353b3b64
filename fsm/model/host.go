package model

import "encoding/json"

// HostState is the state of a host (contract section 4.1). It is derived, never kept.
type HostState string

// The states of a host.
const (
	HostDefined      HostState = "DEFINED"      // a description without a machine
	HostProvisioning HostState = "PROVISIONING" // its machine is being made
	HostReady        HostState = "READY"        // as described
	HostUpdating     HostState = "UPDATING"     // a task is pending
	HostError        HostState = "ERROR"        // a task of the last change failed, or there is a compliance error
)

// Host is the document of contract section 3.3.
type Host struct {
	UUID         string    `json:"uuid,omitempty"`
	Version      int       `json:"version,omitempty"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	Organization string    `json:"organization"`
	Environment  string    `json:"environment"`
	Platform     *string   `json:"platform"`
	Distribution *string   `json:"distribution"`
	Applications []string  `json:"applications"`
	Settings     []Setting `json:"settings"`
	State        HostState `json:"state,omitempty"`
}

// HostRow is what is kept of a host.
type HostRow struct {
	ID          string `json:"id"`
	OrgID       string `json:"orgId"`
	EnvID       string `json:"envId"`
	Version     int    `json:"version"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Table names the table of hosts.
func (*HostRow) Table() string { return "host" }

// Key is the host's id.
func (h *HostRow) Key() string { return h.ID }

// Ranges: the hosts of the organization and of the environment, and its unique name there.
func (h *HostRow) Ranges() []string {
	return []string{HostsOfOrganization(h.OrgID), HostsOf(h.EnvID), HostNamed(h.EnvID, h.Name)}
}

// Parent is the environment.
func (h *HostRow) Parent() (table, key string) { return "environment", h.EnvID }

// HostsOfOrganization is the range of an organization's hosts.
func HostsOfOrganization(orgID string) string { return "org/" + orgID }

// HostsOf is the range of an environment's hosts.
func HostsOf(envID string) string { return "env/" + envID }

// HostNamed is the unique range of a name in an environment.
func HostNamed(envID, name string) string { return "name/" + envID + "/" + name }

// ServiceSwitch overrides on one host whether a service of an application is enabled.
type ServiceSwitch struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// ApplicationContext is an application on a host: the document of contract section 3.3.
type ApplicationContext struct {
	UUID         string          `json:"uuid,omitempty"`
	Version      int             `json:"version,omitempty"`
	Application  string          `json:"application"`
	Enabled      json.RawMessage `json:"enabled,omitempty"` // text or true/false; kept as given
	Services     []ServiceSwitch `json:"services"`
	Settings     []Setting       `json:"settings"`
	Organization string          `json:"organization"`
	Environment  string          `json:"environment"`
	Host         string          `json:"host"`
}

// ContextRow is what is kept of an application on a host.
type ContextRow struct {
	ID       string          `json:"id"`
	OrgID    string          `json:"orgId"`
	HostID   string          `json:"hostId"`
	AppID    string          `json:"appId"`
	Version  int             `json:"version"`
	Position int             `json:"position"` // order of installation on the host
	Enabled  json.RawMessage `json:"enabled,omitempty"`
	Services []ServiceSwitch `json:"services,omitempty"`
}

// Table names the table of application contexts.
func (*ContextRow) Table() string { return "context" }

// Key is the context's id.
func (c *ContextRow) Key() string { return c.ID }

// Ranges: the contexts of the host, those of the application, and the one of both.
func (c *ContextRow) Ranges() []string {
	return []string{ContextsOf(c.HostID), ContextsOfApplication(c.AppID), ContextOf(c.HostID, c.AppID)}
}

// Parent is the host.
func (c *ContextRow) Parent() (table, key string) { return "host", c.HostID }

// ContextsOf is the range of a host's application contexts.
func ContextsOf(hostID string) string { return "host/" + hostID }

// ContextsOfApplication is the range of an application's contexts.
func ContextsOfApplication(appID string) string { return "app/" + appID }

// ContextOf is the unique range of an application on a host.
func ContextOf(hostID, appID string) string { return "hostapp/" + hostID + "/" + appID }
