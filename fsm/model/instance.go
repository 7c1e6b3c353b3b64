package model

import "time"

// InstanceState is the state of a machine (contract section 3.3).
type InstanceState string

// The states of a machine.
const (
	InstanceStarting InstanceState = "STARTING"
	InstanceRunning  InstanceState = "RUNNING"
	InstancePaused   InstanceState = "PAUSED"
	InstanceStopped  InstanceState = "STOPPED"
	InstanceError    InstanceState = "ERROR"
)

// The states of an agent as the contract names them (section 3.3).
const (
	SynapseUp   = "Up"
	SynapseDown = "Down"
)

// Property is a fact of a machine, as text.
type Property struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Instance is the document of contract section 3.3.
type Instance struct {
	UUID         string        `json:"uuid,omitempty"`
	Version      int           `json:"version,omitempty"`
	Organization string        `json:"organization"`
	Environment  string        `json:"environment"`
	Host         string        `json:"host"`
	State        InstanceState `json:"state"`
	SynapseState string        `json:"synapseState"`
	Hostname     string        `json:"hostname"`
	Locked       bool          `json:"locked"`
	Properties   []Property    `json:"properties"`
	Waiting      string        `json:"waiting,omitempty"` // why the machine gets no orders, or what its provisioning waits for
	Error        string        `json:"error,omitempty"`   // what went wrong last with the machine; absent when all went well
}

// InstanceRow is what is kept of the machine of a host. Its key is the host's id.
type InstanceRow struct {
	ID         string        `json:"id"`
	OrgID      string        `json:"orgId"`
	HostID     string        `json:"hostId"`
	Version    int           `json:"version"`
	State      InstanceState `json:"state"`
	Locked     bool          `json:"locked,omitempty"`
	Properties []Property    `json:"properties,omitempty"` // by key
	Created    time.Time     `json:"created"`

	Provisioning bool   `json:"provisioning,omitempty"` // its agent has not enrolled yet
	Installs     int    `json:"installs,omitempty"`     // changes with a lower number are part of the provisioning
	PlatformID   string `json:"platformId,omitempty"`   // whose driver has to do with it; "" of one that enrolled by itself
	Handle       string `json:"handle,omitempty"`       // what the driver calls the machine
	Error        string `json:"error,omitempty"`        // what the driver's last failure was
}

// Table names the table of instances.
func (*InstanceRow) Table() string { return "instance" }

// Key is the host's id.
func (i *InstanceRow) Key() string { return i.HostID }

// Ranges: the instances of the organization.
func (i *InstanceRow) Ranges() []string { return []string{InstancesOf(i.OrgID)} }

// Parent is the host.
func (i *InstanceRow) Parent() (table, key string) { return "host", i.HostID }

// InstancesOf is the range of an organization's instances.
func InstancesOf(orgID string) string { return "org/" + orgID }

// Property is the value of a property of the machine.
func (i *InstanceRow) Property(key string) (string, bool) {
	for _, p := range i.Properties {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}
