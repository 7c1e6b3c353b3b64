// Package client is the Go client of the REST API. It works from the table in api/spec, so that an
// operation is named as the table names it; the command line and the tests use nothing else.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// maxAnswer bounds an answer in bytes.
const maxAnswer = 256 << 20

// Config says where the API is and who calls.
type Config struct {
	URL      string // of the API root, ending in /api; a final slash is dropped
	User     string // with Password, unless AppKey is given
	Password string
	AppKey   string // token of an application key; wins over JWT and User
	JWT      string // token of a session; wins over User
	Code     string // one-time code, sent with user and password
	// Patience is how long a write goes on being sent, under one idempotency key, while the cluster has no leader or the
	// connection breaks; the server does it once. 0: it is sent once, without a key. Reads are sent once.
	Patience time.Duration
	// DryRun has every write tried only: nothing is done, and the call ends with a *PlanError that tells what would be.
	DryRun bool
	HTTP   *http.Client // nil means one with a time-out of a minute that follows no redirect
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	cfg    Config
	base   string
	routes map[routeKey]spec.Route
	caused *Caused // nil: nobody follows what its writes cause
}

type routeKey struct{ name, level string }

// New makes a client. The error is Invalid and says what to change in the address or credentials.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, model.Errorf(model.Invalid, "the address of the API must look like http://host:8000/api, not %q", cfg.URL)
	}
	if u.User != nil {
		return nil, model.Errorf(model.Invalid, "the address of the API must not hold a user or password: give them on their own")
	}
	if strings.Contains(cfg.User, ":") {
		return nil, model.Errorf(model.Invalid, "a user name cannot hold a colon")
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{
			Timeout:       time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	c := &Client{cfg: cfg, base: strings.TrimRight(cfg.URL, "/"), routes: map[routeKey]spec.Route{}}
	for _, r := range spec.Routes() {
		c.routes[routeKey{r.Name, r.Level}] = r
	}
	return c, nil
}

// Op is one operation of the table.
type Op struct {
	Name   string            // as in the table: "hosts.show"
	Level  string            // where the row has several: "organization", "host", ...
	Params map[string]string // by the names in the pattern: "org", "env", "host", ...
	Query  url.Values
	Body   any // sent as JSON; nil sends none; json.RawMessage goes as it is
	// IfMatch is the tag of what is to be changed, as CallTagged gave it: when it has changed since, the error has code
	// model.Conflict and nothing is done. "" changes whatever there is.
	IfMatch string
	Code    string // one-time code of the user, for what asks for one; "" sends that of the client's configuration

	header   http.Header // beside what every request has
	harmless bool        // a POST that changes nothing
}

// Call does an operation and decodes its answer into out, unless out is nil. The error is a
// *model.Error as the server told it, or an *UnreachableError.
func (c *Client) Call(ctx context.Context, op Op, out any) error {
	_, err := c.CallTagged(ctx, op, out)
	return err
}

// CallTagged is Call, and gives the tag of the answer (ETag) for the IfMatch of a later write to the same path; "" where
// the server told none. A tag is that of a read without a query.
func (c *Client) CallTagged(ctx context.Context, op Op, out any) (tag string, err error) {
	var body []byte
	if op.Body != nil {
		if body, err = json.Marshal(op.Body); err != nil {
			return "", fmt.Errorf("encoding the body of %s: %w", op.Name, err)
		}
	}
	a := c.send(ctx, op, body, "application/json")
	if a.err != nil || out == nil {
		return a.tag, a.err
	}
	return a.tag, op.decode(a.body, out)
}

// decode reads an answer.
func (op Op) decode(b []byte, out any) error {
	if p, ok := out.(*[]byte); ok {
		*p = b
		return nil
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the answer to %s is not what was expected: %w", op.Name, err)
	}
	return nil
}

// Upload sends a file's content as the contract wants it: a form with one part named file.
func (c *Client) Upload(ctx context.Context, op Op, filename string, content []byte) error {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", filename)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("making the form of an upload: %w", err)
	}
	return c.send(ctx, op, form.Bytes(), w.FormDataContentType()).err
}

// List does an operation that answers a list and gives its items.
func List[T any](ctx context.Context, c *Client, op Op) ([]T, error) {
	var l spec.List[T]
	if err := c.Call(ctx, op, &l); err != nil {
		return nil, err
	}
	return l.Items, nil
}

// send finds the operation's route and does it, a write as often as it takes.
func (c *Client) send(ctx context.Context, op Op, body []byte, contentType string) attempt {
	route, ok := c.routes[routeKey{op.Name, op.Level}]
	if !ok {
		return attempt{err: model.Errorf(model.Invalid, "the API has no operation %s at level %q", op.Name, op.Level)}
	}
	path := spec.Path(route.Pattern, op.Params)
	if i := strings.IndexByte(path, '{'); i >= 0 {
		return attempt{err: model.Errorf(model.Invalid, "%s needs a value for %s", op.Name, path[i:])}
	}
	for name, value := range op.Params {
		if value == "" {
			return attempt{err: model.Errorf(model.Invalid, "%s: the name for {%s} is empty", op.Name, name)}
		}
	}
	if q := op.Query.Encode(); q != "" {
		path += "?" + q
	}
	if c.cfg.DryRun && changes(route) {
		return c.tryOnly(ctx, route.Method, path, body, contentType, op)
	}
	try := func(key string) attempt { return c.once(ctx, route.Method, path, body, contentType, key, op) }
	var a attempt
	if c.cfg.Patience == 0 || !takesKey(route) {
		a = try("")
	} else {
		a = c.persist(ctx, try)
	}
	if a.err == nil {
		c.caused.note(op.Params["org"], a.plan)
	}
	return a
}

// once sends a request and reads its answer.
func (c *Client) once(ctx context.Context, method, path string, body []byte, contentType, key string, op Op) attempt {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return attempt{err: model.Errorf(model.Invalid, "the address %s cannot be asked: %s", c.base+path, err)}
	}
	req.Header.Set("Content-Type", contentType)
	if key != "" {
		req.Header.Set(spec.HeaderIdempotencyKey, key)
	}
	if op.IfMatch != "" {
		req.Header.Set("If-Match", op.IfMatch)
	}
	c.authorize(req)
	if op.Code != "" {
		req.Header.Set(spec.HeaderTOTP, op.Code)
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return attempt{err: fmt.Errorf("%s %s: %w", method, path, context.Cause(ctx))}
		}
		return attempt{err: &UnreachableError{c.base, err}}
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return attempt{err: &UnreachableError{c.base, fmt.Errorf("the answer broke off: %w", err)}}
	}
	if wantsTLS(resp, b) {
		return attempt{err: &UnreachableError{c.base, errWantsTLS}}
	}
	if resp.StatusCode/100 != 2 {
		return attempt{err: answered(resp, b), after: retryAfter(resp.Header)}
	}
	return attempt{body: b, plan: resp.Header.Get(spec.HeaderPlan), at: place(resp.Header), tag: resp.Header.Get("ETag")}
}

// authorize says who calls.
func (c *Client) authorize(req *http.Request) {
	switch {
	case c.cfg.AppKey != "":
		req.Header.Set(spec.HeaderAppKey, c.cfg.AppKey)
	case c.cfg.JWT != "":
		req.Header.Set(spec.HeaderJWT, c.cfg.JWT)
	case c.cfg.User != "":
		req.SetBasicAuth(c.cfg.User, c.cfg.Password)
	}
	if c.cfg.Code != "" {
		req.Header.Set(spec.HeaderTOTP, c.cfg.Code)
	}
}

// place is the state that an answer was made of.
func place(h http.Header) string {
	epoch, index := h.Get(spec.HeaderEpoch), h.Get(spec.HeaderIndex)
	if epoch == "" || index == "" {
		return ""
	}
	return epoch + "-" + index
}

// answered rebuilds the error that an answer tells.
func answered(resp *http.Response, b []byte) error {
	var p spec.Problem
	if err := json.Unmarshal(b, &p); err == nil && len(p.Error) > 0 {
		if p.Code == "" {
			p.Code = codeOf(resp.StatusCode)
		}
		return &model.Error{Code: p.Code, Messages: p.Error}
	}
	return model.Errorf(codeOf(resp.StatusCode), "%s answered %s: is it the root of a Muster API? It ends in /api", resp.Request.URL.Redacted(), resp.Status)
}

// codeOf is the code of a status, for answers that are not ours (a proxy's).
func codeOf(status int) model.Code {
	switch status {
	case http.StatusUnauthorized:
		return model.Unauthenticated
	case http.StatusForbidden:
		return model.Forbidden
	case http.StatusNotFound:
		return model.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return model.Conflict
	case http.StatusGone:
		return model.Gone
	case http.StatusRequestEntityTooLarge:
		return model.TooLarge
	case http.StatusNotImplemented:
		return model.Unimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return model.Unavailable
	case http.StatusGatewayTimeout:
		return model.Unknown
	}
	if status >= 500 || status < 400 {
		return model.Internal
	}
	return model.Invalid
}

// IsUnreachable tells whether err means that no answer came.
func IsUnreachable(err error) bool {
	var e *UnreachableError
	return errors.As(err, &e)
}
