package model

import (
	"encoding/json"
	"time"
)

// TaskStatus is the status of a task (contract section 3.3).
type TaskStatus string

// The statuses of a task.
const (
	TaskPending TaskStatus = "PENDING"
	TaskOK      TaskStatus = "OK"
	TaskError   TaskStatus = "ERROR"
)

// Task is one step of a change: what the user sees and what the agent is told.
type Task struct {
	OrderNum    int        `json:"orderNum"` // from 0 without gaps
	Description string     `json:"description"`
	Status      TaskStatus `json:"status"`
	Error       string     `json:"error,omitempty"` // never empty when Status is ERROR
	Interrupted bool       `json:"interrupted,omitempty"`
	Mended      bool       `json:"mended,omitempty"` // it failed, and was made good by a change that is not kept any more
	Changed     bool       `json:"changed,omitempty"`
	Output      string     `json:"output,omitempty"`

	// What the agent is told; the fields mean what dispatch/wire.Step says.
	Collection string          `json:"collection"`
	Resource   string          `json:"resource"`
	Verb       string          `json:"verb"`
	Want       json.RawMessage `json:"want,omitempty"`
	Content    string          `json:"content,omitempty"` // digest of the file's rendered content, put into Want when the order is made
	Action     string          `json:"action,omitempty"`
	Args       json.RawMessage `json:"args,omitempty"`
	Restart    []int           `json:"restart,omitempty"`
	Monitor    *bool           `json:"monitor,omitempty"`
	Origin     Origin          `json:"origin"`
	Fail       string          `json:"fail,omitempty"` // planning failed (a template, say): the task ends with this text
}

// Origin says which part of which application a task comes from (contract section 4.4).
type Origin struct {
	Application string `json:"application,omitempty"`
	Type        string `json:"type,omitempty"`
	Name        string `json:"name,omitempty"`
}

// Change is a numbered piece of work for one host (contract sections 3.3 and 4.2). It is a row.
type Change struct {
	ID          string    `json:"id"` // also its key in the contract's sense
	HostID      string    `json:"hostId"`
	OrderNum    int       `json:"orderNum"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
	Actor       string    `json:"actor,omitempty"`
	Tasks       []Task    `json:"tasks"`
	Order       string    `json:"order,omitempty"` // id of the order that carries it, once there is one
	Epoch       uint64    `json:"epoch,omitempty"` // in which it was made; 0 of an older version
	Done        bool      `json:"done,omitempty"`
	Intent      string    `json:"intent,omitempty"`    // key of the intent that it comes from, or of the many changes of one write; "": one of few
	Retries     string    `json:"retries,omitempty"`   // id of the change whose failed tasks it does again
	Cancelled   bool      `json:"cancelled,omitempty"` // somebody asked to end it; the agent may not know yet
}
