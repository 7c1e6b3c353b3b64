package model

// GroupedHost is a host of a host group (contract section 3.7).
type GroupedHost struct {
	Position      int    `json:"position"`
	Organization  string `json:"organization"`
	Environment   string `json:"environment"`
	Host          string `json:"host"`
	CanonicalName string `json:"canonicalName"` // ENVIRONMENT/HOST; set by the server
}

// Hostgroup is the document of contract section 3.7: hosts in an order, with settings of their own.
type Hostgroup struct {
	UUID         string        `json:"uuid,omitempty"`
	Version      int           `json:"version,omitempty"`
	Name         string        `json:"name"`
	Description  string        `json:"description"`
	Organization string        `json:"organization"`
	Hosts        []GroupedHost `json:"hosts"`
	Settings     []Setting     `json:"settings"`
}

// HostgroupRow is what is kept of a host group.
type HostgroupRow struct {
	ID          string   `json:"id"`
	OrgID       string   `json:"orgId"`
	Version     int      `json:"version"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Hosts       []string `json:"hosts,omitempty"` // ids, in the order of their positions
}

// Table names the table of host groups.
func (*HostgroupRow) Table() string { return string(LevelHostgroup) }

// Key is the group's id.
func (h *HostgroupRow) Key() string { return h.ID }

// Ranges: the groups of the organization, the unique name there, and the groups of each host.
func (h *HostgroupRow) Ranges() []string {
	r := []string{HostgroupsOf(h.OrgID), HostgroupNamed(h.OrgID, h.Name)}
	for _, id := range h.Hosts {
		r = append(r, HostgroupsOfHost(id))
	}
	return r
}

// Parent is the organization.
func (h *HostgroupRow) Parent() (table, key string) { return "organization", h.OrgID }

// HostgroupsOf is the range of an organization's host groups.
func HostgroupsOf(orgID string) string { return "org/" + orgID }

// HostgroupNamed is the unique range of a name in an organization.
func HostgroupNamed(orgID, name string) string { return "name/" + orgID + "/" + name }

// HostgroupsOfHost is the range of the groups that a host is in.
func HostgroupsOfHost(hostID string) string { return "host/" + hostID }

// ServiceAction is what an orchestration does with a service.
type ServiceAction struct {
	Name   string `json:"name"`
	Action string `json:"action"`
}

// Operation is one step of an orchestration: a handler of an application, or an action on one of its services.
type Operation struct {
	Position      int            `json:"position"`
	Application   string         `json:"application"`
	Handler       *string        `json:"handler"`
	ServiceAction *ServiceAction `json:"serviceAction"`
}

// OrderedHostgroup is a host group of an orchestration. Of the group a given document needs the name only.
type OrderedHostgroup struct {
	Position  int       `json:"position"`
	Hostgroup Hostgroup `json:"hostGroup"`
}

// Orchestration is the document of contract section 3.7. It is stored; running one is not built yet.
type Orchestration struct {
	UUID         string             `json:"uuid,omitempty"`
	Version      int                `json:"version,omitempty"`
	Name         string             `json:"name"`
	Description  string             `json:"description"`
	Organization string             `json:"organization"`
	Operations   []Operation        `json:"applicationsOperations"`
	Hostgroups   []OrderedHostgroup `json:"orderedHostGroup"`
}

// OrchestrationHandler names the settings that set an orchestration off (contract section 3.7).
type OrchestrationHandler struct {
	UUID     string   `json:"uuid,omitempty"`
	Version  int      `json:"version,omitempty"`
	Name     string   `json:"name"`
	Triggers []string `json:"triggers"`
}

// OperationRow is what is kept of an operation.
type OperationRow struct {
	AppID         string         `json:"appId"`
	Handler       *string        `json:"handler,omitempty"`
	ServiceAction *ServiceAction `json:"serviceAction,omitempty"`
}

// OrchestrationRow is what is kept of an orchestration: what it names is referred to by id.
type OrchestrationRow struct {
	ID          string                 `json:"id"`
	OrgID       string                 `json:"orgId"`
	Version     int                    `json:"version"`
	Name        string                 `json:"name"`
	Description string                 `json:"description,omitempty"`
	Operations  []OperationRow         `json:"operations,omitempty"` // in the order of their positions
	Hostgroups  []string               `json:"hostgroups,omitempty"` // ids, in the order of their positions
	Handlers    []OrchestrationHandler `json:"handlers,omitempty"`
}

// Table names the table of orchestrations.
func (*OrchestrationRow) Table() string { return "orchestration" }

// Key is the orchestration's id.
func (o *OrchestrationRow) Key() string { return o.ID }

// Ranges: the orchestrations of the organization, the unique name there, and those of what it names.
func (o *OrchestrationRow) Ranges() []string {
	r := []string{OrchestrationsOf(o.OrgID), OrchestrationNamed(o.OrgID, o.Name)}
	for _, op := range o.Operations {
		r = append(r, OrchestrationsNaming(op.AppID))
	}
	for _, id := range o.Hostgroups {
		r = append(r, OrchestrationsNaming(id))
	}
	return r
}

// Parent is the organization.
func (o *OrchestrationRow) Parent() (table, key string) { return "organization", o.OrgID }

// OrchestrationsOf is the range of an organization's orchestrations.
func OrchestrationsOf(orgID string) string { return "org/" + orgID }

// OrchestrationNamed is the unique range of a name in an organization.
func OrchestrationNamed(orgID, name string) string { return "name/" + orgID + "/" + name }

// OrchestrationsNaming is the range of the orchestrations that name an application or a host group.
func OrchestrationsNaming(id string) string { return "names/" + id }
