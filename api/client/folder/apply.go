package folder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
)

// Applying says how Apply works.
type Applying struct {
	Prune bool                                     // deletes what only the server has
	Tell  func(d *Difference)                      // is told of each difference before it is made good; nil tells nobody
	Plan  func(d *Difference, p *client.PlanError) // of a client that only tries: gets what each write would do
}

// Apply makes the differences good, in their order, and counts those that are. It stops at the first error, which names
// the object; what was done stays, and the next Compare finds the rest.
func Apply(ctx context.Context, c *client.Client, org string, all []Difference, how Applying) (done int, err error) {
	a := applier{c: c, org: org, how: how}
	for i := range all {
		d := &all[i]
		if d.Extra() && !how.Prune {
			continue
		}
		if how.Tell != nil {
			how.Tell(d)
		}
		a.d, a.tag = d, ""
		if err = a.unchanged(ctx, d); err != nil {
			return done, fmt.Errorf("%s: %w", d.Title(), err)
		}
		switch d.Action {
		case Create:
			err = a.create(ctx, d.local)
		case Update:
			err = a.update(ctx, d)
		case Delete:
			op := d.server.op("delete", org)
			op.IfMatch = a.tag
			err = a.call(ctx, op)
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", d.Title(), err)
		}
		done++
	}
	return done, nil
}

type applier struct {
	c   *client.Client
	org string
	how Applying
	d   *Difference
	tag string // of the object as it was looked at just now; "" once something of it was written
}

// unchanged refuses to write to an object that is another by now than the one that the difference was told from, and keeps its tag
// for the write. What the own writes before may have changed of it does not count.
func (a *applier) unchanged(ctx context.Context, d *Difference) error {
	if d.Action == Create || d.Action == Delete && (d.Kind == "hostgroup" || d.Kind == "orchestration") {
		return nil // a creation finds the name taken; and hosts that go leave their groups
	}
	k := *d.server.kind
	k.under = nil
	now := &Object{kind: &k, names: d.server.names, parent: d.server.parent}
	f := &fetcher{c: a.c, org: a.org, how: Reading{Secrets: d.server.clear}, slots: make(chan struct{}, 1)}
	err := f.read(ctx, now)
	if model.CodeOf(err) == model.NotFound {
		return model.Errorf(model.Conflict, "somebody deleted it since it was compared; nothing of it was done: look at muster diff, and apply again")
	}
	if err != nil {
		return err
	}
	if len(fields(now, d.server)) > 0 || len(fields(d.server, now)) > 0 {
		return model.Errorf(model.Conflict, "somebody changed it since it was compared; nothing of it was done: look at muster diff, take over what is theirs, and apply again")
	}
	a.tag = now.tag
	return nil
}

// call does a write. One that was only tried is told of, and is no error.
func (a *applier) call(ctx context.Context, op client.Op) error {
	a.tag = ""
	return a.tried(a.c.Call(ctx, op, nil))
}

func (a *applier) tried(err error) error {
	var plan *client.PlanError
	if !errors.As(err, &plan) {
		return err
	}
	if a.how.Plan != nil {
		a.how.Plan(a.d, plan)
	}
	return nil
}

// upload sends a content.
func (a *applier) upload(ctx context.Context, op client.Op, name string, content []byte) error {
	a.tag = ""
	return a.tried(a.c.Upload(ctx, op, name, content))
}

// create creates an object with its embedded lists, and uploads what belongs to it.
func (a *applier) create(ctx context.Context, o *Object) error {
	op := client.Op{Name: o.kind.rows + ".create", Params: o.place(a.org), Body: o.newDoc(a.org)}
	if o.kind.set {
		op = o.op("set", a.org)
		op.Body = o.newDoc(a.org)
	}
	if err := a.call(ctx, op); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Contents)) {
		if err := a.upload(ctx, o.kitOp("files.content.set", a.org, "file", name), name, o.Contents[name]); err != nil {
			return fmt.Errorf("content of %s: %w", name, err)
		}
	}
	if o.Thumb != nil {
		return a.upload(ctx, o.kitOp("thumb.set", a.org, "", ""), "thumb", o.Thumb)
	}
	return nil
}

// newDoc is the document that creates an object: without what the server sets, what has a place of its own in the layout,
// and secrets whose values are not told.
func (o *Object) newDoc(org string) *ordered.Object {
	out := ordered.New()
	for _, key := range o.Doc.Keys() {
		v := o.Doc.Get(key)
		switch {
		case key == o.kind.id:
			if o.parent == nil {
				v = org
			}
		case key == "settings" && o.embeds(key):
			v = told(v)
		case !o.sent(key) && !o.embeds(key), v == Mask:
			continue
		default:
			v = unmasked(v)
		}
		out.SetValueForKey(key, v)
	}
	return out
}

// told are settings without secrets whose values are not told.
func told(list any) any {
	all, ok := list.([]any)
	if !ok {
		return list
	}
	out := []any{}
	for _, it := range all {
		if o, ok := it.(*ordered.Object); !ok || !untold("settings", o) {
			out = append(out, it)
		}
	}
	return out
}

// unmasked is a value without the secrets that are not told: the mask would become the secret of what is made of it.
func unmasked(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = unmasked(v[i])
		}
		return out
	case *ordered.Object:
		out := ordered.New()
		for _, key := range v.Keys() {
			if is := v.Get(key); is != Mask {
				out.SetValueForKey(key, unmasked(is))
			}
		}
		return out
	}
	return v
}

// update makes an object like the folder's: first the files and parameters that its document may name, then the document,
// the settings, the contents, and at last what goes.
func (a *applier) update(ctx context.Context, d *Difference) error {
	o := d.local
	if err := a.parts(ctx, d); err != nil {
		return err
	}
	if slices.ContainsFunc(d.Fields, func(f Field) bool { return f.part == "" }) {
		if err := a.document(ctx, d); err != nil {
			return err
		}
	}
	if err := a.settings(ctx, d); err != nil {
		return err
	}
	for _, f := range d.Fields {
		var err error
		switch {
		case f.part == "files content":
			err = a.upload(ctx, o.kitOp("files.content.set", a.org, "file", f.name), f.name, o.Contents[f.name])
		case f.part == "thumb content":
			err = a.upload(ctx, o.kitOp("thumb.set", a.org, "", ""), "thumb", o.Thumb)
		case f.extra && a.how.Prune && f.part == "settings":
			op := o.settingsOp("delete", a.org)
			op.Params["key"] = f.name
			err = a.call(ctx, op)
		case f.extra && a.how.Prune:
			err = a.call(ctx, o.kitOp(f.part+".delete", a.org, partParam(f.part), f.name))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func partParam(part string) string {
	if part == "files" {
		return "file"
	}
	return "param"
}

// parts creates and changes files and parameters.
func (a *applier) parts(ctx context.Context, d *Difference) error {
	for _, f := range d.Fields {
		if f.extra || f.part != "files" && f.part != "parameters" {
			continue
		}
		item := without(embedded(d.local.Doc, f.part)[f.name])
		op := d.local.kitOp(f.part+".create", a.org, "", "")
		op.Body = unmasked(item)
		if embedded(d.server.Doc, f.part)[f.name] != nil {
			op = d.local.kitOp(f.part+".update", a.org, partParam(f.part), f.name)
			op.Body = item // the mask leaves a secret as it is
		}
		if err := a.call(ctx, op); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// without is an item without what the server sets.
func without(item *ordered.Object) *ordered.Object {
	out := item.Clone()
	for _, k := range serverFields() {
		out.RemoveValueForKey(k)
	}
	return out
}

// document sends the fields that are the object's own.
func (a *applier) document(ctx context.Context, d *Difference) error {
	o := d.local
	doc := ordered.New()
	for _, key := range o.Doc.Keys() {
		if o.sent(key) && (o.parent != nil || key != o.kind.id) {
			doc.SetValueForKey(key, o.Doc.Get(key))
		}
	}
	if o.kind.set { // another platform or distribution
		op := o.op("set", a.org)
		op.Body = o.newDoc(a.org)
		return a.call(ctx, op)
	}
	op := o.op("update", a.org)
	op.Body, op.IfMatch = doc, a.tag
	return a.call(ctx, op)
}

// settings sends those that are new or differ, in one transaction.
func (a *applier) settings(ctx context.Context, d *Difference) error {
	var list []any
	for _, f := range d.Fields {
		if f.part == "settings" && !f.extra {
			list = append(list, without(embedded(d.local.Doc, "settings")[f.name]))
		}
	}
	if len(list) == 0 {
		return nil
	}
	op := d.local.settingsOp("bulk", a.org)
	op.Query = map[string][]string{"no_delete": {"true"}}
	op.Body = map[string]any{"newOrUpdatedSettings": list}
	return a.call(ctx, op)
}
