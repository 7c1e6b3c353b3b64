// Package model holds Muster's nouns: what an organization, a host or a change is, how each is
// normalized, validated and copied, and the closed set of error codes. It imports nothing of ours.
package model

import (
	"errors"
	"fmt"
	"time"
)

// Code is the kind of an error, for machines. The set is closed: an error without a code is Internal.
type Code string

// The codes and what each means to a caller. The status is the HTTP one of contract section 1.5.
const (
	Invalid         Code = "invalid"         // 400: the document or value is wrong; change it
	Unauthenticated Code = "unauthenticated" // 401: no credentials, or wrong ones
	Forbidden       Code = "forbidden"       // 403: known, but not allowed
	NotFound        Code = "not_found"       // 404: unknown, or not visible
	Conflict        Code = "conflict"        // 409: name taken, in use, wrong state, locked
	Gone            Code = "gone"            // 410: a cursor or index of another epoch, or too old
	TooLarge        Code = "too_large"       // 413: beyond a stated limit
	Unimplemented   Code = "unimplemented"   // 501: a row of the contract that is not built yet
	Unavailable     Code = "unavailable"     // 503: no leader, shutting down; nothing was done; try again
	Unknown         Code = "unknown"         // 504: the outcome is not known; look before trying again
	Internal        Code = "internal"        // 500: a fault of ours; the log has the cause
)

// Error is an error with a code and texts for people. Each text says what to change.
type Error struct {
	Code     Code
	Messages []string
	Err      error // the cause, for the log; never shown to a client
	// RetryAfter, of Unavailable, is how long a client should wait before it tries again; 0 when nobody can tell.
	RetryAfter time.Duration
}

// Error joins the texts.
func (e *Error) Error() string {
	s := string(e.Code)
	for i, m := range e.Messages {
		if i == 0 {
			s = m
		} else {
			s += "; " + m
		}
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a code with one text.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Messages: []string{fmt.Sprintf(format, args...)}}
}

// CodeOf is the code of err: that of the first *Error in its chain, Internal when there is none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
