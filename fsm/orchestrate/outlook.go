package orchestrate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/internal/textdiff"
)

// The bounds of what is told of a write that is only tried.
const (
	maxOutlookHosts = 100      // with their steps
	maxOutlookDiff  = 64 << 10 // bytes of one diff
	maxOutlookDiffs = 4 << 20  // bytes of all of them
)

// Outlook tells what a rehearsal would do: the hosts that may sees, their changes, and how their files would differ
// from what is described now, with secrets masked. What the write leaves as an intent is planned for the first hosts; of
// the others it is told how many have other values, or the application. Of a machine that is to be made it is told what is
// rendered for it, and what it gets once its agent is there. What stands at an owner that see answers false to is masked, as
// in a preview. It ends with ctx.
func Outlook(ctx context.Context, tx *state.Tx, may func(*model.HostRow) bool, see func(model.Owner) bool) (model.Plan, error) {
	out := model.Plan{DryRun: true, Objects: []model.PlanObjects{}, Hosts: []model.PlanHost{}}
	for _, d := range tx.Deeds() {
		if d.Kind != "change.created" { // they are told with their hosts
			out.Objects = append(out.Objects, model.PlanObjects{Kind: d.Kind, Count: d.Count})
		}
	}
	ids, err := outlookHosts(ctx, tx)
	if err != nil {
		return out, err
	}
	var places []outlookPlace
	for _, id := range ids {
		h, ok := state.Get[model.HostRow](tx, id)
		if !ok {
			continue
		}
		if !may(h) {
			out.NoAccessToAllResources = true
			continue
		}
		p := outlookPlace{host: h}
		if e, ok := state.Get[model.EnvironmentRow](tx, h.EnvID); ok {
			p.env = e.Name
		}
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b outlookPlace) int {
		return cmp.Or(cmp.Compare(a.env, b.env), cmp.Compare(a.host.Name, b.host.Name))
	})
	shown := places[:min(len(places), maxOutlookHosts)]
	for _, p := range shown {
		if err := catchUp(tx, p.host.ID); err != nil {
			return out, err
		}
	}
	out.Count, out.LeftOut = len(places), len(places)-len(shown)
	return out, outlookShown(ctx, tx, &out, shown, see)
}

// outlookPlace is a host and the name of its environment.
type outlookPlace struct {
	env  string
	host *model.HostRow
}

// outlookShown tells all of some hosts.
func outlookShown(ctx context.Context, tx *state.Tx, out *model.Plan, shown []outlookPlace, see func(model.Owner) bool) error {
	byHost := map[string][]*model.Change{}
	for _, c := range state.Fresh[model.Change](tx) {
		byHost[c.HostID] = append(byHost[c.HostID], c)
	}
	room, machines := maxOutlookDiffs, awaited(tx)
	for _, p := range shown {
		if err := ctx.Err(); err != nil {
			return err
		}
		o := outlook{tx: tx, host: p.host, veil: veil{secrets: true, see: see}, room: &room, data: map[string]*renderer{}}
		doc := model.PlanHost{Environment: p.env, Host: p.host.Name, Changes: []model.PlanChange{}}
		changes := byNumber(byHost[p.host.ID])
		if i := machines[p.host.ID]; i != nil {
			var err error
			if changes, err = arrival(tx, p.host, i); err != nil {
				return err
			}
			o.bare, doc.Machine = true, o.machine()
		}
		if len(changes)+len(doc.Machine) == 0 { // nothing differs there
			out.Count--
			continue
		}
		for _, c := range changes {
			doc.Changes = append(doc.Changes, o.change(c))
		}
		out.Hosts = append(out.Hosts, doc)
	}
	return nil
}

// outlookHosts are the hosts that get changes in a rehearsal, or that its intents have something for.
func outlookHosts(ctx context.Context, tx *state.Tx) ([]string, error) {
	var ids []string
	for _, c := range state.Fresh[model.Change](tx) {
		ids = append(ids, c.HostID)
	}
	ids = slices.AppendSeq(ids, maps.Keys(awaited(tx)))
	for _, i := range state.Fresh[model.IntentRow](tx) {
		x, err := newReach(tx.Before(), tx, i)
		if err != nil {
			return nil, err
		}
		for _, id := range x.hosts() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if x.differs(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// outlook looks at the changes of one host.
type outlook struct {
	tx   *state.Tx
	host *model.HostRow
	veil veil
	room *int                 // bytes of diffs that may still be told
	data map[string]*renderer // by context, and whether it is before
	bare bool                 // there is no machine yet: nothing is on it
}

func (o *outlook) change(c *model.Change) model.PlanChange {
	out := model.PlanChange{OrderNum: c.OrderNum, Description: c.Description, Tasks: []model.PlanTask{}}
	for i := range c.Tasks {
		t := &c.Tasks[i]
		doc := model.PlanTask{
			OrderNum: t.OrderNum, Description: t.Description, Application: t.Origin.Application,
			Collection: t.Collection, Resource: t.Resource, Action: cmp.Or(t.Action, t.Verb), Error: t.Fail,
		}
		if t.Collection == model.TypeFiles && t.Verb == verbApply && t.Fail == "" {
			doc.Diff, doc.Note = o.diff(t)
		}
		if t.Fail != "" && o.bare {
			doc.Note = o.unknown()
		}
		out.Tasks = append(out.Tasks, doc)
	}
	return out
}

// diff tells a file as it is described without the write from what the task would make of it.
func (o *outlook) diff(t *model.Task) (diff, note string) {
	var was []byte
	var had bool
	if !o.bare {
		var err error
		if was, had, err = o.text(o.tx.Before(), "before", t); err != nil {
			return "", "the file as it is described now cannot be rendered: " + err.Error()
		}
	}
	is, has, err := o.text(o.tx, "after", t)
	if err != nil {
		return "", "not shown: " + err.Error()
	}
	if t.Content == "" && string(is) != "" { // it goes, although another thing describes it
		is, has = nil, false
	}
	return o.differ(t.Resource, was, is, had, has)
}

// differ tells what a file was, if it had been, from what it is, if it is to be.
func (o *outlook) differ(path string, was, is []byte, had, has bool) (diff, note string) {
	if !isText(was) || !isText(is) {
		return "", "a binary file: its content is not shown"
	}
	from, to := "a/"+strings.TrimPrefix(path, "/"), "b/"+strings.TrimPrefix(path, "/")
	if !had {
		from = "/dev/null"
	}
	if !has {
		to = "/dev/null"
	}
	diff = textdiff.Unified(from, to, string(was), string(is))
	switch {
	case diff == "" && had && has:
		return "", "no line differs but for secrets, which are masked"
	case len(diff) > maxOutlookDiff || len(diff) > *o.room:
		return "", "the difference is too long to be shown"
	}
	*o.room -= len(diff)
	return diff, ""
}

// text renders the file of a task, with secrets and what is not to be seen masked, as r describes it; false when it describes none.
func (o *outlook) text(r state.Reader, when string, t *model.Task) ([]byte, bool, error) {
	ctx, app := o.context(r, t.Origin.Application)
	if ctx == nil {
		return nil, false, nil
	}
	var f *model.File
	for i := range app.Document.Files {
		if app.Document.Files[i].Path == t.Resource {
			f = &app.Document.Files[i]
		}
	}
	if f == nil {
		return nil, false, nil
	}
	re := o.data[when+ctx.ID]
	if re == nil {
		re = newRendererFor(r, o.host, OwnerOfContext(ctx), o.veil)
		o.data[when+ctx.ID] = re
	}
	content, err := re.file(app, f)
	return content, true, err
}

// context finds an application on the host by the name that it has with the write, or had before it.
func (o *outlook) context(r state.Reader, name string) (*model.ContextRow, *model.ApplicationRow) {
	for _, named := range []state.Reader{o.tx, o.tx.Before()} {
		a, err := ApplicationByName(named, o.host.OrgID, name)
		if err != nil {
			continue
		}
		app, ok := state.Get[model.ApplicationRow](r, a.ID)
		ctx, ok2 := state.Find[model.ContextRow](r, model.ContextOf(o.host.ID, a.ID))
		if ok && ok2 {
			return ctx, app
		}
	}
	return nil, nil
}
