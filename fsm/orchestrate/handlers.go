package orchestrate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// watched is an application on a provisioned host with a handler on keys that may change, and their values
// before the change.
type watched struct {
	ctx    *model.ContextRow
	before map[string]string // by key; absent: no value
	direct map[string]bool   // keys that are written themselves, not only reached through links
}

// watch gathers what a change of description may set off, so that what it does can be told afterwards.
type watch []*watched

// withHandlers runs write, which changes the keys of an owner, and queues one change for each application
// on a host whose handlers the new values concern (contract section 4.2). A value that is overridden nearer
// does not change there, so it sets nothing off.
func withHandlers(tx *state.Tx, o model.Owner, keys []string, t Trigger, write func() error) error {
	if !t.Handlers {
		return write()
	}
	intent := model.IntentRow{OrgID: o.OrgID, Kind: model.IntentSettings, Owner: o, Keys: keys, Force: t.Force}
	if mayIntend(tx) && listening(tx, placesOf(o.OrgID, o, keys, tx)) > maxDirect {
		if err := write(); err != nil {
			return err
		}
		return intend(tx, intent)
	}
	w := affected(tx, o, keys)
	if err := write(); err != nil {
		return err
	}
	drafts := w.drafts(tx, t.Force)
	if mayIntend(tx) && drafts.bytes() > maxDirectBytes {
		return intend(tx, intent)
	}
	return drafts.queue(tx)
}

// mayIntend says whether intents can be left: not before all members know them.
func mayIntend(tx *state.Tx) bool { return tx.Schema() >= state.SchemaEvents }

// listening is how many applications on hosts the places concern at most.
func listening(r state.Reader, places []place) int {
	n, below, bounded := 0, 0, false
	for i, p := range places {
		if i == 0 || p.owner != places[i-1].owner {
			below, bounded = hostsBelow(r, p.owner)
		}
		if bounded && below <= 1 {
			n++
			continue
		}
		for _, a := range state.List[model.ApplicationRow](r, model.ApplicationsOf(p.owner.OrgID)) {
			if !slices.ContainsFunc(a.Document.Handlers, func(h model.Handler) bool { return h.Triggers(p.key) }) {
				continue
			}
			have := len(state.Keys[model.ContextRow](r, model.ContextsOfApplication(a.ID)))
			if bounded {
				have = min(have, below)
			}
			n += have
		}
	}
	return n
}

// hostsBelow is how many hosts an owner's settings may reach; false of an organization, which is all of them.
func hostsBelow(r state.Reader, o model.Owner) (int, bool) {
	switch o.Level {
	case model.LevelOrganization:
		return 0, false
	case model.LevelEnvironment:
		return len(state.Keys[model.HostRow](r, model.HostsOf(o.ID))), true
	case model.LevelHostgroup:
		if g, ok := state.Get[model.HostgroupRow](r, o.ID); ok {
			return len(g.Hosts), true
		}
	}
	return 1, true
}

// affected finds the applications on provisioned hosts with handlers on the keys of an owner, or on keys that link
// to them, and notes the values that hold there now.
func affected(r state.Reader, o model.Owner, keys []string) watch {
	if len(keys) == 0 {
		return nil
	}
	byCtx := map[string]*watched{}
	apps := state.List[model.ApplicationRow](r, model.ApplicationsOf(o.OrgID))
	for _, at := range placesOf(o.OrgID, o, keys, r) {
		for _, ctx := range listeners(r, apps, at.owner, at.key) {
			w := byCtx[ctx.ID]
			if w == nil {
				w = &watched{ctx: ctx, before: map[string]string{}, direct: map[string]bool{}}
				byCtx[ctx.ID] = w
			}
			w.note(r, at.key)
			w.direct[at.key] = w.direct[at.key] || at.owner == o && slices.Contains(keys, at.key)
		}
	}
	return sorted(byCtx)
}

// sorted orders by host and by installation, so that changes are queued in an order that can be foretold.
func sorted(byCtx map[string]*watched) watch {
	var out watch
	for _, w := range byCtx {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *watched) int {
		return cmp.Or(cmp.Compare(a.ctx.HostID, b.ctx.HostID), cmp.Compare(a.ctx.Position, b.ctx.Position), cmp.Compare(a.ctx.ID, b.ctx.ID))
	})
	return out
}

func (w *watched) note(r state.Reader, key string) {
	if _, ok := w.before[key]; !ok {
		w.before[key] = valueNow(r, w.ctx, key)
	}
}

// valueNow is the effective value as JSON text, "" for none.
func valueNow(r state.Reader, ctx *model.ContextRow, key string) string {
	e, _ := resolveKey(r, chainOf(r, OwnerOfContext(ctx)), key, nil)
	return string(e.Value)
}

// listeners are the applications, of all of the organization, on provisioned hosts at or below an owner with a handler on key.
func listeners(r state.Reader, apps []*model.ApplicationRow, o model.Owner, key string) []*model.ContextRow {
	var out []*model.ContextRow
	for _, a := range apps {
		if !slices.ContainsFunc(a.Document.Handlers, func(h model.Handler) bool { return h.Triggers(key) }) {
			continue
		}
		for _, ctx := range contextsFor(r, o, a.ID) {
			if !within(r, o, ctx) {
				continue
			}
			if _, ok := state.Get[model.InstanceRow](r, ctx.HostID); ok {
				out = append(out, ctx)
			}
		}
	}
	return out
}

// contextsFor are those of an application that may be within an owner: of a host the one that it has.
func contextsFor(r state.Reader, o model.Owner, appID string) []*model.ContextRow {
	hostID := o.ID
	switch o.Level {
	case model.LevelHost:
	case model.LevelContext:
		if ctx, ok := state.Get[model.ContextRow](r, o.ID); ok && ctx.AppID == appID {
			return []*model.ContextRow{ctx}
		}
		return nil
	default:
		return state.List[model.ContextRow](r, model.ContextsOfApplication(appID))
	}
	if ctx, ok := state.Find[model.ContextRow](r, model.ContextOf(hostID, appID)); ok {
		return []*model.ContextRow{ctx}
	}
	return nil
}

// within says whether a context is at or below an owner.
func within(r state.Reader, o model.Owner, ctx *model.ContextRow) bool {
	switch o.Level {
	case model.LevelOrganization:
		return ctx.OrgID == o.ID
	case model.LevelEnvironment:
		h, ok := state.Get[model.HostRow](r, ctx.HostID)
		return ok && h.EnvID == o.ID
	case model.LevelHost:
		return ctx.HostID == o.ID
	case model.LevelHostgroup:
		g, ok := state.Get[model.HostgroupRow](r, o.ID)
		return ok && slices.Contains(g.Hosts, ctx.HostID)
	}
	return ctx.ID == o.ID
}

// hostDraft is a draft for a host.
type hostDraft struct {
	hostID string
	draft  Draft
}

// hostDrafts are in the order in which they are to be queued.
type hostDrafts []hostDraft

// queue compares with the values that hold now and queues the changes. force also runs the handlers on the
// written keys whose values are the same.
func (w watch) queue(tx *state.Tx, force bool) error { return w.drafts(tx, force).queue(tx) }

// drafts are what queue would queue.
func (w watch) drafts(tx *state.Tx, force bool) hostDrafts {
	var out hostDrafts
	for _, one := range w {
		if _, ok := state.Get[model.ContextRow](tx, one.ctx.ID); !ok {
			continue
		}
		var changed []string
		for key, before := range one.before {
			if valueNow(tx, one.ctx, key) != before || force && one.direct[key] {
				changed = append(changed, key)
			}
		}
		if len(changed) == 0 {
			continue
		}
		slices.Sort(changed)
		out = append(out, hostDraft{one.ctx.HostID, PlanHandlers(tx, one.ctx, changed)})
	}
	return out
}

// bytes is about what they take in a commit.
func (ds hostDrafts) bytes() int {
	n := 0
	for _, d := range ds {
		n += 512
		for i := range d.draft.Tasks {
			n += 256 + len(d.draft.Tasks[i].Want) + len(d.draft.Tasks[i].Args)
		}
		for _, c := range d.draft.Contents {
			n += len(c) / 3 // compressed
		}
	}
	return n
}

func (ds hostDrafts) queue(tx *state.Tx) error {
	for _, d := range ds {
		if _, err := QueueChange(tx, d.hostID, d.draft); err != nil {
			return err
		}
	}
	return nil
}

// affectedOnMove watches the applications of a host that changes its environment.
func affectedOnMove(r state.Reader, h *model.HostRow, moved bool) watch {
	if !moved {
		return nil
	}
	return affected(r, OwnerOfHost(h), handlerKeys(r, h.ID))
}

// handlerKeys are the keys that handlers of the host's applications wait for.
func handlerKeys(r state.Reader, hostID string) []string {
	var keys []string
	for _, ctx := range state.List[model.ContextRow](r, model.ContextsOf(hostID)) {
		a, ok := state.Get[model.ApplicationRow](r, ctx.AppID)
		if !ok {
			continue
		}
		for _, h := range a.Document.Handlers {
			keys = append(keys, h.On...)
		}
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return strings.HasPrefix(k, "_") })
	slices.Sort(keys)
	return slices.Compact(keys)
}
