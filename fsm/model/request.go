package model

import (
	"strconv"
	"time"
)

// RequestRow is what is kept of a write that was sent under an idempotency key, in the same commit as what it did. The
// key itself is not kept: only who has it finds the row, opens its answer, and can try whether a request is the same.
type RequestRow struct {
	ID     string    `json:"id"`               // made of the sender and the key
	Digest string    `json:"digest"`           // of the request, keyed with the key
	Status int       `json:"status"`           // of the answer
	Answer []byte    `json:"answer,omitempty"` // sealed with the key; absent when it was too large
	Large  bool      `json:"large,omitempty"`  // the answer was too large to be kept
	Caused string    `json:"caused,omitempty"` // the changes that it set in motion
	OrgID  string    `json:"orgId,omitempty"`  // of the organization it was sent to; "" for the site and the sender's own account
	Rights string    `json:"rights,omitempty"` // digest of the sender's groups there; absent in rows of older nodes
	Made   time.Time `json:"made"`
}

// Table names the table of requests.
func (*RequestRow) Table() string { return "request" }

// Key is the row's id.
func (r *RequestRow) Key() string { return r.ID }

// Ranges: the requests of the same hour, by which they are forgotten.
func (r *RequestRow) Ranges() []string { return []string{RequestsOf(HourOf(r.Made))} }

// Parent: none; the sender may be removed before the row is forgotten.
func (*RequestRow) Parent() (table, key string) { return "", "" }

// HourOf counts the hours since 1970.
func HourOf(t time.Time) int64 { return t.Unix() / 3600 }

// RequestsOf is the range of the requests of an hour.
func RequestsOf(hour int64) string { return "hour/" + strconv.FormatInt(hour, 10) }

// RequestMark says up to which hour requests have been forgotten. There is one.
type RequestMark struct {
	Hour int64 `json:"hour"` // the first that may hold some
}

// Table names the table of the mark.
func (*RequestMark) Table() string { return "requestmark" }

// Key is the same for the one there is.
func (*RequestMark) Key() string { return RequestMarkKey }

// Ranges: none.
func (*RequestMark) Ranges() []string { return nil }

// Parent: none.
func (*RequestMark) Parent() (table, key string) { return "", "" }

// RequestMarkKey is the key of the one mark.
const RequestMarkKey = "requests"
