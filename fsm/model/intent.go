package model

import (
	"fmt"
	"time"
)

// IntentKind says what a large write means for hosts.
type IntentKind string

// The kinds of intents.
const (
	IntentSettings    IntentKind = "settings"    // values may differ: handlers run where they do
	IntentApplication IntentKind = "application" // an application was edited: what differs on its hosts is applied
)

// IntentRow is what a write still means for hosts, when these are too many to be planned with it. It never changes; a
// leader duty works it off, and deletes it. The undo leads to the state without the write.
type IntentRow struct {
	OrgID    string     `json:"orgId"`
	Sequence uint64     `json:"sequence"` // counts within the organization, from 1
	Kind     IntentKind `json:"kind"`
	Created  time.Time  `json:"created"`
	Actor    string     `json:"actor,omitempty"`
	Owner    Owner      `json:"owner"`           // of settings
	Keys     []string   `json:"keys,omitempty"`  // that were written
	AppID    string     `json:"appId,omitempty"` // of the application
	Force    bool       `json:"force,omitempty"` // also where nothing differs
	Hosts    int        `json:"hosts,omitempty"` // with a machine that it may concern, as the write saw it: what it counts in the quota
	Undo     []byte     `json:"undo,omitempty"`
	Content  string     `json:"content,omitempty"` // digest of the undo, when it is too long for a row
}

// Table names the table of intents.
func (*IntentRow) Table() string { return "intent" }

// Key is made so that intents of an organization sort by sequence.
func (i *IntentRow) Key() string { return fmt.Sprintf("%s/%016x", i.OrgID, i.Sequence) }

// Ranges: all, and those of the organization.
func (i *IntentRow) Ranges() []string { return []string{AllIntents, IntentsOf(i.OrgID)} }

// Parent is the organization.
func (i *IntentRow) Parent() (table, key string) { return "organization", i.OrgID }

// AllIntents is the range of all intents.
const AllIntents = "all"

// IntentsOf is the range of an organization's intents, the oldest first.
func IntentsOf(orgID string) string { return "org/" + orgID }

// IntentCounter numbers the intents of an organization.
type IntentCounter struct {
	OrgID string `json:"orgId"`
	Last  uint64 `json:"last"`
}

// Table names the table of counters.
func (*IntentCounter) Table() string { return "intentcounter" }

// Key is the organization's id.
func (c *IntentCounter) Key() string { return c.OrgID }

// Ranges: none.
func (*IntentCounter) Ranges() []string { return nil }

// Parent is the organization.
func (c *IntentCounter) Parent() (table, key string) { return "organization", c.OrgID }

// IntentMark tells how far an intent is worked off: all its hosts up to an id. Only the duty reads it.
type IntentMark struct {
	Intent string `json:"intent"` // key
	After  string `json:"after"`  // id of a host
	Done   int    `json:"done"`   // hosts so far
	Given  int    `json:"given"`  // of these, with a machine
}

// Table names the table of marks.
func (*IntentMark) Table() string { return "intentmark" }

// Key is the intent's.
func (m *IntentMark) Key() string { return m.Intent }

// Ranges: none.
func (*IntentMark) Ranges() []string { return nil }

// Parent is the intent.
func (m *IntentMark) Parent() (table, key string) { return "intent", m.Intent }

// ToCome tells of changes that a host is still to get: a write concerns so many hosts that they get theirs one after
// the other.
type ToCome struct {
	Description string `json:"description"`
	Created     string `json:"created"`
	Actor       string `json:"actor,omitempty"`
}

// PlanProgress tells how far the changes are that a write caused, on hosts that the caller may read.
type PlanProgress struct {
	Processed int           `json:"processed"`
	Failed    int           `json:"failed"`  // of the processed
	Pending   int           `json:"pending"` // a write that is still being planned counts as one
	Failures  []PlanFailure `json:"failures"`
}

// PlanFailure is a change that failed, told by its first task that did.
type PlanFailure struct {
	Environment string `json:"environment"`
	Host        string `json:"host"`
	OrderNum    int    `json:"orderNum"`
	Description string `json:"description"`
	Error       string `json:"error"`
}

// PendingPlan tells of a write whose changes are being planned, host by host.
type PendingPlan struct {
	ToCome
	Done int `json:"done,omitempty"` // hosts that have got theirs; for administrators of the organization
}
