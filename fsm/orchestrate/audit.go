package orchestrate

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of an audit record.
const (
	auditObjects = 40      // changed objects that are listed
	auditBytes   = 8 << 10 // of the whole record
)

// Audit appends a record of what the transaction has written to the log of an organization, or to that of the site when
// orgID is "". Call it once, after all writes. The objects before and after are added to the record here; what is
// secret in them is masked. It reads nothing that the transaction could conflict on.
func Audit(tx *state.Tx, orgID string, rec model.AuditRecord) error {
	a := auditor{before: tx.Before(), after: tx.Quiet(), room: auditBytes}
	for _, c := range tx.Changes() {
		switch {
		case c.Table == (&model.Change{}).Table():
			rec.Queued++
		case !audited(c.Table):
		case len(rec.Changes) == auditObjects:
			rec.More++
		default:
			if change, ok := a.change(c); ok {
				rec.Changes = append(rec.Changes, change)
			}
		}
	}
	for _, c := range rec.Changes { // what was made belongs to itself
		if c.Action == "created" && rec.EnvID == "" && (c.Kind == "environment" || c.Kind == "host") {
			rec.EnvID = c.EnvID
		}
		if c.Action == "created" && rec.HostID == "" && c.Kind == "host" && strings.HasPrefix(rec.Action, "hosts.") {
			rec.HostID = c.HostID
		}
	}
	return appendAudit(tx, orgID, rec)
}

// AuditRead appends a record that secrets were read in clear.
func AuditRead(tx *state.Tx, orgID string, rec model.AuditRecord) error {
	rec.Read = true
	return appendAudit(tx, orgID, rec)
}

func appendAudit(tx *state.Tx, orgID string, rec model.AuditRecord) error {
	log := model.AuditSite
	if orgID != "" {
		log = model.AuditLogOf(orgID)
	}
	return state.AppendLog(tx, log, rec.Encode(auditBytes))
}

// audited tells the tables whose rows are what people know; the others are the cluster's own affair, and what was done
// to them is told by the record itself.
func audited(table string) bool {
	switch table {
	case "organization", "environment", "host", "application", "platform", "distribution", "hostgroup", "orchestration",
		"setting", "group", "applicationkey", "user", "instance", "webhook", "notification", "rpmmodule", "git", "context",
		"platformcontext", "distributioncontext", "enroltoken", "invitation", "job", "compliance", "agent", "session", "totp",
		"filelink", "identity", "quota":
		return true
	}
	return false
}

// wordless tells the tables of which nothing but the name is told.
func wordless(table string) bool {
	switch table {
	case "session", "totp", "filelink", "agent", "compliance", "identity":
		return true
	}
	return false
}

// auditor makes the changes of one record.
type auditor struct {
	before, after state.Reader
	// room is what the values told so far leave of a record. Once there is none, the record is cut before what comes then, whose
	// values need not be made: of a bulk write that is most.
	room  int
	lists [2][]model.ObjectField // fields of a row before and after, made again for each
	// The owner that was read last, and what it was read from: rows of one write often have one.
	ownerRaw json.RawMessage
	ownerWas *model.Owner
	// Of the owner whose setting came last: a bulk write changes many of one.
	owned   model.Owner
	path    ownerPlace
	asked   bool                       // about one setting of it
	schemas map[string]json.RawMessage // of all, from the second on
}

// ownerPlace is where an owner is.
type ownerPlace struct{ path, envID, hostID string }

// secretSetting says whether a parameter for which a setting stands is secret.
func (a *auditor) secretSetting(o model.Owner, key string) bool {
	a.visit(o)
	if !a.asked {
		a.asked = true
		return isSecret(parameterSchema(a.after, o, key))
	}
	if a.schemas == nil {
		a.schemas = parameterSchemas(a.after, o)
	}
	return isSecret(a.schemas[key])
}

// visit notes whose setting is told of.
func (a *auditor) visit(o model.Owner) {
	if a.owned == o {
		return
	}
	a.owned, a.asked, a.schemas = o, false, nil
	a.path.path, a.path.envID, a.path.hostID = a.owner(o)
}

// audHead is what rows have in common, as far as they have it.
type audHead struct {
	ID, Name, Key, Username, UserID, EnvID, HostID, AppID, OwnerID, Type string

	Owner *model.Owner
}

// headOf reads it off a row; false where that is not a row of ours.
func (a *auditor) headOf(row []model.ObjectField) (h audHead, ok bool) {
	ok = true
	for i := range row {
		var into *string
		switch row[i].Name {
		case "id":
			into = &h.ID
		case "name":
			into = &h.Name
		case "key":
			into = &h.Key
		case "username":
			into = &h.Username
		case "userId":
			into = &h.UserID
		case "envId":
			into = &h.EnvID
		case "hostId":
			into = &h.HostID
		case "appId":
			into = &h.AppID
		case "ownerId":
			into = &h.OwnerID
		case "type":
			into = &h.Type
		case "owner":
			if string(row[i].Value) == "null" {
				continue
			}
			if !bytes.Equal(row[i].Value, a.ownerRaw) {
				o := &model.Owner{}
				if !ownerIn(row[i].Value, o) {
					return h, false
				}
				a.ownerRaw, a.ownerWas = row[i].Value, o
			}
			h.Owner = a.ownerWas
			continue
		default:
			continue
		}
		text, isText := model.RawText(row[i].Value)
		*into, ok = text, ok && isText
	}
	return h, ok
}

func ownerIn(raw json.RawMessage, o *model.Owner) bool {
	var room [4]model.ObjectField
	list, ok := model.ReadObjectFields(room[:0], raw)
	level, ok1 := model.RawText(model.FieldOf(list, "level"))
	org, ok2 := model.RawText(model.FieldOf(list, "orgId"))
	id, ok3 := model.RawText(model.FieldOf(list, "id"))
	*o = model.Owner{Level: model.Level(level), OrgID: org, ID: id}
	return ok && ok1 && ok2 && ok3
}

func (a *auditor) change(c state.Change) (model.AuditChange, bool) {
	out := model.AuditChange{Kind: c.Table, Action: "updated"}
	before, ok := a.rowFields(0, c.Old)
	after, ok2 := a.rowFields(1, c.New)
	if !ok || !ok2 {
		return out, false // not a row of ours
	}
	row := after
	switch {
	case c.Old == nil:
		out.Action = "created"
	case c.New == nil:
		out.Action, row = "deleted", before
	case len(model.FieldOf(after, "going")) > 0: // it is as good as gone
		out.Action, row, after = "deleted", before, nil
	}
	h, ok := a.headOf(row)
	if !ok {
		return out, false
	}
	out.Object, out.EnvID, out.HostID = a.place(c.Table, h)
	if wordless(c.Table) {
		return out, true
	}
	d := differ{most: maxAuditFields, beyond: a.room < 0}
	switch c.Table {
	case "notification":
		d.secret = "document.value"
	case "job": // nobody says which of its arguments is a password
		d.secret = "document.operation.arguments"
	case "setting":
		if h.Owner != nil && a.secretSetting(*h.Owner, h.Key) {
			d.secret = "value"
		}
	}
	d.fieldsOf("", before, after)
	out.Fields, out.Cut = d.fields, d.cut
	for i := range d.fields {
		a.room -= len(d.fields[i].Before) + len(d.fields[i].After)
	}
	return out, out.Action != "updated" || len(out.Fields) > 0
}

// rowFields reads a row as fieldsOf does, into a list that the next call with the same number takes.
func (a *auditor) rowFields(side int, row []byte) ([]model.ObjectField, bool) {
	if len(row) == 0 || row[0] != '{' {
		return nil, row == nil
	}
	list, ok := model.ReadObjectFields(a.lists[side][:0], row)
	if ok {
		a.lists[side] = list
	}
	return list, ok
}

// place is the path of a row within its organization, and the environment and host that it is in.
func (a *auditor) place(table string, h audHead) (path, envID, hostID string) {
	if h.Owner != nil {
		if table == "setting" {
			a.visit(*h.Owner)
			return a.path.path + "settings/" + h.Key, a.path.envID, a.path.hostID
		}
		base, env, host := a.owner(*h.Owner)
		switch table {
		case "group":
			return base + "groups/" + h.Name, env, host
		}
		return base + table + "s/" + orName(h.Username, h.ID), env, host
	}
	switch table {
	case "organization":
		return "organizations/" + h.Name, "", ""
	case "environment":
		return "environments/" + h.Name, h.ID, ""
	case "host":
		return a.env(h.EnvID) + "hosts/" + h.Name, h.EnvID, h.ID
	case "user":
		return "users/" + h.Username, "", ""
	case "session", "totp", "identity":
		return "users/" + a.user(h.UserID) + "/" + table, "", ""
	case "context", "platformcontext", "distributioncontext", "instance", "compliance", "agent", "filelink":
		base, env := a.host(h.HostID)
		switch table {
		case "context":
			base += "applications/" + a.application(h.AppID)
		case "platformcontext", "distributioncontext":
			base += strings.TrimSuffix(table, "context")
		case "compliance":
			base += strings.TrimSuffix("compliance/"+h.Type+"/"+h.Name, "/")
		default:
			base += table
		}
		return base, env, h.HostID
	case "rpmmodule", "git":
		return "applications/" + a.application(h.OwnerID) + "/" + table + "s/" + h.Name, "", ""
	case "enroltoken":
		return a.env(h.EnvID) + "enroltokens/" + h.ID, h.EnvID, ""
	}
	return table + "s/" + orName(h.Name, h.ID), "", ""
}

func orName(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// found looks for a row after the transaction, then before it.
func found[T any, P row[T]](a *auditor, key string) (*T, bool) {
	if t, ok := state.Get[T, P](a.after, key); ok {
		return t, true
	}
	return state.Get[T, P](a.before, key)
}

func (a *auditor) env(id string) string {
	if e, ok := found[model.EnvironmentRow](a, id); ok {
		return "environments/" + e.Name + "/"
	}
	return "environments/" + id + "/"
}

func (a *auditor) host(id string) (path, envID string) {
	if h, ok := found[model.HostRow](a, id); ok {
		return a.env(h.EnvID) + "hosts/" + h.Name + "/", h.EnvID
	}
	return "hosts/" + id + "/", ""
}

func (a *auditor) application(id string) string {
	if k, ok := found[model.ApplicationRow](a, id); ok {
		return k.Name
	}
	return id
}

func (a *auditor) user(id string) string {
	if u, ok := found[model.UserRow](a, id); ok {
		return u.Username
	}
	return id
}

// owner is the path of what owns a setting, a group or an invitation.
func (a *auditor) owner(o model.Owner) (path, envID, hostID string) {
	switch o.Level {
	case model.LevelEnvironment:
		return a.env(o.ID), o.ID, ""
	case model.LevelHost:
		base, env := a.host(o.ID)
		return base, env, o.ID
	case model.LevelContext:
		if c, ok := found[model.ContextRow](a, o.ID); ok {
			base, env := a.host(c.HostID)
			return base + "applications/" + a.application(c.AppID) + "/", env, c.HostID
		}
	case model.LevelPlatformContext:
		if c, ok := found[model.PlatformContextRow](a, o.ID); ok {
			base, env := a.host(c.HostID)
			return base + "platform/", env, c.HostID
		}
	case model.LevelDistributionContext:
		if c, ok := found[model.DistributionContextRow](a, o.ID); ok {
			base, env := a.host(c.HostID)
			return base + "distribution/", env, c.HostID
		}
	case model.LevelPlatform:
		if k, ok := found[model.PlatformRow](a, o.ID); ok {
			return "platforms/" + k.Name + "/", "", ""
		}
	case model.LevelDistribution:
		if k, ok := found[model.DistributionRow](a, o.ID); ok {
			return "distributions/" + k.Name + "/", "", ""
		}
	case model.LevelHostgroup:
		if g, ok := found[model.HostgroupRow](a, o.ID); ok {
			return "hostgroups/" + g.Name + "/", "", ""
		}
	}
	return "", "", ""
}
