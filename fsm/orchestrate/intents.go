package orchestrate

import (
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of what a write plans itself. Beyond, it leaves an intent.
const (
	maxDirect      = 64       // applications on hosts that may be concerned
	maxDirectBytes = 96 << 10 // of changes and contents
	maxUndo        = 8 << 10  // bytes that an intent's row holds itself
)

// intend leaves what the transaction has written so far as an intent: the hosts get their changes afterwards. Error:
// TooLarge, when what was there before does not fit a commit.
func intend(tx *state.Tx, row model.IntentRow) error {
	counter, ok := state.Edit[model.IntentCounter](tx, row.OrgID)
	if !ok {
		counter = &model.IntentCounter{OrgID: row.OrgID}
	}
	counter.Last++
	undo := state.Undo(tx)
	if err := state.Put(tx, counter); err != nil {
		return err
	}
	row.Sequence, row.Created, row.Actor, row.Hosts = counter.Last, tx.Now(), tx.Actor(), touched(tx, &row)
	if row.Undo = undo; len(undo) > maxUndo {
		digest, err := state.PutContent(tx, row.OrgID, undo)
		if err != nil {
			return err
		}
		row.Undo, row.Content = nil, digest
	}
	return state.Put(tx, &row)
}

// intents are those of an organization, the oldest first.
func intents(r state.Reader, orgID string) []*model.IntentRow {
	return state.List[model.IntentRow](r, model.IntentsOf(orgID))
}

// reach is what an intent may concern, as seen before and after it.
type reach struct {
	intent *model.IntentRow
	past   state.Reader // without the write
	now    state.Reader // with it
	places []place      // of settings: what was written, and what links to it
}

// place is a key of an owner.
type place struct {
	owner model.Owner
	key   string
}

// newReach looks at an intent from a view. One that the transaction itself left is looked at from the transaction.
func newReach(base *state.View, now state.Reader, i *model.IntentRow) (*reach, error) {
	undo := i.Undo
	if i.Content != "" {
		undo, _ = state.Content(now, i.OrgID, i.Content)
	}
	past, err := state.Past(base, undo)
	if err != nil {
		return nil, err
	}
	x := &reach{intent: i, past: past, now: now}
	if i.Kind == model.IntentSettings {
		x.places = placesOf(i.OrgID, i.Owner, i.Keys, past, now)
	}
	return x, nil
}

// placesOf are the keys of an owner, and all that link to them, over any number of links, in any of the states given.
func placesOf(orgID string, o model.Owner, keys []string, states ...state.Reader) []place {
	var out []place
	for _, k := range keys {
		out = append(out, place{o, k})
	}
	links := map[string][]place{} // by the key that they lead to
	for _, r := range states {
		for _, l := range state.List[model.SettingRow](r, model.LinksOf(orgID)) {
			if t, err := model.ParseLink(l.Link); err == nil {
				links[t.Key] = append(links[t.Key], place{l.Owner, l.Name})
			}
		}
	}
	if len(links) == 0 {
		return out
	}
	seen := map[place]bool{}
	for i := 0; i < len(out); i++ {
		seen[out[i]] = true
		for _, next := range links[out[i].key] {
			if !seen[next] {
				seen[next] = true
				out = append(out, next)
			}
		}
	}
	return out
}

// keysFor are the keys that an application on a host may have got other values of, with handlers on them.
func (x *reach) keysFor(ctx *model.ContextRow, app *model.ApplicationRow) []string {
	var keys []string
	for _, p := range x.places {
		if slices.Contains(keys, p.key) || !slices.ContainsFunc(app.Document.Handlers, func(h model.Handler) bool { return h.Triggers(p.key) }) {
			continue
		}
		if within(x.now, p.owner, ctx) || within(x.past, p.owner, ctx) {
			keys = append(keys, p.key)
		}
	}
	slices.Sort(keys)
	return keys
}

// drafts are what the intent means for a host, in order of installation. r is what the plans are made from.
func (x *reach) drafts(r state.Reader, hostID string) []Draft {
	var out []Draft
	for _, ctx := range contextsByPosition(r, hostID) {
		app, ok := state.Get[model.ApplicationRow](r, ctx.AppID)
		if !ok {
			continue
		}
		switch x.intent.Kind {
		case model.IntentApplication:
			if ctx.AppID == x.intent.AppID {
				out = append(out, x.edited(r, ctx))
			}
		case model.IntentSettings:
			if keys := x.changed(ctx, app); len(keys) > 0 {
				out = append(out, PlanHandlers(r, ctx, keys))
			}
		}
	}
	return out
}

// changed are the keys whose values differ for an application on a host.
func (x *reach) changed(ctx *model.ContextRow, app *model.ApplicationRow) []string {
	return slices.DeleteFunc(x.keysFor(ctx, app), func(key string) bool {
		direct := x.intent.Force && slices.Contains(x.intent.Keys, key)
		return !direct && valueNow(x.past, ctx, key) == valueNow(x.now, ctx, key)
	})
}

// edited is what differs of an application that was edited.
func (x *reach) edited(r state.Reader, ctx *model.ContextRow) Draft {
	is := PlanApply(r, ctx)
	if x.intent.Force {
		return is
	}
	return onlyDiffering(r, planned{ctx, PlanApply(x.past, ctx)}, is)
}

// concerns says whether a host may get changes of the intent, without planning them.
func (x *reach) concerns(hostID string) bool {
	if _, ok := state.Get[model.InstanceRow](x.now, hostID); !ok {
		return false
	}
	for _, ctx := range state.List[model.ContextRow](x.now, model.ContextsOf(hostID)) {
		if x.intent.Kind == model.IntentApplication && ctx.AppID == x.intent.AppID {
			return true
		}
		if app, ok := state.Get[model.ApplicationRow](x.now, ctx.AppID); ok && len(x.keysFor(ctx, app)) > 0 {
			return true
		}
	}
	return false
}

// differs says whether a host has other values, or the application that was edited.
func (x *reach) differs(hostID string) bool {
	if !x.concerns(hostID) {
		return false
	}
	if x.intent.Kind == model.IntentApplication {
		return true
	}
	for _, ctx := range state.List[model.ContextRow](x.now, model.ContextsOf(hostID)) {
		if app, ok := state.Get[model.ApplicationRow](x.now, ctx.AppID); ok && len(x.changed(ctx, app)) > 0 {
			return true
		}
	}
	return false
}

// catchUp gives a host the changes of the intents that it has not got them of: no later write overtakes an earlier one
// on the same host. It is called before anything that queues a change or adds to what a host has.
func catchUp(tx *state.Tx, hostID string) error { return catchUpTo(tx, hostID, ^uint64(0), nil) }

// catchUpTo is catchUp with intents up to a sequence. known spares looking at them again for each host.
func catchUpTo(tx *state.Tx, hostID string, last uint64, known map[string]*reach) error {
	h, ok := state.Get[model.HostRow](tx, hostID)
	if !ok {
		return nil
	}
	todo := intents(tx, h.OrgID)
	if len(todo) == 0 {
		return nil
	}
	if c, ok := state.Get[model.ChangeCounter](tx, hostID); ok {
		todo = slices.DeleteFunc(slices.Clone(todo), func(i *model.IntentRow) bool { return i.Sequence <= c.Intent })
	}
	for _, i := range todo {
		if i.Sequence > last {
			break
		}
		x := known[i.Key()]
		if x == nil {
			now := state.Reader(tx.Before())
			if _, before := state.Get[model.IntentRow](now, i.Key()); !before {
				now = tx // this transaction has just left it
			}
			var err error
			if x, err = newReach(tx.Before(), now, i); err != nil {
				return err
			}
			if known != nil {
				known[i.Key()] = x
			}
		}
		if err := x.giveTo(tx, hostID); err != nil {
			return err
		}
	}
	return nil
}

// giveTo queues what the intent means for a host, and notes that the host has got it.
func (x *reach) giveTo(tx *state.Tx, hostID string) error {
	if err := markIntent(tx, hostID, x.intent.Sequence); err != nil {
		return err
	}
	if _, ok := state.Get[model.InstanceRow](tx, hostID); !ok {
		return nil
	}
	for _, d := range x.drafts(tx, hostID) {
		d.intent = x.intent.Key()
		_, err := queueNow(tx, hostID, d, x.intent.Actor)
		if model.CodeOf(err) == model.TooLarge { // nobody waits for an answer: the change tells
			_, err = queueNow(tx, hostID, failing(d, err), x.intent.Actor)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// failing is a change that ends with why it could not be planned.
func failing(d Draft, err error) Draft {
	t := model.Task{Description: d.Description, Status: model.TaskPending, Verb: verbApply, Fail: clip(err.Error(), maxError)}
	if len(d.Tasks) > 0 {
		t.Collection, t.Resource, t.Origin = d.Tasks[0].Collection, d.Tasks[0].Resource, d.Tasks[0].Origin
	}
	return Draft{Description: d.Description, Tasks: []model.Task{t}}
}

// markIntent notes that a host has got its changes of the intents up to a sequence.
func markIntent(tx *state.Tx, hostID string, sequence uint64) error {
	c, ok := state.Edit[model.ChangeCounter](tx, hostID)
	if !ok {
		c = &model.ChangeCounter{HostID: hostID}
	}
	if c.Intent >= sequence {
		return nil
	}
	c.Intent = sequence
	return state.Put(tx, c)
}

// skipIntents notes for a host that is about to get its machine that no write before concerns it.
func skipIntents(tx *state.Tx, h *model.HostRow) error {
	todo := intents(tx, h.OrgID)
	if len(todo) == 0 {
		return nil
	}
	return markIntent(tx, h.ID, todo[len(todo)-1].Sequence)
}

// ToCome tells what changes a host is still to get, of writes that are being worked off.
func ToCome(r state.Reader, orgID, hostID string) []model.ToCome {
	out := []model.ToCome{}
	todo := intents(r, orgID)
	if len(todo) == 0 {
		return out
	}
	got := uint64(0)
	if c, ok := state.Get[model.ChangeCounter](r, hostID); ok {
		got = c.Intent
	}
	for _, i := range todo {
		if i.Sequence <= got {
			continue
		}
		if x := reachNow(r, i); x.concerns(hostID) {
			out = append(out, model.ToCome{Description: describeIntent(r, i), Created: model.FormatTime(i.Created), Actor: i.Actor})
		}
	}
	return out
}

// PendingPlans lists the writes whose changes are still being planned, the oldest first. Error: NotFound.
func PendingPlans(r state.Reader, orgID string) ([]model.PendingPlan, error) {
	if _, err := OrganizationByID(r, orgID); err != nil {
		return nil, err
	}
	out := []model.PendingPlan{}
	for _, i := range intents(r, orgID) {
		p := model.PendingPlan{ToCome: model.ToCome{Description: describeIntent(r, i), Created: model.FormatTime(i.Created), Actor: i.Actor}}
		if m, ok := state.Get[model.IntentMark](r, i.Key()); ok {
			p.Done = m.Done
		}
		out = append(out, p)
	}
	return out, nil
}

// reachNow looks at an intent as things are now only: enough to say whom it may concern.
func reachNow(r state.Reader, i *model.IntentRow) *reach {
	x := &reach{intent: i, past: r, now: r}
	if i.Kind == model.IntentSettings {
		x.places = placesOf(i.OrgID, i.Owner, i.Keys, r)
	}
	return x
}

func describeIntent(r state.Reader, i *model.IntentRow) string {
	if i.Kind == model.IntentApplication {
		return "Apply application " + applicationName(r, i.AppID)
	}
	return "Run handlers: " + strings.Join(i.Keys, ", ") + " changed"
}
