package orchestrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The batches in which intents are worked off.
const (
	firstBatch = 8  // hosts in a commit
	mostBatch  = 64 // it grows to this while commits stay small
	wantBytes  = 96 << 10
)

// IntentStore is where intents are worked off: a leader's.
type IntentStore interface {
	View(ctx context.Context) (*state.View, error)
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
}

// Expander works off intents: it gives hosts the changes that large writes mean for them, batch by batch. What it
// remembers only spares work; all that counts is in rows, so another leader goes on where this one ended. It is for one
// goroutine.
type Expander struct {
	store IntentStore
	todo  map[string]*worked // by intent
}

// worked is an intent under way.
type worked struct {
	hosts []string // ids, sorted
	next  int
	size  int // hosts in the next batch
}

// NewExpander makes one for a term of leadership.
func NewExpander(s IntentStore) *Expander { return &Expander{store: s, todo: map[string]*worked{}} }

// IntentsPending says whether there is anything to work off. It is for waiting, with a watched view.
func IntentsPending(r state.Reader) bool {
	return len(state.Keys[model.IntentRow](r, model.AllIntents)) > 0
}

// Step works off one batch of the first intent of each organization, and says whether there is more. Errors are those
// of the store.
func (e *Expander) Step(ctx context.Context) (hosts int, more bool, err error) {
	view, err := e.store.View(ctx)
	if err != nil {
		return 0, false, err
	}
	had := map[string]bool{}
	for _, key := range state.Keys[model.IntentRow](view, model.AllIntents) {
		i, ok := state.Get[model.IntentRow](view, key)
		if !ok || had[i.OrgID] {
			continue
		}
		had[i.OrgID] = true
		n, err := e.batch(ctx, view, i)
		hosts += n
		if err != nil {
			return hosts, true, fmt.Errorf("work off intent %s: %w", key, err)
		}
	}
	return hosts, len(had) > 0, nil
}

// batch gives some hosts what an intent means for them, and deletes the intent after the last.
func (e *Expander) batch(ctx context.Context, view *state.View, i *model.IntentRow) (int, error) {
	w := e.todo[i.Key()]
	if w == nil {
		x, err := newReach(view, view, i)
		if err != nil {
			return 0, err
		}
		hosts := x.hosts()
		w = &worked{hosts: hosts, size: firstBatch}
		if m, ok := state.Get[model.IntentMark](view, i.Key()); ok {
			w.next, _ = slices.BinarySearch(hosts, m.After+"\x00")
		}
		e.todo[i.Key()] = w
	}
	n := min(w.size, len(w.hosts)-w.next)
	size := 0
	err := e.store.Update(ctx, func(tx *state.Tx) (err error) {
		tx.SetActor("")
		err = giveBatch(tx, i, w.hosts[w.next:w.next+n], w.next+n == len(w.hosts))
		size = tx.Size()
		return err
	})
	switch {
	case model.CodeOf(err) == model.TooLarge && n > 1:
		w.size = max(n/2, 1)
		return 0, nil
	case model.CodeOf(err) == model.TooLarge && n == 1:
		return 0, e.stage(ctx, view, i, w.hosts[w.next])
	case err != nil:
		return 0, err
	}
	w.next += n
	if w.next == len(w.hosts) {
		delete(e.todo, i.Key())
	}
	if n == w.size && size < wantBytes/2 {
		w.size = min(w.size*2, mostBatch)
	} else if size > wantBytes && w.size > 1 {
		w.size = w.size * 3 / 4
	}
	return n, nil
}

// giveBatch gives hosts what an intent, and those before it, mean for them.
func giveBatch(tx *state.Tx, i *model.IntentRow, hosts []string, last bool) error {
	if _, ok := state.Get[model.IntentRow](tx, i.Key()); !ok {
		return nil // its organization is gone
	}
	known, given := map[string]*reach{}, 0
	for _, id := range hosts {
		if _, ok := state.Get[model.InstanceRow](tx.Before(), id); ok {
			given++
		}
		if err := catchUpTo(tx, id, i.Sequence, known); err != nil {
			return err
		}
	}
	if last {
		done := len(hosts)
		if m, ok := state.Get[model.IntentMark](tx, i.Key()); ok {
			done += m.Done
		}
		line := fmt.Sprintf("plan: %s, asked by %s, is carried out for %d hosts", describeIntent(tx.Quiet(), i), i.Actor, done)
		if err := Tell(tx, model.OtherLogOf(i.OrgID), "", "", line); err != nil {
			return err
		}
		state.Delete[model.IntentMark](tx, i.Key())
		state.Delete[model.IntentRow](tx, i.Key())
		return nil
	}
	m, ok := state.Edit[model.IntentMark](tx, i.Key())
	if !ok {
		m = &model.IntentMark{Intent: i.Key()}
	}
	m.After, m.Done, m.Given = hosts[len(hosts)-1], m.Done+len(hosts), m.Given+given
	return state.Put(tx, m)
}

// stage stores ahead the contents of a host's changes, which do not fit one commit with them.
func (e *Expander) stage(ctx context.Context, view *state.View, i *model.IntentRow, hostID string) error {
	x, err := newReach(view, view, i)
	if err != nil {
		return err
	}
	for _, d := range x.drafts(view, hostID) {
		for _, content := range d.Contents {
			if _, err := state.StageContent(ctx, e.store, i.OrgID, content); err != nil {
				return err
			}
		}
	}
	return nil
}

// hosts are those that the intent may concern, sorted by id.
func (x *reach) hosts() []string {
	settings, out := x.intent.Kind == model.IntentSettings, []string(nil)
	for _, app := range state.List[model.ApplicationRow](x.now, model.ApplicationsOf(x.intent.OrgID)) {
		if !settings && app.ID != x.intent.AppID || settings && !x.triggers(app) {
			continue
		}
		for _, ctx := range state.List[model.ContextRow](x.now, model.ContextsOfApplication(app.ID)) {
			if !settings || len(x.keysFor(ctx, app)) > 0 {
				out = append(out, ctx.HostID)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// triggers says whether an application has a handler on any key of the intent.
func (x *reach) triggers(app *model.ApplicationRow) bool {
	return slices.ContainsFunc(app.Document.Handlers, func(h model.Handler) bool {
		return slices.ContainsFunc(x.places, func(p place) bool { return h.Triggers(p.key) })
	})
}

// Work works off intents until ctx ends or the store fails. wait returns once there may be some. Between two batches it
// rests for as long as the last one took, so that requests come first.
func (e *Expander) Work(ctx context.Context, wait func(ctx context.Context) error) error {
	return workOff(ctx, func(ctx context.Context) (bool, error) { _, more, err := e.Step(ctx); return more, err }, wait)
}
