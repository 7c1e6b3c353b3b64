package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of a list of events, and the pace of a stream of them.
const (
	defaultEvents = 100
	maxEvents     = 1000
	streamIdle    = 15 * time.Second // between signs of life
)

// whole is the number in a cursor that stands behind all events of its index.
const whole = math.MaxUint32

// cursor is a place between events. Events of one index are counted as the caller sees them: what others did in the
// same entry of the log leaves no gap.
type cursor struct {
	epoch, index uint64
	seen         uint32 // how many events of the index are before it; whole: all
}

// String is "epoch-index" behind all of an index, else "epoch-index-number".
func (c cursor) String() string {
	if c.seen == whole {
		return fmt.Sprintf("%d-%d", c.epoch, c.index)
	}
	return fmt.Sprintf("%d-%d-%d", c.epoch, c.index, c.seen)
}

// parseCursor reads a cursor as String writes it.
func parseCursor(text string) (cursor, error) {
	c, parts := cursor{seen: whole}, strings.Split(text, "-")
	var err error
	if len(parts) == 2 || len(parts) == 3 {
		if c.epoch, err = strconv.ParseUint(parts[0], 10, 64); err == nil {
			c.index, err = strconv.ParseUint(parts[1], 10, 64)
		}
		if err == nil && len(parts) == 3 {
			var n uint64
			n, err = strconv.ParseUint(parts[2], 10, 32)
			c.seen = uint32(n)
		}
		if err == nil && c.epoch > 0 {
			return c, nil
		}
	}
	return c, model.Errorf(model.Invalid, "after: give the cursor of an event or of an answer, like 1700000000000-42-1, or now, not %q", text)
}

func eventEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"events.list":               {site: true, live: listEvents},
		"organizations.events.list": {need: auth.Read, live: listEvents},
	}
}

// follower reads events for one request.
type follower struct {
	c    *call
	end  endpoint
	at   cursor
	most int
}

// listEvents answers events as a list, or as a stream to who accepts one.
func listEvents(c *call, view *state.View, end endpoint) (reply, error) {
	f := &follower{c: c, end: end, most: defaultEvents}
	if text := c.query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxEvents {
			return reply{}, model.Errorf(model.Invalid, "limit: give a number from 1 to %d, not %q", maxEvents, text)
		}
		f.most = n
	}
	stream := strings.Contains(c.req.Header.Get("Accept"), "text/event-stream")
	after := c.query.Get("after")
	if last := c.req.Header.Get("Last-Event-ID"); stream && last != "" {
		after = last
	}
	at := state.EventsStart(view)
	f.at = cursor{view.Epoch(), at.Index, whole}
	switch {
	case after == "now" || after == "" && stream:
		f.at.index = view.Index()
	case after != "":
		var err error
		if f.at, err = parseCursor(after); err != nil {
			return reply{}, err
		}
		if f.at.epoch == view.Epoch() && f.at.index > view.Index() { // seen on another node
			if view, err = view.Await(c.req.Context(), f.at.index); err != nil {
				return reply{}, &model.Error{Code: model.Unavailable, Err: err, Messages: []string{"this node has not got to the cursor yet: try again"}}
			}
		}
	}
	if stream {
		return f.stream(view)
	}
	return f.list(view)
}

// gone refuses a cursor, and says how to go on.
func (f *follower) gone(view *state.View, why string) error {
	f.c.stamp(view.Epoch(), view.Index())
	return model.Errorf(model.Gone, "after: %s: read what you need anew, then follow events with after=%s", why, cursor{view.Epoch(), view.Index(), whole})
}

// read gives the events of a view that the caller may see, and moves the cursor behind them. The credentials and rights
// are looked at through the same view, and all of it is noted in ws.
func (f *follower) read(view *state.View, ws *state.WatchSet) ([]spec.Event, error) {
	watched := view.Watched(ws)
	if err := f.c.caller.still(watched); err != nil {
		return nil, err
	}
	at, err := f.c.scope(watched, f.end)
	if err != nil {
		return nil, err
	}
	if err := f.c.mayFollow(watched, at); err != nil {
		return nil, err
	}
	f.c.stamp(view.Epoch(), view.Index())
	if f.at.epoch != view.Epoch() {
		return nil, f.gone(view, fmt.Sprintf("the cursor is of epoch %d, and the cluster, restored or recovered since, is in epoch %d", f.at.epoch, view.Epoch()))
	}
	var match func(*state.Event) bool
	if at.org != nil {
		match = func(e *state.Event) bool { return e.Org == at.org.ID }
		ws.Events(view, at.org.ID)
	} else {
		ws.Events(view)
	}
	after, skip := state.Version{Index: f.at.index, Pos: whole}, uint32(0)
	if f.at.seen != whole {
		after.Index, skip = max(f.at.index, 1)-1, f.at.seen
	}
	most := f.most + int(min(skip, maxEvents*16))
	found, _, err := state.Events(view, after, most, match)
	if model.CodeOf(err) == model.Gone {
		return nil, f.gone(view, "events after "+f.at.String()+" are no longer kept")
	}
	if err != nil {
		return nil, err
	}
	return f.number(view, found, skip, len(found) < most), nil
}

// number gives events their cursors. The first skip of the cursor's index were seen already.
func (f *follower) number(view *state.View, found []state.Event, skip uint32, all bool) []spec.Event {
	docs := []spec.Event{}
	here := cursor{epoch: f.at.epoch}
	for i := range found {
		e := &found[i]
		if e.Version.Index != here.index {
			here.index, here.seen = e.Version.Index, 0
		}
		here.seen++
		if here.index == f.at.index && here.seen <= skip {
			continue
		}
		docs = append(docs, spec.Event{Cursor: here.String(), Time: model.FormatTime(e.Time), Organization: orgName(view, e.Org), Kind: e.Kind, Object: e.Object, Actor: e.Actor})
	}
	switch {
	case all:
		f.at = cursor{f.at.epoch, max(view.Index(), f.at.index), whole}
	case here.index > 0:
		f.at = here
	}
	return docs
}

// orgName is the name of an organization, its id once it was deleted.
func orgName(r state.Reader, id string) string {
	if id == "" {
		return ""
	}
	if o, err := orchestrate.OrganizationByID(r, id); err == nil {
		return o.Name
	}
	return id
}

// mayFollow refuses the events of an organization to whom some of it is hidden: they tell of all environments.
func (c *call) mayFollow(r state.Reader, at scope) error {
	if at.org == nil || at.role.May(auth.Manage) {
		return nil
	}
	if !at.role.May(auth.Read) {
		return forbidden()
	}
	for _, groups := range c.caller.grantsOf(r, at.org.ID).at {
		for _, g := range groups {
			if g == model.GroupNoAccess {
				return model.Errorf(model.Forbidden, "some of this organization is hidden from you, and its events tell of all of it: ask an administrator of the organization")
			}
		}
	}
	return nil
}

// list answers what there is, or waits for something if the caller does.
func (f *follower) list(view *state.View) (reply, error) {
	wait, err := f.c.wait()
	if err != nil {
		return reply{}, err
	}
	began, first := time.Now(), view
	ctx, cancel := f.c.patience(view, wait)
	defer cancel()
	for {
		ws := state.NewWatchSet()
		docs, err := f.read(view, ws)
		if err != nil {
			return reply{}, err
		}
		if len(docs) > 0 || ctx.Err() != nil {
			return f.c.encode(spec.EventList{Count: len(docs), Items: docs, Cursor: f.at.String()})
		}
		_ = ws.Wait(ctx) // what there is then is answered
		if err := f.c.req.Context().Err(); err != nil {
			return reply{}, err
		}
		view = f.c.srv.cfg.Store.Local().At(first.Now().Add(time.Since(began)))
	}
}

// stream sends events as they come, until the client goes, the server stops, or the credentials end.
func (f *follower) stream(view *state.View) (reply, error) {
	f.most = maxEvents
	ws := state.NewWatchSet()
	docs, err := f.read(view, ws) // what is refused is refused with a status
	if err != nil {
		return reply{}, err
	}
	c := f.c
	ctx, stop := context.WithCancel(c.limit.Context)
	defer stop()
	if c.srv.cfg.Stop != nil {
		defer context.AfterFunc(c.srv.cfg.Stop, stop)()
	}
	c.req = c.req.WithContext(ctx)
	c.header.Set("Content-Type", "text/event-stream")
	c.header.Set("X-Accel-Buffering", "no") // a proxy in front passes on at once
	c.writer.WriteHeader(http.StatusOK)
	began, first := time.Now(), view
	for ctx.Err() == nil {
		if err := f.send(docs); err != nil {
			break // the client is gone, or takes nothing
		}
		idle, cancel := c.patience(first.At(first.Now().Add(time.Since(began))), streamIdle)
		_ = ws.Wait(idle) // news, or time for a sign of life
		cancel()
		if ctx.Err() != nil {
			break
		}
		ws = state.NewWatchSet()
		docs, err = f.read(c.srv.cfg.Store.Local().At(first.Now().Add(time.Since(began))), ws)
		if err != nil {
			f.farewell(err)
			break
		}
	}
	return reply{gone: true}, nil
}

// send writes events, then the cursor, from which the client resumes also when nothing was for it.
func (f *follower) send(docs []spec.Event) error {
	f.c.allow(2 * streamIdle)
	var b strings.Builder
	for _, e := range docs {
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
		fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", e.Cursor, e.Kind, data)
	}
	fmt.Fprintf(&b, "id: %s\n: so far\n\n", f.at)
	if _, err := f.c.writer.Write([]byte(b.String())); err != nil {
		return err
	}
	return http.NewResponseController(f.c.writer).Flush()
}

// farewell tells why a stream ends.
func (f *follower) farewell(err error) {
	data, jsonErr := json.Marshal(problem(err, f.c.id))
	if jsonErr != nil {
		return
	}
	_, _ = fmt.Fprintf(f.c.writer, "event: error\ndata: %s\n\n", data) // the client may be gone
	_ = http.NewResponseController(f.c.writer).Flush()
}
