package api

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of a blocking read.
const (
	defaultWait = 30 * time.Second
	maxWait     = 5 * time.Minute
)

// within reads how long the caller wants to wait for something new, and sets the deadlines of the request: that of
// every request, and the wait beside it: of a read for news, of a write for what it causes.
func (c *call) within() (time.Duration, error) {
	if word := c.query.Get("consistency"); c.reads() && word != "" && word != "stale" && word != "linearizable" {
		return 0, model.Errorf(model.Invalid, "consistency: give linearizable, which is the default, or stale, not %q", word)
	}
	wait, err := c.wait()
	if !c.reads() {
		wait, err = c.writeWait()
	}
	if err != nil {
		return 0, err
	}
	// A little more, so that those who came together do not come again together.
	if wait > 0 {
		wait += time.Duration(rand.Int64N(int64(wait/16) + 1))
	}
	c.limit.begin(c.req.Context(), c.srv.cfg.Timeout+wait)
	c.req = c.req.WithContext(c.limit)
	if wait > 0 {
		c.allow(wait + c.srv.cfg.Timeout)
	}
	return wait, nil
}

// wait is the parameter; 0 when it is not given.
func (c *call) wait() (time.Duration, error) {
	if !c.query.Has("wait") || !c.reads() {
		return 0, nil
	}
	text := c.query.Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	return parseWait(text)
}

func parseWait(text string) (time.Duration, error) {
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, model.Errorf(model.Invalid, "wait: give a time like 30s, up to %s, not %q", maxWait, text)
	}
	return wait, nil
}

// patience ends with a wait, with the request, with the server, and when the caller's key or session runs out.
func (c *call) patience(view *state.View, wait time.Duration) (context.Context, context.CancelFunc) {
	if key := c.caller.key; key != nil && !key.Expires.IsZero() {
		wait = min(wait, max(key.Expires.Sub(view.Now()), 0))
	}
	if session := c.caller.session; session != nil {
		wait = min(wait, max(session.Expires.Sub(view.Now()), 0))
	}
	ctx, cancel := context.WithTimeout(c.req.Context(), wait)
	if c.srv.cfg.Stop == nil {
		return ctx, cancel
	}
	unhook := context.AfterFunc(c.srv.cfg.Stop, cancel)
	return ctx, func() { unhook(); cancel() }
}

// allow lets the connection live for a time from now, whatever the server's limits are for other requests.
func (c *call) allow(d time.Duration) {
	rc, until := http.NewResponseController(c.writer), time.Now().Add(d)
	// Where a connection has no deadlines there is nothing to lift.
	_ = rc.SetReadDeadline(until)
	_ = rc.SetWriteDeadline(until)
}

// reads tells whether the request changes nothing.
func (c *call) reads() bool {
	return c.req.Method == http.MethodGet || c.req.Method == http.MethodHead
}

// position is a place in the log, as clients name it: "epoch-index", or "index" in the present epoch.
type position struct {
	epoch uint64 // 0 is the present one
	index uint64
}

// position reads the parameter index; false when it is not given.
func (c *call) position() (position, bool, error) {
	if !c.query.Has("index") {
		return position{}, false, nil
	}
	text := c.query.Get("index")
	before, after, both := strings.Cut(text, "-")
	p, err := position{}, error(nil)
	if both {
		if p.epoch, err = strconv.ParseUint(before, 10, 64); err == nil && p.epoch == 0 {
			err = strconv.ErrRange
		}
		before = after
	}
	if err == nil {
		p.index, err = strconv.ParseUint(before, 10, 64)
	}
	if err != nil {
		return p, false, model.Errorf(model.Invalid, "index: give EPOCH-INDEX or INDEX, as %s and %s of an answer told, not %q", spec.HeaderEpoch, spec.HeaderIndex, text)
	}
	return p, true, nil
}

// runRead runs a reading endpoint over the view that the caller was known in, or over the first later one that shows
// something new, if the caller waits.
func (c *call) runRead(view *state.View, end endpoint, wait time.Duration) (reply, error) {
	at, given, err := c.position()
	if err != nil {
		return reply{}, err
	}
	if c.query.Has("wait") && !given {
		return reply{}, model.Errorf(model.Invalid, "wait: give index too, the %s of the answer that you have", spec.HeaderIndex)
	}
	if given {
		if view, err = c.reach(view, at); err != nil {
			return reply{}, err
		}
		if wait > 0 {
			return c.block(view, end, at.index, wait)
		}
	}
	answer, bad := c.read(view, end)
	if bad != nil {
		return reply{}, bad.err
	}
	return c.unchanged(answer), nil
}

// reach gives a view that is not older than what the caller has seen, of the same epoch.
func (c *call) reach(view *state.View, p position) (*state.View, error) {
	if p.epoch > view.Epoch() && c.stale() {
		return nil, model.Errorf(model.Unavailable, "this node has not heard of epoch %d yet: try again", p.epoch)
	}
	if err := c.sameEpoch(view, p.epoch); err != nil {
		return nil, err
	}
	later, err := view.Await(c.req.Context(), p.index)
	if err != nil {
		return nil, &model.Error{Code: model.Unavailable, Err: err, Messages: []string{
			"this node has not got to index " + strconv.FormatUint(p.index, 10) + " yet: try again, or read without an index if the cluster was restored since"}}
	}
	return later, c.sameEpoch(later, p.epoch)
}

// sameEpoch refuses what is of another epoch: its indexes mean nothing here.
func (c *call) sameEpoch(view *state.View, epoch uint64) error {
	if epoch == 0 || epoch == view.Epoch() {
		return nil
	}
	c.stamp(view.Epoch(), view.Index())
	return model.Errorf(model.Gone, "index: it is of epoch %d, and the cluster, restored or recovered since, is in epoch %d: read anew without an index, and go on from %d-%d",
		epoch, view.Epoch(), view.Epoch(), view.Index())
}

// lookError is an error of a reading, and whether a later state may mend it.
type lookError struct {
	err  error
	wait bool
}

// look reads all of an answer through one view: the credentials, the rights, the rows.
func (c *call) look(view *state.View, end endpoint) (reply, *lookError) {
	who := view
	if c.keeps { // the key of what is kept holds the caller's rows; that a key expires is no reason to keep nothing
		who = view.Watched(nil)
	}
	if err := c.caller.still(who); err != nil {
		return reply{}, &lookError{err: err}
	}
	at, err := c.scope(view, end)
	if err != nil {
		return reply{}, &lookError{err: err} // never waited for: else the time would tell what is hidden
	}
	c.stamp(view.Epoch(), view.Index())
	c.clear, c.bare, c.at = false, nil, at
	value, err := end.read(c, view, at)
	if err != nil {
		return reply{}, &lookError{err: err, wait: model.CodeOf(err) == model.NotFound}
	}
	if value, err = c.page(view.Epoch(), value); err != nil {
		return reply{}, &lookError{err: err}
	}
	answer, err := c.encode(value)
	if err != nil {
		return reply{}, &lookError{err: err}
	}
	if answer.status == http.StatusOK && answer.kind != "" {
		answer.tag = tagOf(view.Epoch(), answer)
	}
	return answer, nil
}

// same tells whether two readings show the caller the same.
func same(a reply, aErr *lookError, b reply, bErr *lookError) bool {
	if aErr != nil && bErr != nil {
		return aErr.wait && bErr.wait && aErr.err.Error() == bErr.err.Error()
	}
	return aErr == nil && bErr == nil && a.tag == b.tag && a.status == b.status
}

// block answers once something that the handler reads is newer than index, at the latest after wait. What changes while
// the caller waits but shows it nothing new is no answer; of what changed before it came, its If-None-Match tells that.
func (c *call) block(view *state.View, end endpoint, index uint64, wait time.Duration) (reply, error) {
	began, first := time.Now(), view
	ctx, cancel := c.patience(view, wait)
	defer cancel()
	ws := state.NewWatchSetSince(index)
	answer, lookErr := c.look(view.Watched(ws), end)
	var waitErr error
	news := ws.Changed()
	if news { // it may have come after the view
		ws = state.NewWatchSet()
		answer, lookErr = c.look(c.srv.cfg.Store.Local().At(first.Now()).Watched(ws), end)
	}
	for news = news && !c.has(answer); !news && (lookErr == nil || lookErr.wait); {
		if waitErr = ctx.Err(); waitErr == nil && !ws.Changed() {
			waitErr = ws.Wait(ctx)
		}
		if err := c.req.Context().Err(); err != nil {
			return reply{}, err
		}
		// The leader's time is not asked for again: it has gone on by what this node's clock has run.
		view = c.srv.cfg.Store.Local().At(first.Now().Add(time.Since(began)))
		if view.Epoch() != first.Epoch() {
			return reply{}, c.sameEpoch(view, first.Epoch())
		}
		ws = state.NewWatchSet()
		had, hadErr := answer, lookErr
		answer, lookErr = c.look(view.Watched(ws), end)
		news = waitErr != nil || !same(had, hadErr, answer, lookErr)
	}
	if lookErr != nil {
		return reply{}, lookErr.err
	}
	return c.unchanged(answer), nil
}

// stale tells whether the caller takes what this node has.
func (c *call) stale() bool { return c.reads() && c.query.Get("consistency") == "stale" }

// tellAge says how old the state may be that this node has.
func (c *call) tellAge() {
	text := "unknown"
	if c.srv.cfg.Age != nil {
		if age, ok := c.srv.cfg.Age(); ok {
			text = strconv.FormatInt(age.Milliseconds()+1, 10)
		}
	}
	c.header.Set(spec.HeaderAge, text)
}
