package spec

import "github.com/muster-hq/muster/fsm/model"

// TimeFormat is the form of timestamps on the wire (contract section 6), for time.Format.
const TimeFormat = "2006-01-02T15:04:05.000-0700"

// List is the envelope of lists (contract section 1.4). Cursor is there when a part was asked for and more follows: it is what to
// ask for the next part with.
type List[T any] struct {
	Count  int    `json:"count"`
	Items  []T    `json:"items"`
	Cursor string `json:"cursor,omitempty"`
}

// WithCursor is the list with a cursor.
func (l List[T]) WithCursor(cursor string) any { l.Cursor = cursor; return l }

// ChangeList is the list of a host's changes.
type ChangeList struct {
	List[model.ChangeView]
	// ToCome are changes that the host is still to get: writes that concern many hosts are planned host by host.
	ToCome []model.ToCome `json:"toCome,omitempty"`
}

// Problem is the body of an error: the contract's error texts, and the fields of RFC 9457.
type Problem struct {
	Error     []string   `json:"error"`
	Type      string     `json:"type"`
	Title     string     `json:"title"`
	Status    int        `json:"status"`
	Code      model.Code `json:"code"`
	RequestID string     `json:"requestId"`
}

// ContentTypeProblem is the media type of a Problem.
const ContentTypeProblem = "application/problem+json"

// The headers that carry credentials (contract section 1.2).
const (
	HeaderAppKey = "X-ComodIT-AppKey"
	HeaderJWT    = "X-ComodIT-JwtToken"
	HeaderTOTP   = "X-ComodIT-TotpToken"
)

// Headers of answers. Index and Epoch say which state an answer was read from, or the index at which a write took
// effect; of a stale read, Age bounds in milliseconds how old that state may be, "unknown" when nobody can tell.
const (
	HeaderRequestID = "X-Request-Id"
	HeaderIndex     = "X-Muster-Index"
	HeaderEpoch     = "X-Muster-Epoch"
	HeaderAge       = "X-Muster-Age-Ms"
	HeaderReplayed  = "Idempotency-Replayed"
	HeaderPlan      = "X-Muster-Plan"     // of a write that causes changes: what GET {O}/plans/{plan} follows
	HeaderDeleting  = "X-Muster-Deleting" // of a deletion that goes on after its answer: "under way"
	HeaderChanges   = "X-Muster-Changes"  // of a write that waited: "processed=3, failed=1, pending=0"
)

// HeaderIdempotencyKey names a write: sent again under the same key, it is not done again.
const HeaderIdempotencyKey = "Idempotency-Key"

// HeaderUnseal carries, in Base64, the passphrase or the key of age that opens the secrets of an organization's file.
const HeaderUnseal = "X-Muster-Unseal"

// ExportRequest is the body that exports an organization. With a passphrase (at least 12 characters) or public keys of
// age its secrets are sealed in the file; with neither they are left out.
type ExportRequest struct {
	Passphrase string   `json:"passphrase,omitempty"`
	Recipients []string `json:"recipients,omitempty"`
}

// ImportResult tells what was imported.
type ImportResult struct {
	Organization string         `json:"organization"`
	UUID         string         `json:"uuid"`
	Imported     map[string]int `json:"imported"`          // how many of each kind
	LeftOut      []string       `json:"leftOut,omitempty"` // secrets, and a quota, that are to be set again; the first 1000
	LeftOutCount int            `json:"leftOutCount"`
}

// UserAccount is the body that makes a user. The password is never answered.
type UserAccount struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Fullname string `json:"fullname,omitempty"`
	Email    string `json:"email,omitempty"`
	Admin    bool   `json:"admin,omitempty"` // of the site: may make users and organizations and manage the cluster
}

// Password is the body that replaces a user's password.
type Password struct {
	Password string `json:"password"`
	Current  string `json:"current,omitempty"` // the old one: needed for one's own within a session
}

// Preview is the body that renders a template for a host.
type Preview struct {
	Template    string           `json:"template"`
	Application string           `json:"application,omitempty"` // on the host, whose settings count; none: those of the host
	Delimiter   *model.Delimiter `json:"delimiter,omitempty"`   // the marks; none: ${ and }
}

// EnrolTokenRequest is the body that makes an enrolment token.
type EnrolTokenRequest struct {
	Uses    int    `json:"uses"`    // how many agents may enrol with it; default 1
	Expires string `json:"expires"` // from now: "24h" (the default), "30m"
}

// EnrolToken is an enrolment token as answered. Token is in the answer of its making only.
type EnrolToken struct {
	ID           string `json:"id"`
	Organization string `json:"organization"`
	Environment  string `json:"environment"`
	Uses         int    `json:"uses"`
	Used         int    `json:"used"`
	Expires      string `json:"expires"`
	Token        string `json:"token,omitempty"`
}

// Backup is a scheduled snapshot on a node's disk. With an Error, the last one that succeeded, and why the one
// after it did not.
type Backup struct {
	File  string `json:"file,omitempty"`
	Time  string `json:"time,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
	Error string `json:"error,omitempty"`
}

// Event tells of one object that was written. What it holds is read afterwards.
type Event struct {
	Cursor       string `json:"cursor"` // what to follow from, to get those after it
	Time         string `json:"time"`
	Organization string `json:"organization,omitempty"` // its name, or its id once it was deleted
	Kind         string `json:"kind"`                   // "host.created", "setting.updated", "change.deleted"
	Object       string `json:"object"`                 // id of the object
	Actor        string `json:"actor,omitempty"`        // who did it
}

// EventList is an answer with events, oldest first. Cursor is what to follow from next, also when there are none.
type EventList struct {
	Count  int     `json:"count"`
	Items  []Event `json:"items"`
	Cursor string  `json:"cursor"`
}

// JoinRequest makes a server that holds nothing a member of another cluster.
type JoinRequest struct {
	Address string `json:"address"`
	Token   string `json:"token"`
}
