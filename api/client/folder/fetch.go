package folder

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
)

// Reading says how Fetch reads.
type Reading struct {
	Secrets bool      // with the values of secrets that the caller may see; else masked
	Tell    func(int) // gets the number of objects read so far, one call at a time; nil tells nobody
}

// atOnce is how many requests Fetch has under way.
const atOnce = 8

// Fetch reads an organization from a server. It is no snapshot: what changes meanwhile may be in it or not. Errors are
// those of the client; an organization that does not exist has code model.NotFound.
func Fetch(ctx context.Context, c *client.Client, org string, how Reading) (*Tree, error) {
	f := &fetcher{c: c, org: org, how: how, slots: make(chan struct{}, atOnce)}
	top := &Object{kind: organizationKind()}
	if err := f.read(ctx, top); err != nil {
		return nil, err
	}
	tree := newTree(org)
	f.gather(tree, top)
	return tree, nil
}

type fetcher struct {
	c     *client.Client
	org   string
	how   Reading
	slots chan struct{}
	mu    sync.Mutex // protects what follows
	under map[*Object][]*Object
	read1 int
}

// call does one request in a slot.
func (f *fetcher) call(ctx context.Context, op client.Op, out any) error {
	_, err := f.tagged(ctx, op, out)
	return err
}

// tagged is call, and gives the tag of the answer.
func (f *fetcher) tagged(ctx context.Context, op client.Op, out any) (tag string, err error) {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-f.slots }()
	return f.c.CallTagged(ctx, op, out)
}

// read reads an object, what belongs to it, and what lies below it.
func (f *fetcher) read(ctx context.Context, o *Object) error {
	op := o.op("show", f.org)
	if !f.how.Secrets {
		op.Query = url.Values{"obfuscate": {"true"}}
	}
	var raw json.RawMessage
	var err error
	if o.tag, err = f.tagged(ctx, op, &raw); err != nil {
		return fmt.Errorf("read %s: %w", o.Title(), err)
	}
	o.clear = f.how.Secrets
	if o.Doc, err = ordered.DecodeObject(raw); err != nil {
		return fmt.Errorf("read %s: %w", o.Title(), err)
	}
	if o.parent == nil && o.Doc.Has("access") { // the secret of agents and boot media is no part of the description
		o.Doc.RemoveValueForKey("access")
		if raw, err = json.Marshal(o.Doc); err != nil {
			return err
		}
	}
	o.raw = raw
	f.told()
	if err := f.belongings(ctx, o); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	kids := make([][]*Object, len(o.kind.under))
	for i, k := range o.kind.under {
		g.Go(func() (err error) {
			kids[i], err = f.collection(ctx, o, k)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under == nil {
		f.under = map[*Object][]*Object{}
	}
	for _, list := range kids {
		f.under[o] = append(f.under[o], list...)
	}
	return nil
}

func (f *fetcher) told() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read1++; f.how.Tell != nil {
		f.how.Tell(f.read1)
	}
}

// belongings reads the contents of files, the picture, and a host's instance.
func (f *fetcher) belongings(ctx context.Context, o *Object) error {
	if o.kind.word == "host" {
		if s, _ := o.Doc.Get("state").(string); s != "DEFINED" {
			return f.instance(ctx, o)
		}
	}
	if o.kind.kit == "" {
		return nil
	}
	o.Contents = map[string][]byte{}
	for name := range embedded(o.Doc, "files") {
		var b []byte
		err := f.call(ctx, o.kitOp("files.content.show", f.org, "file", name), &b)
		if err != nil && model.CodeOf(err) != model.NotFound {
			return fmt.Errorf("read file %s of %s: %w", name, o.Title(), err)
		}
		if err == nil {
			o.Contents[name] = append([]byte{}, b...)
		}
	}
	if !o.kind.thumb {
		return nil
	}
	err := f.call(ctx, o.kitOp("thumb.show", f.org, "", ""), &o.Thumb)
	if model.CodeOf(err) == model.NotFound {
		o.Thumb, err = nil, nil
	}
	return err
}

func (f *fetcher) instance(ctx context.Context, o *Object) error {
	var raw json.RawMessage
	err := f.call(ctx, client.Op{Name: "host.instance.show", Params: o.params(f.org)}, &raw)
	if model.CodeOf(err) == model.NotFound {
		return nil
	}
	if err == nil {
		o.Instance, err = ordered.DecodeObject(raw)
	}
	return err
}

// collection reads the objects of a collection, in the order of the server. A collection that the server does not have
// yet is empty.
func (f *fetcher) collection(ctx context.Context, parent *Object, k *kind) ([]*Object, error) {
	var found []*Object
	if k.set {
		if s, _ := parent.Doc.Get(k.id).(string); s != "" {
			found = append(found, &Object{kind: k, parent: parent, names: parent.names})
		}
	} else {
		var list struct {
			Items []json.RawMessage `json:"items"`
		}
		err := f.call(ctx, client.Op{Name: k.rows + ".list", Params: parent.params(f.org)}, &list)
		if model.CodeOf(err) == model.Unimplemented {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s of %s: %w", k.dir, parent.Title(), err)
		}
		for _, raw := range list.Items {
			var item map[string]json.RawMessage
			var name string
			if err := json.Unmarshal(raw, &item); err != nil {
				return nil, fmt.Errorf("list %s of %s: %w", k.dir, parent.Title(), err)
			}
			if err := json.Unmarshal(item[k.id], &name); err != nil {
				return nil, fmt.Errorf("list %s of %s: an item has no %s: %w", k.dir, parent.Title(), k.id, err)
			}
			if err := model.CheckStoredName(k.word, name); err != nil { // it becomes the name of a file
				return nil, fmt.Errorf("list %s of %s: %w", k.dir, parent.Title(), err)
			}
			found = append(found, &Object{kind: k, parent: parent, names: append(append([]string{}, parent.names...), name)})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range found {
		g.Go(func() error { return f.read(ctx, o) })
	}
	return found, g.Wait()
}

// gather puts the objects into the order in which they are created.
func (f *fetcher) gather(t *Tree, o *Object) {
	t.Objects = append(t.Objects, o)
	for _, k := range o.kind.under {
		t.whole[collectionOf(o, k)] = true
	}
	for _, sub := range f.under[o] {
		f.gather(t, sub)
	}
}
