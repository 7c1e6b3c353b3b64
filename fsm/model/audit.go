package model

import (
	"encoding/json"
	"strings"
)

// AuditLogOf is the log of what people and keys did to an organization; that of the site is AuditSite.
func AuditLogOf(orgID string) string { return auditLogs + orgID }

// AuditSite is the log of what was done to no organization: to users, sessions and the cluster, and organizations that
// were made and deleted.
const AuditSite = auditLogs + "site"

// The other logs of an organization (contract section 2.1, logs).
const (
	auditLogs        = "audit/"
	notificationLogs = "notification/"
	agentLogs        = "agent/"
	otherLogs        = "other/"
	deliveryLogs     = "delivery/"
)

// NotificationLogOf is the log of what an organization should hear of: compliance, work that failed, webhooks.
func NotificationLogOf(orgID string) string { return notificationLogs + orgID }

// AgentLogOf is the log of an organization's agents.
func AgentLogOf(orgID string) string { return agentLogs + orgID }

// OtherLogOf is the log of all else: work on machines, jobs that ran, plans that were carried out.
func OtherLogOf(orgID string) string { return otherLogs + orgID }

// DeliveryLogOf is the log of the deliveries of a webhook or notification channel.
func DeliveryLogOf(orgID, hookID string) string { return deliveryLogs + orgID + "/" + hookID }

// LogOwner takes the name of a log apart: which kind it is, of which organization, and of which webhook, if it is one's.
func LogOwner(log string) (kind, orgID, hookID string) {
	kind, rest, _ := strings.Cut(log, "/")
	orgID, hookID, _ = strings.Cut(rest, "/")
	return kind, orgID, hookID
}

// The kinds of actors in an AuditRecord.
const (
	ActorUser = "user"
	ActorKey  = "key"    // an application key
	ActorOpen = "nobody" // a request that needs no credentials
)

// AuditRecord is what is kept of one write, or of one reading of secrets. Secrets in it are masked.
type AuditRecord struct {
	Actor    string `json:"actor"` // login, or the name of the key
	Kind     string `json:"kind"`
	Fullname string `json:"fullname,omitempty"`
	Address  string `json:"address,omitempty"`
	Request  string `json:"request,omitempty"` // id of the request, as in the server's log
	Action   string `json:"action"`            // name of the route: settings.update
	Object   string `json:"object"`            // path of what it was done to, below the root
	Message  string `json:"message"`
	Read     bool   `json:"read,omitempty"` // secrets were read, nothing was written
	// EnvID and HostID say which environment and host it was done to, "" for none: who may see those sees the record.
	EnvID   string        `json:"env,omitempty"`
	HostID  string        `json:"host,omitempty"`
	Changes []AuditChange `json:"changes,omitempty"`
	More    int           `json:"more,omitempty"`   // objects that were changed and are not listed
	Queued  int           `json:"queued,omitempty"` // changes of hosts that it queued or altered
}

// AuditChange is one object before and after.
type AuditChange struct {
	Kind   string       `json:"kind"`   // its table
	Object string       `json:"object"` // its path within the organization
	Action string       `json:"action"` // created, updated, deleted
	EnvID  string       `json:"env,omitempty"`
	HostID string       `json:"host,omitempty"`
	Fields []AuditField `json:"fields,omitempty"`
	Cut    bool         `json:"cut,omitempty"` // there were more fields
}

// AuditField is one field before and after; what is secret or long is masked or cut.
type AuditField struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Encode writes a record within a size, leaving out fields, then objects, of what does not fit.
func (a AuditRecord) Encode(most int) []byte {
	b := make([]byte, 0, min(a.roughly(), most+auditSpare))
	for {
		var written int
		if b, written = a.appendWithin(b[:0], most); len(b) <= most {
			return b
		}
		n := len(a.Changes)
		for ; n > written; n /= 2 { // the changes before are too long already: the last one makes no difference
			a.More += n - n/2
		}
		if n < len(a.Changes) {
			a.Changes = a.Changes[:n]
			continue
		}
		switch {
		case n == 0:
			a.Object, a.Message = cutText(a.Object, most/8), cutText(a.Message, most/8)
			a.Fullname = cutText(a.Fullname, most/8)
			return a.AppendJSON(nil)
		case len(a.Changes[n-1].Fields) > 0:
			c := a.Changes[n-1]
			c.Fields, c.Cut = c.Fields[:len(c.Fields)/2], true
			a.Changes = append(a.Changes[:n-1:n-1], c)
		default:
			a.Changes, a.More = a.Changes[:n/2], a.More+n-n/2
		}
	}
}

// auditSpare is room for the change in which a record that is too long is given up.
const auditSpare = 2 << 10

// roughly is about how long the record is as JSON.
func (a *AuditRecord) roughly() int {
	n := 512 + len(a.Object) + len(a.Message)
	for i := range a.Changes {
		c := &a.Changes[i]
		n += 160 + len(c.Object)
		for j := range c.Fields {
			n += 48 + len(c.Fields[j].Before) + len(c.Fields[j].After)
		}
	}
	return n
}

func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// DecodeAudit reads a record as it was kept.
func DecodeAudit(data []byte) (AuditRecord, error) {
	var a AuditRecord
	if err := json.Unmarshal(data, &a); err != nil {
		return a, Errorf(Internal, "an audit record does not read: %v", err)
	}
	return a, nil
}

// LogRecord is what is kept of a line in a log that is no audit.
type LogRecord struct {
	Message string `json:"message"`
	EnvID   string `json:"env,omitempty"`
	HostID  string `json:"host,omitempty"`
}
