package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// text is an answer of text/plain, byte for byte.
type text string

// raw is an answer of bytes that are shown as they are.
type raw []byte

// list wraps items in the contract's envelope (section 1.4). A nil slice becomes an empty list.
func list[T any](items []T) spec.List[T] {
	if items == nil {
		items = []T{}
	}
	return spec.List[T]{Count: len(items), Items: items}
}

// write sends a handler's answer.
func write(w http.ResponseWriter, status int, value any) error {
	switch v := value.(type) {
	case nil:
		w.WriteHeader(status)
		return nil
	case text:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		return send(w, status, []byte(v))
	case raw:
		// Contents are the tenants' own: a browser must never take one for a page of ours.
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
		return send(w, status, v)
	}
	if rv := reflect.ValueOf(value); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return errors.New("a handler answered nothing where a document is due")
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return send(w, status, append(b, '\n'))
}

func send(w http.ResponseWriter, status int, b []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, err := w.Write(b)
	return err
}

// statusOf is the one mapping of codes to statuses (contract section 1.5).
func statusOf(code model.Code) int {
	switch code {
	case model.Invalid:
		return http.StatusBadRequest
	case model.Unauthenticated:
		return http.StatusUnauthorized
	case model.Forbidden:
		return http.StatusForbidden
	case model.NotFound:
		return http.StatusNotFound
	case model.Conflict:
		return http.StatusConflict
	case model.Gone:
		return http.StatusGone
	case model.TooLarge:
		return http.StatusRequestEntityTooLarge
	case model.Unimplemented:
		return http.StatusNotImplemented
	case model.Unavailable:
		return http.StatusServiceUnavailable
	case model.Unknown:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// problem is the document of an error. What is inside an Internal one stays in the log.
func problem(err error, requestID string) spec.Problem {
	code := model.CodeOf(err)
	status := statusOf(code)
	var method *methodError
	if errors.As(err, &method) {
		status = http.StatusMethodNotAllowed
	}
	p := spec.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, RequestID: requestID}
	var e *model.Error
	if code != model.Internal && errors.As(err, &e) {
		p.Error = e.Messages
	}
	if len(p.Error) == 0 {
		p.Error = []string{"the server could not do this; its log says why under request " + requestID}
		if code != model.Internal {
			p.Error = []string{http.StatusText(status)}
		}
	}
	return p
}

func writeError(w http.ResponseWriter, err error, requestID string) {
	p := problem(err, requestID)
	h := w.Header()
	switch p.Code {
	case model.Unauthenticated:
		h.Set("WWW-Authenticate", `Basic realm="muster", charset="UTF-8"`)
	case model.Unavailable:
		h.Set("Retry-After", "1")
	}
	b, jsonErr := json.Marshal(p)
	if jsonErr != nil { // cannot be: a Problem is texts and numbers
		b = []byte(`{"error":["internal"]}`)
	}
	h.Set("Content-Type", "application/problem+json")
	_ = send(w, p.Status, append(b, '\n')) // the client may be gone; nobody is left to tell
}
