package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

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

// reply is an answer as it goes out.
type reply struct {
	status int
	kind   string // Content-Type; "" is an answer without a body
	body   []byte
	tag    string // ETag; "" is none
	gone   bool   // it went out already, as a stream
}

// The media types of what handlers answer.
const (
	kindJSON = "application/json"
	kindText = "text/plain; charset=utf-8"
	kindRaw  = "application/octet-stream"
)

// encode makes a handler's answer ready.
func encode(status int, value any) (reply, error) {
	switch v := value.(type) {
	case nil:
		return reply{status: status}, nil
	case reply:
		return v, nil
	case text:
		return reply{status: status, kind: kindText, body: []byte(v)}, nil
	case raw:
		return reply{status: status, kind: kindRaw, body: v}, nil
	}
	if l, ok := value.(spec.List[model.Setting]); ok {
		if b, ok := appendSettings(l); ok {
			return reply{status: status, kind: kindJSON, body: append(b, '\n')}, nil
		}
	}
	if a, ok := value.(interface {
		AppendJSON(b []byte) ([]byte, bool)
	}); ok { // it writes what encoding/json does, but at once
		if b, ok := a.AppendJSON(nil); ok {
			return reply{status: status, kind: kindJSON, body: append(b, '\n')}, nil
		}
	}
	if rv := reflect.ValueOf(value); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return reply{}, errors.New("a handler answered nothing where a document is due")
	}
	b, err := json.Marshal(value)
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, kind: kindJSON, body: append(b, '\n')}, nil
}

// appendSettings writes a list of settings as encoding/json does, at once; false for what it leaves to that.
func appendSettings(l spec.List[model.Setting]) (b []byte, ok bool) {
	if l.Cursor != "" || l.Items == nil {
		return nil, false
	}
	room := 64
	for i := range l.Items {
		room += 192 + len(l.Items[i].Key) + len(l.Items[i].Value) + len(l.Items[i].Schema)
	}
	b = make([]byte, 0, room)
	b = append(strconv.AppendInt(append(b, `{"count":`...), int64(l.Count), 10), `,"items":[`...)
	for i, item := range l.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if b, ok = item.AppendJSON(b); !ok {
			return nil, false
		}
	}
	return append(b, "]}"...), true
}

// send sends it.
func (r reply) send(w http.ResponseWriter) error {
	h := w.Header()
	if r.tag != "" {
		h["Etag"] = []string{r.tag}
	}
	if r.kind == "" {
		w.WriteHeader(r.status)
		return nil
	}
	h["Content-Type"] = []string{r.kind}
	if r.kind == kindRaw { // contents are the tenants' own: a browser must never take one for a page of ours
		h.Set("Content-Disposition", "attachment")
	}
	return send(w, r.status, r.body)
}

func send(w http.ResponseWriter, status int, b []byte) error {
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	_, err := w.Write(b)
	return err
}

// statusError is an error that answers another status than its code does.
type statusError struct {
	status int
	err    *model.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

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
	var other *statusError
	if errors.As(err, &other) {
		status = other.status
	}
	p := spec.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, RequestID: requestID}
	var e *model.Error
	if code != model.Internal && errors.As(err, &e) {
		p.Error = make([]string, len(e.Messages))
		for i, text := range e.Messages {
			p.Error[i] = shortened(text)
		}
	}
	if len(p.Error) == 0 {
		p.Error = []string{"the server could not do this; its log says why under request " + requestID}
		if code != model.Internal {
			p.Error = []string{http.StatusText(status)}
		}
	}
	return p
}

// retryAfter is in how many seconds to try again: a second, unless the error knows better; never less than told.
func retryAfter(err error) int {
	var e *model.Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 {
		return 1
	}
	return int((e.RetryAfter + time.Second - 1) / time.Second)
}

func writeError(w http.ResponseWriter, err error, requestID string) {
	p := problem(err, requestID)
	h := w.Header()
	switch p.Code {
	case model.Unauthenticated:
		h.Set("WWW-Authenticate", `Basic realm="muster", charset="UTF-8"`)
	case model.Unavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter(err)))
	}
	b, jsonErr := json.Marshal(p)
	if jsonErr != nil { // cannot be: a Problem is texts and numbers
		b = []byte(`{"error":["internal"]}`)
	}
	h.Set("Content-Type", "application/problem+json")
	_ = send(w, p.Status, append(b, '\n')) // the client may be gone; nobody is left to tell
}

// maxError is how long a text of an error may be, in bytes: it names what was sent, which may be a megabyte.
const maxError = 2000

// shortened leaves the middle of a long text out: its beginning says what is wrong, and its end what to do.
func shortened(text string) string {
	if len(text) <= maxError {
		return text
	}
	head, tail := strings.ToValidUTF8(text[:maxError/2], ""), strings.ToValidUTF8(text[len(text)-maxError/4:], "")
	return fmt.Sprintf("%s ... (%d bytes are left out) ... %s", head, len(text)-len(head)-len(tail), tail)
}
