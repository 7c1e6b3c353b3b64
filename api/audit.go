package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// record begins the audit record of this request: who does what to which object.
func (c *call) record(at scope, object string) model.AuditRecord {
	rec := model.AuditRecord{Actor: c.caller.name, Kind: model.ActorOpen, Address: addressText(c), Request: c.id, Action: c.route.Name, Object: object}
	switch {
	case c.caller.user != nil:
		rec.Kind, rec.Fullname = model.ActorUser, c.caller.user.Fullname
	case c.caller.key != nil:
		rec.Kind = model.ActorKey
	}
	if at.env != nil {
		rec.EnvID = at.env.ID
	}
	if at.host != nil {
		rec.HostID = at.host.ID
	}
	about := withinOrg(object)
	if i := strings.LastIndex(about, "/_"); i >= 0 && strings.HasSuffix(object, c.segs[len(c.segs)-1]) {
		about = about[:i] // the action is the verb
	}
	rec.Message = c.verb() + " " + about
	return rec
}

// verb is what the request does, for people: that of its action, or by its method.
func (c *call) verb() string {
	verb := c.route.Name[strings.LastIndexByte(c.route.Name, '.')+1:]
	if len(c.segs) > 0 {
		if action, ok := strings.CutPrefix(c.segs[len(c.segs)-1], "_"); ok {
			return action
		}
	}
	switch {
	case verb == "create":
		return "created"
	case c.req.Method == http.MethodDelete:
		return "deleted"
	case c.req.Method == http.MethodPut || verb == "set":
		return "updated"
	case c.reads():
		return "read"
	}
	return verb
}

// withinOrg is a path without the organization, which whoever reads the record knows.
func withinOrg(object string) string {
	if rest, ok := strings.CutPrefix(object, "organizations/"); ok {
		if _, inside, ok := strings.Cut(rest, "/"); ok && inside != "" {
			return inside
		}
	}
	return object
}

// object is the path of what the request is about; of what it creates, with the new name.
func (c *call) object(answer reply) string {
	path := strings.Join(c.segs, "/")
	if !strings.HasSuffix(c.route.Name, ".create") {
		return path
	}
	if name := nameIn(c.body); name != "" {
		return path + "/" + name
	}
	if name := nameIn(answer.body); name != "" {
		return path + "/" + name
	}
	return path
}

// nameIn finds what a document calls itself.
func nameIn(doc []byte) string {
	var h struct{ Name, Key, Application, Username, ID, UUID string }
	if len(doc) == 0 || len(doc) > 64<<10 || json.Unmarshal(doc, &h) != nil {
		return ""
	}
	for _, name := range []string{h.Key, h.Name, h.Application, h.Username, h.ID, h.UUID} {
		if name != "" {
			return name
		}
	}
	return ""
}

// audit records a write in the transaction that does it. What is done to an organization is told in its log, that it was
// made or deleted in that of the site, as all that is done to none.
func (c *call) audit(tx *state.Tx, at scope, answer reply) error {
	orgID := ""
	if at.org != nil && c.route.Name != "organizations.delete" {
		orgID = at.org.ID
	}
	rec := c.record(at, c.object(answer))
	rec.Read = c.clear // the answer shows secrets
	return orchestrate.Audit(tx, orgID, rec)
}

// auditAlone records what is no transaction of the API's, but the cluster's own work.
func (c *call) auditAlone(ctx context.Context) error {
	return c.srv.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor(c.caller.name)
		return orchestrate.Audit(tx, "", c.record(scope{}, strings.Join(c.segs, "/")))
	})
}

// auditAfter records what was done already. That cannot be undone, so a failure is the log's to tell.
func (c *call) auditAfter() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), c.srv.cfg.Timeout)
	defer cancel()
	if err := c.auditAlone(ctx); err != nil {
		c.srv.cfg.Log.Error("what was done could not be recorded in the audit log", "id", c.id, "route", c.route.Name, "caller", c.caller.name, "error", err)
	}
}

// The patience with which a reading of secrets is recorded: without a leader, whoever takes stale answers does not want
// to wait.
const (
	recordWithin = 10 * time.Second
	recordStale  = 2 * time.Second
)

// readRecorded reads, and records it when the answer shows secrets in clear, before it goes out. Where that cannot be
// recorded, secrets are masked. Who reads the same again within a minute is in the record already.
func (c *call) readRecorded(view *state.View, end endpoint, wait time.Duration) (reply, error) {
	answer, err := c.runRead(view, end, wait)
	if err != nil || !c.clear || answer.status == http.StatusNotModified {
		return answer, err
	}
	object := strings.Join(c.segs, "/")
	key := strings.Join([]string{c.caller.name, addressText(c), c.route.Name, object, strings.Join(c.bare, " ")}, "\x00")
	if c.srv.secrets.recent(key) {
		return answer, nil
	}
	recErr := c.recordRead(object)
	if recErr == nil {
		c.srv.secrets.note(key)
		return answer, nil
	}
	c.masked = true
	answer, bad := c.look(view, end)
	if bad != nil {
		return reply{}, bad.err
	}
	if c.clear {
		return reply{}, &model.Error{Code: model.Unavailable, Err: recErr, Messages: []string{
			"this holds secrets, and that you read them cannot be recorded now: try again once the cluster has a leader"}}
	}
	return answer, nil
}

func (c *call) recordRead(object string) error {
	within := recordWithin
	if c.stale() {
		within = recordStale
	}
	ctx, cancel := context.WithTimeout(c.req.Context(), within)
	defer cancel()
	logs := c.bare // each organization is told in its own log
	if len(logs) == 0 {
		logs = []string{""}
		if c.at.org != nil {
			logs[0] = c.at.org.ID
		}
	}
	rec := c.record(c.at, object)
	rec.Message = "read secrets of " + withinOrg(object)
	return c.srv.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor(c.caller.name)
		for _, orgID := range logs {
			if err := orchestrate.AuditRead(tx, orgID, rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// recordLink records that the file of a one-time address was read.
func (c *call) recordLink(tx *state.Tx, link *model.FileLinkRow) error {
	host, err := orchestrate.HostByID(tx, link.OrgID, link.HostID)
	if err != nil {
		return err
	}
	return c.recordOpen(tx, link.OrgID, host.EnvID, host.ID, "hosts/"+host.Name+"/files/"+link.File+" (address made by "+link.Actor+")", true)
}

// recordLogin records what somebody did who logged in elsewhere, in the transaction.
func (c *call) recordLogin(tx *state.Tx, user *model.UserRow) error {
	rec := c.record(scope{}, "users/"+user.Username)
	rec.Actor, rec.Kind, rec.Fullname, rec.Message = user.Username, model.ActorUser, user.Fullname, "logged in by the OpenID provider"
	return orchestrate.Audit(tx, "", rec)
}

// recordOpen records in the transaction what somebody without credentials did by a secret in the address, which object
// does not tell.
func (c *call) recordOpen(tx *state.Tx, orgID, envID, hostID, object string, read bool) error {
	rec := c.record(scope{}, object)
	rec.EnvID, rec.HostID, rec.Read = envID, hostID, read
	return orchestrate.Audit(tx, orgID, rec)
}
