package model

import (
	"encoding/json"
	"time"
)

// MachineDo is what a driver is to do to a machine.
type MachineDo string

// What drivers do. The power actions have the names that they have in the contract's paths (section 2.1).
const (
	DoCreate  MachineDo = "create"
	DoDestroy MachineDo = "destroy"
	DoStart   MachineDo = "start"
	DoPause   MachineDo = "pause"
	DoResume  MachineDo = "resume"
	DoStop    MachineDo = "stop" // an orderly shutdown
	DoOff     MachineDo = "off"
	DoImage   MachineDo = "create_image"
	DoAttach  MachineDo = "attach" // a machine that exists already
)

// MachineStep is how far the work on a machine has come.
type MachineStep string

// The steps. Each is over once the driver's answer is committed, and is done again otherwise.
const (
	StepCall  MachineStep = "call"  // the driver is to be asked for what is to be done
	StepBoot  MachineStep = "boot"  // the driver was asked; the machine is not yet in the state that was wanted
	StepEnrol MachineStep = "enrol" // a machine was made; its agent is to enrol
)

// MachineWork is the row of what a driver has to do to a machine: the steps of provisioning as design section 9 has them.
// There is at most one for a machine. That of a machine to be destroyed outlives its host.
type MachineWork struct {
	InstanceID string      `json:"instanceId"`
	OrgID      string      `json:"orgId"`
	HostID     string      `json:"hostId"`
	PlatformID string      `json:"platformId"`
	Class      string      `json:"class"` // of the driver
	Name       string      `json:"name"`  // ENVIRONMENT/HOST, when the work was begun
	Do         MachineDo   `json:"do"`
	Step       MachineStep `json:"step"`
	Mark       string      `json:"mark"` // random: an answer to other work than this is not taken for its own
	Begun      time.Time   `json:"begun"`
	Actor      string      `json:"actor,omitempty"`

	Attempts int       `json:"attempts,omitempty"` // of the step
	Next     time.Time `json:"next,omitzero"`      // when the step is tried, or looked at, again; zero: at once, or of StepEnrol never
	Error    string    `json:"error,omitempty"`    // of the last attempt
	Failed   bool      `json:"failed,omitempty"`   // it is tried no more

	Handle     string     `json:"handle,omitempty"` // of a machine to be destroyed: what the driver called it
	Properties []Property `json:"properties,omitempty"`
	Image      *Image     `json:"image,omitempty"` // to be made
}

// Table names the table of work on machines.
func (*MachineWork) Table() string { return "machinework" }

// Key is the id of the instance.
func (w *MachineWork) Key() string { return w.InstanceID }

// Ranges: what is still to be done, that of the organization, of the platform and of the host.
func (w *MachineWork) Ranges() []string {
	rs := []string{MachineWorkOf(w.OrgID), MachineWorkOfPlatform(w.PlatformID), MachineWorkOfHost(w.HostID)}
	if !w.Failed {
		rs = append(rs, OpenMachineWork)
	}
	return rs
}

// Parent is the organization.
func (w *MachineWork) Parent() (table, key string) { return "organization", w.OrgID }

// OpenMachineWork is the range of all work that is to be done.
const OpenMachineWork = "open"

// MachineWorkOf is the range of the work on machines of an organization.
func MachineWorkOf(orgID string) string { return "org/" + orgID }

// MachineWorkOfPlatform is the range of the work on machines of a platform.
func MachineWorkOfPlatform(platformID string) string { return "platform/" + platformID }

// MachineWorkOfHost is the range of the work on machines that a host has or had.
func MachineWorkOfHost(hostID string) string { return "host/" + hostID }

// Machine is a machine that a driver has work with, as it is told: ours, beside the contract.
type Machine struct {
	ID           string    `json:"id"` // of the instance
	Organization string    `json:"organization"`
	Platform     string    `json:"platform"`
	Host         string    `json:"host"` // ENVIRONMENT/HOST, when the work was begun
	Do           MachineDo `json:"do"`
	Step         string    `json:"step"`
	Attempts     int       `json:"attempts"`
	Next         string    `json:"next,omitempty"`
	Error        string    `json:"error,omitempty"`
	Failed       bool      `json:"failed"`
	Begun        string    `json:"begun"`
}

// Image is the document of contract section 3.3: an image of a machine.
type Image struct {
	ID                 string    `json:"id,omitempty"`
	Name               string    `json:"name"`
	Description        string    `json:"description,omitempty"`
	CreateDistribution bool      `json:"createDistribution"`
	Settings           []Setting `json:"settings"`
}

// imageFields are what the client sends of an image; createDistribution may come as text.
type imageFields struct {
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	CreateDistribution json.RawMessage `json:"createDistribution"`
	Settings           []Setting       `json:"settings"`
}

// UnmarshalJSON reads the document as the published client sends it.
func (i *Image) UnmarshalJSON(data []byte) error {
	var f imageFields
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*i = Image{Name: f.Name, Description: f.Description, Settings: f.Settings}
	switch string(f.CreateDistribution) {
	case "", "null", "false", `"false"`, `"False"`, `""`:
	case "true", `"true"`, `"True"`:
		i.CreateDistribution = true
	default:
		return Errorf(Invalid, "createDistribution: give true or false, not %s", f.CreateDistribution)
	}
	return nil
}
