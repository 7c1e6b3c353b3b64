package spec

import "encoding/json"

// AuditLog is what somebody did, or that somebody read secrets (contract section 3.6). All after userFullName is ours.
type AuditLog struct {
	Timestamp    string        `json:"timestamp"`
	Message      string        `json:"message"`
	Username     string        `json:"username"` // login, or "key NAME"; "" for who needs no credentials
	UserFullName string        `json:"userFullName"`
	Cursor       string        `json:"cursor"`  // of this record: what follows it is asked for by it
	Kind         string        `json:"kind"`    // user, key, nobody
	Action       string        `json:"action"`  // name of the operation: settings.update
	Object       string        `json:"object"`  // path of what it was done to
	Address      string        `json:"address"` // where from; only for who may change what the log is of
	Request      string        `json:"request"` // its id, as in X-Request-Id and the server's log
	Read         bool          `json:"read"`    // secrets were shown in clear
	Changes      []AuditChange `json:"changes"`
	More         int           `json:"more,omitempty"`   // further objects that were changed
	Queued       int           `json:"queued,omitempty"` // changes of hosts that were queued or altered
}

// AuditChange is one object before and after.
type AuditChange struct {
	Kind   string       `json:"kind"`
	Object string       `json:"object"` // path within the organization
	Action string       `json:"action"` // created, updated, deleted
	Fields []AuditField `json:"fields"`
	Cut    bool         `json:"cut,omitempty"` // there were more fields
}

// AuditField is a field before and after, both as JSON; secrets are masked, long values cut.
type AuditField struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// AuditList is a list of records, and the cursor to go on from: "" once there is no more.
type AuditList struct {
	Count  int        `json:"count"`
	Items  []AuditLog `json:"items"`
	Cursor string     `json:"cursor"`
}

// Log is a line of a log that is no audit (contract section 3.6).
type Log struct {
	Timestamp string `json:"timestamp"`
	Message   string `json:"message"`
	Cursor    string `json:"cursor"` // ours, as in AuditLog
}

// LogList is a list of lines, and the cursor to go on from: "" once there is no more.
type LogList struct {
	Count  int    `json:"count"`
	Items  []Log  `json:"items"`
	Cursor string `json:"cursor"`
}

// Delivery is an attempt to send an event to a webhook.
type Delivery struct {
	Timestamp string `json:"timestamp"`
	ID        string `json:"id"`   // webhook-id of all attempts at the same event
	Kind      string `json:"kind"` // of the event
	Object    string `json:"object"`
	URL       string `json:"url"`            // without parameters
	Attempt   int    `json:"attempt"`        // from 1
	Status    int    `json:"status"`         // of the answer; 0: there was none
	Error     string `json:"error"`          // "": it was taken
	TookMs    int64  `json:"tookMs"`         // until the answer
	Next      string `json:"next,omitempty"` // when it is tried again
	Cursor    string `json:"cursor"`
}

// DeliveryList is the attempts that are kept of a webhook, the cursor to go on from, and how it does.
type DeliveryList struct {
	Count    int        `json:"count"`
	Items    []Delivery `json:"items"`
	Cursor   string     `json:"cursor"`
	Waiting  int        `json:"waiting"`            // events that are still to be sent
	Failing  string     `json:"failing,omitempty"`  // since when it fails
	Disabled bool       `json:"disabled,omitempty"` // it failed for days: nothing is sent until it is updated
	Error    string     `json:"error,omitempty"`    // of the last failure
}
