package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// call is one request as handlers see it.
type call struct {
	srv    *Server
	req    *http.Request
	route  spec.Route
	params map[string]string
	segs   []string // of the path, below the root
	query  url.Values
	body   []byte // checked as the endpoint's body says
	caller caller
	hash   string      // of the body's password, made by stagePassword
	header http.Header // of the answer
	id     string
	writer http.ResponseWriter
	// address is where the request comes from, as far as that can be known.
	address netip.Addr
	clear   bool               // a secret is shown in clear in the answer
	bare    []string           // ids of the organizations whose secrets are, in an answer about many
	keeps   bool               // the answer is to be kept
	masked  bool               // secrets are to be masked, since reading them cannot be recorded
	at      scope              // of the last reading
	charged string             // the organization whose quota the request is counted in
	limit   *deadline          // of the request, whose context it is
	cancel  context.CancelFunc // of the context that took its place, if one did
	target  string             // id of what the answer waits for: the host that a job acts on, or what is being deleted
	caused  orchestrate.Caused // what the write sets in motion
	run     *webhookRun        // that was committed, and is to be made
}

// bodyKind is what an endpoint takes.
type bodyKind int

const (
	noBody     bodyKind = iota // whatever is sent is ignored
	objectBody                 // a JSON object
	listBody                   // a JSON list
	uploadBody                 // a form with a part named file; body is the file's content
)

// endpoint is what answers a route: exactly one of read, write, free, live and open.
type endpoint struct {
	need auth.Action // what the caller must be allowed at the route's scope
	site bool        // only administrators of the site; the scope does not count
	body bodyKind

	// read runs over a view, write within a transaction that may run many times. Both come after
	// authentication and after the scope is found and allowed, in the same view or transaction.
	read  func(c *call, r state.Reader, at scope) (any, error)
	write func(c *call, tx *state.Tx, at scope) (any, error)
	// stage goes before write, allowed but outside the transaction: for what is too large for one.
	stage func(c *call) error
	// leave takes the place of write where what goes is too much for one transaction: it marks it, and the leader deletes it.
	leave func(c *call, tx *state.Tx, at scope) error
	large bool // write was tried, and was too much
	// after goes behind write, once that is committed: for what the answer waits for.
	after func(c *call) error
	// result goes behind write, too, does what is outside of the cluster, and makes the answer instead of write.
	result func(c *call) (any, error)
	// free needs no scope and no rows; the caller is authenticated.
	free func(c *call) (any, error)
	// live may stream: it gets the view that the caller was known in, and answers in its own time.
	live func(c *call, view *state.View, end endpoint) (reply, error)
	// harmless says that a request which is no GET writes nothing.
	harmless bool
	// open needs no credentials: what it serves is guarded by a secret in the address.
	open func(c *call) (reply, error)
}

func (s *Server) serve(g *gin.Context) {
	start := time.Now()
	c := &call{srv: s, req: g.Request, header: g.Writer.Header(), id: requestID(g.Request.Header), writer: g.Writer, limit: &deadline{began: start}, address: s.cfg.Login.Proxies.Client(g.Request)}
	defer c.end()
	c.header[spec.HeaderRequestID] = []string{c.id}
	c.header["Cache-Control"], c.header["X-Content-Type-Options"] = s.always.cache, s.always.sniff
	if s.origins.allow(c.header, c.req) {
		g.Status(http.StatusNoContent)
		g.Writer.WriteHeaderNow()
		return
	}
	answer, err := s.recovered(c)
	if err == nil && !answer.gone {
		answer = c.compressed(answer)
		c.spent(len(answer.body))
		err = answer.send(g.Writer)
	}
	if err != nil && !g.Writer.Written() {
		s.fault(c, err)
		writeError(g.Writer, err, c.id)
	}
	s.logged(c, g.Writer.Status(), start)
}

// logged writes the line of a request. It says nothing of where in the source it was written: to find that out costs more
// than the line.
func (s *Server) logged(c *call, status int, start time.Time) {
	ctx, to := c.req.Context(), s.cfg.Log.Handler()
	if !to.Enabled(ctx, slog.LevelInfo) {
		return
	}
	now := time.Now()
	line := slog.NewRecord(now, slog.LevelInfo, "request", 0)
	line.AddAttrs(slog.String("id", c.id), slog.String("method", c.req.Method), slog.String("path", loggedPath(s.cfg.Root, c.req.URL.Path)),
		slog.String("route", c.route.Name), slog.Int("status", status), slog.String("caller", c.caller.name),
		slog.String("address", c.address.String()), slog.Duration("took", now.Sub(start)))
	_ = to.Handle(ctx, line) // as slog.Logger does: there is nobody to tell
}

// fault logs what is ours; what the caller did wrong is in the answer.
func (s *Server) fault(c *call, err error) {
	if model.CodeOf(err) == model.Internal && c.req.Context().Err() == nil {
		s.cfg.Log.Error("a request failed", "id", c.id, "route", c.route.Name, "error", err)
	}
}

func (s *Server) recovered(c *call) (answer reply, err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
			panic(p)
		} else if bad, ok := state.Unreadable(p); ok {
			answer, err = reply{}, c.timely(bad)
		} else if p != nil {
			s.cfg.Log.Error("a handler panicked", "id", c.id, "route", c.route.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, err = reply{}, model.Errorf(model.Internal, "panic")
		}
	}()
	answer, err = s.answer(c)
	return answer, c.timely(err)
}

// timely tells an ended deadline in our own codes: whether a write took effect is not known then.
func (c *call) timely(err error) error {
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	var e *model.Error
	if errors.As(err, &e) {
		return err
	}
	if c.req.Method == http.MethodGet || c.req.Method == http.MethodHead {
		return &model.Error{Code: model.Unavailable, Messages: []string{"the cluster did not answer in time: try again"}, Err: err}
	}
	return &model.Error{Code: model.Unknown, Messages: []string{"the outcome is not known yet: look before trying again"}, Err: err}
}

// answer finds the route, reads the body, and runs the endpoint.
func (s *Server) answer(c *call) (reply, error) {
	if err := s.find(c); err != nil {
		return reply{}, err
	}
	wait, err := c.within()
	if err != nil {
		return reply{}, err
	}
	if err := s.cross.Check(c.req); err != nil {
		return reply{}, model.Errorf(model.Forbidden, "a page of another site may not do this")
	}
	end, ok := s.endpoints[c.route.Name]
	dry, err := c.dryRun(end)
	if err != nil {
		return reply{}, err
	}
	if end.open != nil && dry {
		return c.untried()
	}
	if end.open != nil {
		return end.open(c)
	}
	view, err := s.authenticate(c)
	if err != nil {
		return reply{}, err
	}
	c.stamp(view.Epoch(), view.Index())
	switch {
	case c.route.State == spec.Planned:
		return reply{}, notBuilt(c.route)
	case c.route.State == spec.Empty:
		end = endpoint{need: auth.Read, read: nothing}
	case !ok:
		return reply{}, notBuilt(c.route)
	}
	if end.site && !c.caller.admin() {
		return reply{}, model.Errorf(model.Forbidden, "only an administrator of the site may do this")
	}
	switch {
	case dry && end.write == nil:
		return c.untried()
	case end.live != nil:
		return end.live(c, view, end)
	case end.free != nil:
		return c.runFree(end)
	case end.read != nil:
		return c.readRecorded(view, end, wait)
	}
	if dry {
		return c.rehearse(end)
	}
	return c.runWrite(view, end, wait)
}

// end lets go of what the request's time is kept by.
func (c *call) end() {
	c.limit.end()
	if c.cancel != nil {
		c.cancel()
	}
}

// stamp tells which state the answer is of.
func (c *call) stamp(epoch, index uint64) {
	of := c.srv.stamped.Load()
	if of == nil || of.epoch != epoch || of.index != index { // many answers in a row are of one state
		of = &stamp{epoch, index, [2]string{strconv.FormatUint(index, 10), strconv.FormatUint(epoch, 10)}}
		c.srv.stamped.Store(of)
	}
	c.header[spec.HeaderIndex], c.header[spec.HeaderEpoch] = of.texts[:1:1], of.texts[1:2:2]
}

// stamp is a state, and how answers tell it. It is shared, and never changed.
type stamp struct {
	epoch, index uint64
	texts        [2]string
}

// runFree runs an endpoint that needs no rows.
func (c *call) runFree(end endpoint) (reply, error) {
	if c.req.Header.Get(spec.HeaderIdempotencyKey) != "" {
		return reply{}, model.Errorf(model.Invalid, "%s: this request is no transaction, and takes no key: leave the header out", spec.HeaderIdempotencyKey)
	}
	if c.query.Has("index") || c.query.Has("wait") {
		return reply{}, model.Errorf(model.Invalid, "index, wait: what this answers cannot be waited for: leave them out")
	}
	if err := c.readBody(end.body); err != nil {
		return reply{}, err
	}
	value, err := end.free(c)
	if err == nil && c.reads() {
		value, err = c.page(c.srv.cfg.Store.Local().Epoch(), value)
	}
	if err != nil {
		return reply{}, err
	}
	return c.encode(value)
}

// encode is a handler's answer with the status of its route.
func (c *call) encode(value any) (reply, error) {
	if c.route.Status == http.StatusNoContent {
		value = nil
	}
	return encode(c.route.Status, value)
}

// nothing answers lists of which nothing can exist yet.
func nothing(*call, state.Reader, scope) (any, error) { return list[struct{}](nil), nil }

// maxPath bounds an escaped path in bytes: a few names of 255 bytes, and one path of a file, of which each byte may be escaped.
const maxPath = 16 << 10

// find matches the raw path and method against the table.
func (s *Server) find(c *call) error {
	if known, ok := s.kept.targets.get(c.targetKey()); ok {
		c.route, c.params, c.segs, c.query = known.route, known.params, known.segs, known.query
		return nil
	}
	rest, ok := strings.CutPrefix(c.req.URL.EscapedPath(), s.cfg.Root)
	if !ok || rest != "" && rest[0] != '/' {
		return model.Errorf(model.NotFound, "there is nothing at this path: the API is below %s", s.cfg.Root)
	}
	if len(rest) > maxPath {
		return &statusError{http.StatusRequestURITooLong, model.Errorf(model.Invalid, "the path has %d bytes, and at most %d are looked at: no name is that long", len(rest), maxPath)}
	}
	segs, err := spec.SplitPath(rest)
	if err != nil {
		return model.Errorf(model.Invalid, "the path is not percent-encoded as it should be: %s", err)
	}
	for _, seg := range segs {
		if !utf8.ValidString(seg) {
			return model.Errorf(model.Invalid, "the path is not UTF-8: %q has a byte that starts no character", seg)
		}
	}
	method := c.req.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route, params, allowed, ok := s.matcher.Match(method, segs)
	if !ok {
		if len(allowed) > 0 {
			c.header.Set("Allow", strings.Join(allowed, ", "))
			return &statusError{http.StatusMethodNotAllowed, model.Errorf(model.Invalid, "%s is not possible here, but %s", c.req.Method, strings.Join(allowed, ", "))}
		}
		return model.Errorf(model.NotFound, "the API has nothing at %s", c.req.URL.Path)
	}
	c.route, c.params, c.segs = route, params, segs
	if c.query, err = url.ParseQuery(c.req.URL.RawQuery); err != nil {
		return model.Errorf(model.Invalid, "the query is not percent-encoded as it should be: %s", err)
	}
	return nil
}

// flag reads a boolean parameter without regard to case: the published client writes True and False.
// Anything else counts as not given.
func (c *call) flag(name string, missing bool) bool {
	switch strings.ToLower(c.query.Get(name)) {
	case "true", "1", "yes":
		return true
	case "false", "0", "no":
		return false
	}
	return missing
}
