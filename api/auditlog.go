package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of reading a log at once.
const (
	maxLogItems  = 1000   // with a limit
	allLogItems  = 10_000 // without: the newest
	maxLogLooked = 50_000 // records that one request looks at; the cursor of the answer goes on from there
)

func auditEndpoints() map[string]endpoint {
	lines := func(logs ...func(orgID string) string) endpoint {
		return reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) { return c.listLines(r, at, logs...) })
	}
	site := func(c *call, r state.Reader, at scope) (any, error) { return c.listAudit(r, at) }
	all := map[string]endpoint{
		"site.audit.list":   {site: true, read: site},
		"site.audit.export": {site: true, live: exportAudit},
		"audit.export":      {need: auth.Read, live: exportAudit},
	}
	all["webhooks.deliveries.list"] = reading(auth.Read, listDeliveries)
	for _, level := range []string{"", "environment.", "host."} {
		all[level+"audit.list"] = reading(auth.Read, site)
		all[level+"notification.list"] = lines(model.NotificationLogOf)
		all[level+"agent.list"] = lines(model.AgentLogOf)
		all[level+"other.list"] = lines(model.OtherLogOf)
	}
	// The published client reads a host's agent log here (contract section 2.1).
	all["host.other.list"] = lines(model.OtherLogOf, model.AgentLogOf)
	delete(all, "host.agent.list")
	return all
}

// logQuery is what of a log the caller asks for.
type logQuery struct {
	rng    state.LogRange
	newest bool // newest first
	limit  int  // 0: all
	text   []byte
	epoch  uint64

	actor, kind, action, object string
	read                        *bool
}

// logQuery reads the parameters. A cursor of another epoch is refused: what followed it may be another's now.
func (c *call) logQuery(r state.Reader) (logQuery, error) {
	q := logQuery{epoch: r.Epoch(), actor: c.query.Get("actor"), kind: c.query.Get("kind"), action: c.query.Get("action"),
		object: strings.Trim(c.query.Get("object"), "/")}
	if text := c.query.Get("text"); text != "" {
		b, err := json.Marshal(text)
		if err != nil {
			return q, model.Errorf(model.Invalid, "text: give one in UTF-8")
		}
		q.text = bytes.ToLower(b[1 : len(b)-1])
	}
	var err error
	if q.rng.Since, err = c.moment(r, "since"); err != nil {
		return q, err
	}
	if q.rng.Until, err = c.moment(r, "until"); err != nil {
		return q, err
	}
	if text := c.query.Get("read"); text != "" {
		read := c.flag("read", true)
		if read != c.flag("read", false) {
			return q, model.Errorf(model.Invalid, "read: give true or false, not %q", text)
		}
		q.read = &read
	}
	switch order := c.query.Get("order"); order {
	case "", "oldest":
	case "newest":
		q.newest = true
	default:
		return q, model.Errorf(model.Invalid, "order: give oldest, which is the default, or newest, not %q", order)
	}
	if text := c.query.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxLogItems {
			return q, model.Errorf(model.Invalid, "limit: give a number from 1 to %d, not %q", maxLogItems, text)
		}
	}
	return q, c.logCursor(&q, r)
}

// logCursor reads where to go on.
func (c *call) logCursor(q *logQuery, r state.Reader) error {
	text := c.query.Get("cursor")
	if text == "" {
		return nil
	}
	before, after, both := strings.Cut(text, "-")
	epoch, err := strconv.ParseUint(before, 10, 64)
	seq, err2 := strconv.ParseUint(after, 10, 63)
	if !both || err != nil || err2 != nil || epoch == 0 {
		return model.Errorf(model.Invalid, "cursor: give that of a record or of an answer, like 1700000000000-42, not %q", text)
	}
	if epoch != r.Epoch() {
		return model.Errorf(model.Gone, "cursor: it is of epoch %d, and the cluster, restored or recovered since, is in epoch %d: read anew without a cursor", epoch, r.Epoch())
	}
	if q.newest {
		q.rng.Before = seq
		if seq == 0 {
			q.rng.Until = time.Unix(0, 1) // nothing is before the first
		}
	} else {
		q.rng.From = seq + 1
	}
	return nil
}

// moment reads a time, or how long ago it was.
func (c *call) moment(r state.Reader, name string) (time.Time, error) {
	text := c.query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return r.Now().Add(-ago), nil
	}
	for _, form := range []string{time.RFC3339Nano, spec.TimeFormat, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, model.Errorf(model.Invalid, "%s: give a time like 2026-01-31T12:00:00Z, a day like 2026-01-31, or how long ago like 24h, not %q", name, text)
}

func (q *logQuery) cursor(seq uint64) string { return fmt.Sprintf("%d-%d", q.epoch, seq) }

// scan gives the records of a log that may match, in the order asked for, until take says false or enough were looked
// at. It tells the cursor to go on from, "" at the end.
func (q *logQuery) scan(r state.Reader, log string, most int, take func(l state.LogRecord) bool) (next string) {
	looked := 0
	each := func(l state.LogRecord) bool {
		if looked == most {
			return false
		}
		looked++
		next = q.cursor(l.Seq)
		if len(q.text) > 0 && !bytes.Contains(bytes.ToLower(l.Data), q.text) {
			return true
		}
		return take(l)
	}
	if q.newest {
		ended := true
		state.ReadLogBack(r, log, q.rng, func(l state.LogRecord) bool { ended = each(l); return ended })
		if ended {
			next = ""
		}
		return next
	}
	ended := true
	state.ReadLog(r, log, q.rng, func(l state.LogRecord) bool { ended = each(l); return ended })
	if ended {
		next = ""
	}
	return next
}

// listAudit lists the records of a log that the caller may see.
func (c *call) listAudit(r state.Reader, at scope) (any, error) {
	q, err := c.logQuery(r)
	if err != nil {
		return nil, err
	}
	out := spec.AuditList{Items: []spec.AuditLog{}}
	most, all := q.limit, q.limit == 0 && !q.newest && c.query.Get("cursor") == ""
	if most == 0 {
		most = allLogItems
	}
	if all { // the newest, but the oldest of them first
		q.newest = true
	}
	see := c.sight(r, at)
	var bad error
	out.Cursor = q.scan(r, auditLog(at), maxLogLooked, func(l state.LogRecord) bool {
		rec, err := model.DecodeAudit(l.Data)
		if err != nil {
			bad = err
			return false
		}
		if q.matches(&rec) && see.record(&rec) {
			out.Items = append(out.Items, see.doc(&q, l, rec))
		}
		return len(out.Items) < most
	})
	if all {
		slices.Reverse(out.Items)
		out.Cursor = ""
	}
	out.Count = len(out.Items)
	return out, bad
}

func auditLog(at scope) string {
	if at.org == nil {
		return model.AuditSite
	}
	return model.AuditLogOf(at.org.ID)
}

func (q *logQuery) matches(rec *model.AuditRecord) bool {
	if q.read != nil && rec.Read != *q.read || q.actor != "" && !strings.EqualFold(rec.Actor, q.actor) ||
		q.action != "" && rec.Action != q.action && !strings.HasPrefix(rec.Action, q.action+".") {
		return false
	}
	if q.kind != "" && !slices.ContainsFunc(rec.Changes, func(ch model.AuditChange) bool { return ch.Kind == q.kind }) {
		return false
	}
	if q.object == "" || below(rec.Object, q.object) || below(withinOrg(rec.Object), q.object) {
		return true
	}
	return slices.ContainsFunc(rec.Changes, func(ch model.AuditChange) bool { return below(ch.Object, q.object) })
}

// below tells whether a path is another one or beneath it.
func below(path, top string) bool {
	rest, ok := strings.CutPrefix(path, top)
	return ok && (rest == "" || rest[0] == '/')
}

// sight is what of a log a caller may see: what was done to an environment or host that is hidden from the caller is
// hidden, too.
type sight struct {
	at      scope
	grants  grants
	address bool
	known   map[[2]string]bool
}

func (c *call) sight(r state.Reader, at scope) *sight {
	s := &sight{at: at, known: map[[2]string]bool{}, address: at.org == nil || at.role.May(auth.Operate)}
	if at.org != nil {
		s.grants = c.caller.grantsOf(r, at.org.ID)
	}
	return s
}

// place tells whether what happened at an environment and host is the caller's to see, and within the path asked for.
func (s *sight) place(envID, hostID string) bool {
	if s.at.org == nil {
		return true
	}
	if s.at.host != nil && s.at.host.ID != hostID || s.at.env != nil && s.at.env.ID != envID {
		return false
	}
	return s.may(envID, hostID)
}

func (s *sight) may(envID, hostID string) bool {
	if s.at.org == nil {
		return true
	}
	where := [2]string{envID, hostID}
	ok, known := s.known[where]
	if !known {
		role, org := s.grants.org(s.at.org.ID), s.at.org.ID
		switch {
		case hostID != "":
			role = s.grants.host(org, envID, hostID)
		case envID != "":
			role = s.grants.env(org, envID)
		}
		ok = role.May(auth.Read)
		s.known[where] = ok
	}
	return ok
}

func (s *sight) record(rec *model.AuditRecord) bool { return s.place(rec.EnvID, rec.HostID) }

// doc is a record as the caller sees it.
func (s *sight) doc(q *logQuery, l state.LogRecord, rec model.AuditRecord) spec.AuditLog {
	d := spec.AuditLog{Timestamp: model.FormatTime(l.Time), Message: rec.Message, Username: rec.Actor, UserFullName: rec.Fullname,
		Cursor: q.cursor(l.Seq), Kind: rec.Kind, Action: rec.Action, Object: rec.Object, Request: rec.Request, Read: rec.Read,
		Changes: []spec.AuditChange{}, More: rec.More, Queued: rec.Queued}
	if s.address {
		d.Address = rec.Address
	}
	for _, ch := range rec.Changes {
		if !s.may(ch.EnvID, ch.HostID) {
			continue
		}
		fields := make([]spec.AuditField, len(ch.Fields))
		for i, f := range ch.Fields {
			fields[i] = spec.AuditField(f)
		}
		d.Changes = append(d.Changes, spec.AuditChange{Kind: ch.Kind, Object: ch.Object, Action: ch.Action, Fields: fields, Cut: ch.Cut})
	}
	return d
}

// listLines lists the lines of logs that are no audit.
func (c *call) listLines(r state.Reader, at scope, logs ...func(orgID string) string) (any, error) {
	q, err := c.logQuery(r)
	if err != nil {
		return nil, err
	}
	most := q.limit
	if most == 0 {
		most = allLogItems
	}
	see := c.sight(r, at)
	out := spec.LogList{Items: []spec.Log{}}
	type line struct {
		at  time.Time
		doc spec.Log
	}
	var found []line
	for _, log := range logs {
		n := 0
		next := q.scan(r, log(at.org.ID), maxLogLooked, func(l state.LogRecord) bool {
			var rec model.LogRecord
			if json.Unmarshal(l.Data, &rec) != nil || !see.place(rec.EnvID, rec.HostID) {
				return true
			}
			found = append(found, line{l.Time, spec.Log{Timestamp: model.FormatTime(l.Time), Message: rec.Message, Cursor: q.cursor(l.Seq)}})
			n++
			return n < most
		})
		if len(logs) == 1 {
			out.Cursor = next
		}
	}
	slices.SortStableFunc(found, func(a, b line) int {
		if q.newest {
			return b.at.Compare(a.at)
		}
		return a.at.Compare(b.at)
	})
	for _, l := range found[:min(most, len(found))] {
		out.Items = append(out.Items, l.doc)
	}
	out.Count = len(out.Items)
	return out, nil
}

// exportAudit streams all that matches as JSON lines, the oldest first, as of one state. What breaks off goes on from the
// cursor of the last whole line.
func exportAudit(c *call, view *state.View, end endpoint) (reply, error) {
	at, err := c.scope(view, end)
	if err != nil {
		return reply{}, err
	}
	q, err := c.logQuery(view)
	if err != nil {
		return reply{}, err
	}
	if q.newest || q.limit > 0 {
		return reply{}, model.Errorf(model.Invalid, "order, limit: an export is of all, the oldest first: leave them out")
	}
	see := c.sight(view, at)
	c.stamp(view.Epoch(), view.Index())
	c.header.Set("Content-Type", "application/x-ndjson")
	c.header.Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
	c.writer.WriteHeader(http.StatusOK)
	if c.req.Method == http.MethodHead {
		return reply{gone: true}, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	send := func(least int) bool {
		if b.Len() < least {
			return true
		}
		c.allow(snapshotIdle)
		_, err := c.writer.Write(b.Bytes())
		b.Reset()
		return err == nil && c.limit.Context.Err() == nil
	}
	q.scan(view, auditLog(at), -1, func(l state.LogRecord) bool {
		rec, err := model.DecodeAudit(l.Data)
		if err != nil {
			panic(http.ErrAbortHandler) // what came is not to be taken for whole
		}
		if !q.matches(&rec) || !see.record(&rec) {
			return true
		}
		if err := enc.Encode(see.doc(&q, l, rec)); err != nil {
			panic(http.ErrAbortHandler)
		}
		return send(64 << 10)
	})
	send(1)
	return reply{gone: true}, nil
}

// listDeliveries lists the attempts that are kept of a webhook, and how it does.
func listDeliveries(c *call, r state.Reader, at scope) (any, error) {
	hook, waiting, health, err := orchestrate.WebhookStanding(r, at.org.ID, c.params["hook"])
	if err != nil {
		return nil, err
	}
	return c.deliveries(r, at, hook.ID, waiting, health)
}

// deliveries lists the attempts that are kept of a webhook or channel. They name what they told of.
func (c *call) deliveries(r state.Reader, at scope, id string, waiting int, health *model.WebhookHealth) (any, error) {
	if err := c.mayFollow(r, at); err != nil {
		return nil, err
	}
	q, err := c.logQuery(r)
	if err != nil {
		return nil, err
	}
	most := q.limit
	if most == 0 {
		most = allLogItems
	}
	out := spec.DeliveryList{Items: []spec.Delivery{}, Waiting: waiting}
	if health != nil {
		out.Failing, out.Disabled, out.Error = model.FormatTime(health.Since), health.Disabled, health.Error
	}
	out.Cursor = q.scan(r, model.DeliveryLogOf(at.org.ID, id), maxLogLooked, func(l state.LogRecord) bool {
		var rec model.DeliveryRecord
		if json.Unmarshal(l.Data, &rec) != nil {
			return true
		}
		out.Items = append(out.Items, spec.Delivery{Timestamp: model.FormatTime(l.Time), ID: rec.ID, Kind: rec.Kind, Object: rec.Object, URL: rec.URL,
			Attempt: rec.Attempt, Status: rec.Status, Error: rec.Error, TookMs: rec.Took, Next: rec.Next, Cursor: q.cursor(l.Seq)})
		return len(out.Items) < most
	})
	out.Count = len(out.Items)
	return out, nil
}
