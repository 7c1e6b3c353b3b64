package model

import "strconv"

// Table names the table of changes.
func (*Change) Table() string { return "change" }

// Key is the change's id.
func (c *Change) Key() string { return c.ID }

// Ranges: the changes of the host, its unique number there; while open, all that are open and those of the
// host; once done, those of the host that failed.
func (c *Change) Ranges() []string {
	r := []string{ChangesOf(c.HostID), ChangeNumbered(c.HostID, c.OrderNum)}
	if c.Intent != "" {
		r = append(r, ChangesOfIntent(c.Intent))
	}
	if !c.Done {
		return append(r, OpenChanges, OpenChangesOf(c.HostID))
	}
	if c.Failed() {
		r = append(r, FailedChangesOf(c.HostID))
	}
	return r
}

// Parent is the host.
func (c *Change) Parent() (table, key string) { return "host", c.HostID }

// Failed says whether a task of the change ended as an error.
func (c *Change) Failed() bool {
	for i := range c.Tasks {
		if c.Tasks[i].Status == TaskError {
			return true
		}
	}
	return false
}

// OpenChanges is the range of all changes that are not done.
const OpenChanges = "open"

// ChangesOfIntent is the range of the changes that come from an intent, by its key, or of the many changes of one write.
func ChangesOfIntent(key string) string { return "intent/" + key }

// ChangesOf is the range of a host's changes.
func ChangesOf(hostID string) string { return "host/" + hostID }

// ChangeNumbered is the unique range of a host's change by orderNum.
func ChangeNumbered(hostID string, num int) string { return "num/" + hostID + "/" + strconv.Itoa(num) }

// OpenChangesOf is the range of a host's changes that are not done.
func OpenChangesOf(hostID string) string { return "openhost/" + hostID }

// FailedChangesOf is the range of a host's done changes with a failed task.
func FailedChangesOf(hostID string) string { return "failed/" + hostID }

// ChangeCounter is the row that numbers a host's changes, apart from the host because it moves with each change.
type ChangeCounter struct {
	HostID string `json:"hostId"`
	Next   int    `json:"next"` // orderNum of the next change
	// Intent is the sequence of the last intent of the organization that the host has got its changes of.
	Intent uint64 `json:"intent,omitempty"`
}

// Table names the table of counters.
func (*ChangeCounter) Table() string { return "changecounter" }

// Key is the host's id.
func (c *ChangeCounter) Key() string { return c.HostID }

// Ranges: none.
func (*ChangeCounter) Ranges() []string { return nil }

// Parent is the host.
func (c *ChangeCounter) Parent() (table, key string) { return "host", c.HostID }

// ChangeView is the document of a change (contract section 3.3).
type ChangeView struct {
	UUID         string     `json:"uuid"`
	OrderNum     int        `json:"orderNum"`
	Key          string     `json:"key"`
	Description  string     `json:"description"`
	Organization string     `json:"organization"`
	Environment  string     `json:"environment"`
	Host         string     `json:"host"`
	Created      string     `json:"created"`
	Actor        string     `json:"actor,omitempty"`
	Done         bool       `json:"done"`
	Waiting      string     `json:"waiting,omitempty"`   // why it is not begun, when that is not for another change
	Cancelled    bool       `json:"cancelled,omitempty"` // while it is not done: it ends as soon as the agent knows
	Tasks        []TaskView `json:"tasks"`
}

// TaskView is the document of a task (contract section 3.3).
type TaskView struct {
	OrderNum    int        `json:"orderNum"`
	Description string     `json:"description"`
	Status      TaskStatus `json:"status"`
	Error       string     `json:"error"` // "" unless Status is ERROR
	Interrupted bool       `json:"interrupted,omitempty"`
	Changed     bool       `json:"changed,omitempty"`
	Output      string     `json:"output,omitempty"`
}
