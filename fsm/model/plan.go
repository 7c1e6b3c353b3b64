package model

// Plan tells what a write would do, without doing it: the answer to a write that is only tried.
type Plan struct {
	DryRun bool `json:"dryRun"` // always true
	// Untried says why nothing was computed: the request is no transaction over what is stored. "" when it was.
	Untried string `json:"untried,omitempty"`
	// Objects are what would be written, counted by kind, such as "setting.updated".
	Objects []PlanObjects `json:"objects"`
	// Count is how many hosts would get changes, of those that the caller may read.
	Count int        `json:"count"`
	Hosts []PlanHost `json:"hosts"`
	// LeftOut is how many of Count are not in Hosts.
	LeftOut int `json:"leftOut,omitempty"`
	// NoAccessToAllResources says that there are hosts, too, which the caller may not read.
	NoAccessToAllResources bool `json:"noAccessToAllResources"`
}

// PlanObjects counts what would be written of a kind.
type PlanObjects struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// PlanHost is what a host would get.
type PlanHost struct {
	Environment string `json:"environment"`
	Host        string `json:"host"`
	// Machine are the files of platform and distribution that would be rendered for a machine which is to be made.
	Machine []PlanTask   `json:"machine,omitempty"`
	Changes []PlanChange `json:"changes"`
}

// PlanChange is a change that would be queued.
type PlanChange struct {
	OrderNum    int        `json:"orderNum"`
	Description string     `json:"description"`
	Tasks       []PlanTask `json:"tasks"`
}

// PlanTask is a step of a change that would be queued.
type PlanTask struct {
	OrderNum    int    `json:"orderNum"`
	Description string `json:"description"`
	Application string `json:"application,omitempty"`
	Collection  string `json:"collection"`
	Resource    string `json:"resource"`
	Action      string `json:"action"`          // apply, forget, render, or what is done: restart, reload, run
	Error       string `json:"error,omitempty"` // with which the step would end, as its file cannot be rendered
	// Diff leads from what the file was described as to what it would be, unified, secrets masked.
	Diff string `json:"diff,omitempty"`
	// Note says why there is no diff, or what it does not show.
	Note string `json:"note,omitempty"`
}
