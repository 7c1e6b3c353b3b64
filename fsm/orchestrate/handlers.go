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
	var w watch
	if t.Handlers {
		w = affected(tx, o, keys)
	}
	if err := write(); err != nil {
		return err
	}
	return w.queue(tx, t.Force)
}

// affected finds the applications on provisioned hosts with handlers on the keys of an owner, or on keys that link
// to them, and notes the values that hold there now.
func affected(r state.Reader, o model.Owner, keys []string) watch {
	type place struct {
		owner model.Owner
		key   string
	}
	var todo []place
	for _, k := range keys {
		todo = append(todo, place{o, k})
	}
	var links []*model.SettingRow
	if len(keys) > 0 {
		links = state.List[model.SettingRow](r, model.LinksOf(o.OrgID))
	}
	seen := map[string]bool{}
	byCtx := map[string]*watched{}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		if id := model.SettingKey(at.owner.ID, at.key); seen[id] {
			continue
		} else {
			seen[id] = true
		}
		for _, ctx := range listeners(r, at.owner, at.key) {
			w := byCtx[ctx.ID]
			if w == nil {
				w = &watched{ctx: ctx, before: map[string]string{}, direct: map[string]bool{}}
				byCtx[ctx.ID] = w
			}
			w.note(r, at.key)
			w.direct[at.key] = w.direct[at.key] || at.owner == o && slices.Contains(keys, at.key)
		}
		for _, l := range links {
			if t, err := model.ParseLink(l.Link); err == nil && t.Key == at.key {
				todo = append(todo, place{l.Owner, l.Name})
			}
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

// listeners are the applications on provisioned hosts at or below an owner with a handler on key.
func listeners(r state.Reader, o model.Owner, key string) []*model.ContextRow {
	var out []*model.ContextRow
	for _, a := range state.List[model.ApplicationRow](r, model.ApplicationsOf(o.OrgID)) {
		if !slices.ContainsFunc(a.Document.Handlers, func(h model.Handler) bool { return h.Triggers(key) }) {
			continue
		}
		for _, ctx := range state.List[model.ContextRow](r, model.ContextsOfApplication(a.ID)) {
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

// queue compares with the values that hold now and queues the changes. force also runs the handlers on the
// written keys whose values are the same.
func (w watch) queue(tx *state.Tx, force bool) error {
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
		if _, err := QueueChange(tx, one.ctx.HostID, PlanHandlers(tx, one.ctx, changed)); err != nil {
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

// Impact tells what a change of a setting would touch: applications on provisioned hosts at or below the owner
// with handlers on the key. Error: NotFound (the setting).
func Impact(r state.Reader, o model.Owner, key string) (model.SettingImpact, error) {
	if _, err := GetSetting(r, o, key, Show{}); err != nil {
		return model.SettingImpact{}, err
	}
	out := model.SettingImpact{
		SettingHandlerContexts: []model.SettingHandlerContext{}, OtherResources: []string{},
		OrchestrationHandlerExecutions: []struct{}{}, PackageResources: []string{}, RpmModuleResources: []string{},
	}
	at := map[string]int{}
	for _, w := range affected(r, o, []string{key}) {
		a, ok := state.Get[model.ApplicationRow](r, w.ctx.AppID)
		h, ok2 := state.Get[model.HostRow](r, w.ctx.HostID)
		if !ok || !ok2 {
			continue
		}
		i, known := at[a.ID]
		if !known {
			i = len(out.SettingHandlerContexts)
			at[a.ID] = i
			c := model.SettingHandlerContext{Application: a.Name, Hosts: []model.ImpactedHost{}, Handlers: []model.ImpactedHandler{}}
			for _, hd := range a.Document.Handlers {
				if slices.ContainsFunc(hd.On, func(on string) bool { _, ok := w.before[on]; return ok }) {
					c.Handlers = append(c.Handlers, model.ImpactedHandler{Do: hd.Do})
				}
			}
			out.SettingHandlerContexts = append(out.SettingHandlerContexts, c)
		}
		host := model.ImpactedHost{Name: h.Name}
		if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
			host.Environment = e.Name
		}
		c := &out.SettingHandlerContexts[i]
		c.Hosts = append(c.Hosts, host)
	}
	return out, nil
}
