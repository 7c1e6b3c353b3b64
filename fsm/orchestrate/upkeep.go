package orchestrate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// ChangesKept says how long changes wait for their hosts, and how many stay once they are processed.
type ChangesKept struct {
	Expiry time.Duration // how long a change waits for a host whose agent is away
	Age    time.Duration // a processed change is dropped that was made longer ago
	Most   int           // processed changes of a host; the oldest are dropped
}

// keptAlways is how many processed changes of a host stay whatever their age: its state comes from the last of them.
const keptAlways = 20

// Changes in a commit: those that expire keep their texts, those that are dropped take their names only.
const (
	expireBatch = 8
	dropBatch   = 128
)

// Upkeep ends changes of hosts that stay away, and drops old ones. It is for one goroutine, and one term of leadership.
type Upkeep struct {
	store IntentStore
	kept  ChangesKept
	clock func() time.Time // monotonic
	// The leader's time and ours when it was last looked at, and by how much the leader's has jumped forward since.
	last, ours time.Time
	jumped     time.Duration
}

// NewUpkeep makes one for a term of leadership. clock is the process's clock, with its monotonic reading; nil is time.Now.
func NewUpkeep(s IntentStore, kept ChangesKept, clock func() time.Time) *Upkeep {
	if clock == nil {
		clock = time.Now
	}
	return &Upkeep{store: s, kept: kept, clock: clock}
}

// jump is how far the leader's time may run ahead of what has passed before that counts as a clock that was set.
const jump = time.Minute

// now is the leader's time without the jumps of its clock: a host is not away for a day because a clock was set a day on.
func (u *Upkeep) now(leader time.Time) time.Time {
	ours := u.clock()
	if !u.last.IsZero() {
		if ahead := leader.Sub(u.last) - ours.Sub(u.ours); ahead > jump {
			u.jumped += ahead
		}
	}
	u.last, u.ours = leader, ours
	return leader.Add(-u.jumped)
}

// Expire ends the changes that have waited too long for hosts whose agents are away, in batches, and says how many. Their
// tasks end as errors that say so. Errors are those of the store.
func (u *Upkeep) Expire(ctx context.Context) (expired int, err error) {
	view, err := u.store.View(ctx)
	if err != nil {
		return 0, err
	}
	before := u.now(view.Now()).Add(-u.kept.Expiry)
	var due []string
	for _, c := range state.List[model.Change](view, model.OpenChanges) {
		if _, away := awaySince(view, c, before); away {
			due = append(due, c.ID)
		}
	}
	for batch := range slices.Chunk(due, expireBatch) {
		n := 0
		err := u.store.Update(ctx, func(tx *state.Tx) error {
			n = 0
			for _, id := range batch {
				done, err := expireChange(tx, id, before)
				if err != nil {
					return fmt.Errorf("expire change %s: %w", id, err)
				}
				if done {
					n++
				}
			}
			return nil
		})
		expired += n
		if err != nil {
			return expired, err
		}
	}
	return expired, nil
}

// awaySince tells since when the agent of a change's host is away, and whether both that and the change are older than
// before.
func awaySince(r state.Reader, c *model.Change, before time.Time) (time.Time, bool) {
	if !c.Created.Before(before) {
		return time.Time{}, false
	}
	a, ok := state.Find[model.Agent](r, model.AgentOfHost(c.HostID))
	if !ok {
		return time.Time{}, false
	}
	p, ok := state.Get[model.Presence](r, a.ID)
	return presenceSince(p, ok), ok && !p.Up && p.Since.Before(before)
}

func presenceSince(p *model.Presence, ok bool) time.Time {
	if !ok {
		return time.Time{}
	}
	return p.Since
}

// expireChange ends a change that has waited too long. What its agent does of it after all is recorded as it went.
func expireChange(tx *state.Tx, id string, before time.Time) (bool, error) {
	c, ok := state.Get[model.Change](tx, id)
	if !ok || c.Done {
		return false, nil
	}
	since, away := awaySince(tx, c, before)
	if !away {
		return false, nil
	}
	text := "the agent of the host is away since " + since.UTC().Format(time.RFC3339)
	line := fmt.Sprintf("change %d (%s) expired: %s", c.OrderNum, c.Description, text)
	if err := tellHost(tx, model.NotificationLogOf, c.HostID, line); err != nil {
		return false, err
	}
	if o, ok := state.Edit[model.Order](tx, c.Order); ok && !o.Done {
		if o.Heard {
			return true, closeOrder(tx, o, expired+text+", and it was at this change; look what is there, then retry it", true)
		}
		return true, closeOrder(tx, o, expired+text+"; retry the change once the machine is back", false)
	}
	edit, _ := state.Edit[model.Change](tx, id)
	for i := range edit.Tasks {
		if t := &edit.Tasks[i]; t.Status == model.TaskPending {
			t.Status, t.Error = model.TaskError, expired+text+"; retry the change once the machine is back"
			fit(edit, t)
		}
	}
	edit.Done = true
	if err := tellEnd(tx, edit); err != nil {
		return false, err
	}
	return true, state.Put(tx, edit)
}

// Drop deletes processed changes that are too old or too many, in batches, and says how many. Errors are those of the
// store.
func (u *Upkeep) Drop(ctx context.Context) (dropped int, err error) {
	view, err := u.store.View(ctx)
	if err != nil {
		return 0, err
	}
	before := u.now(view.Now()).Add(-u.kept.Age)
	var due []string
	for _, org := range Organizations(view) {
		for _, env := range Environments(view, org.ID) {
			for _, h := range Hosts(view, org.ID, env.ID) {
				if ctx.Err() != nil {
					return dropped, ctx.Err()
				}
				old, failed := u.tooOld(view, h.ID, before)
				if err := u.noteMended(ctx, h.ID, old, failed); err != nil {
					return dropped, err
				}
				due = append(due, old...)
			}
		}
	}
	for batch := range slices.Chunk(due, dropBatch) {
		n := 0
		err := u.store.Update(ctx, func(tx *state.Tx) error {
			n = 0
			for _, id := range batch {
				if c, ok := state.Get[model.Change](tx, id); ok && c.Done {
					dropChange(tx, c)
					n++
				}
			}
			return nil
		})
		dropped += n
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// noteMended notes in the failed changes that are kept what the ones to be dropped have made good, each in a commit of its own: they
// may be large.
func (u *Upkeep) noteMended(ctx context.Context, hostID string, due []string, failed map[string]bool) error {
	if len(due) == 0 {
		return nil
	}
	for id := range failed {
		if err := u.store.Update(ctx, func(tx *state.Tx) error { return noteMended(tx, hostID, id) }); err != nil {
			return fmt.Errorf("note what of change %s was made good: %w", id, err)
		}
	}
	return nil
}

// tooOld are the processed changes of a host that are not to be kept. Those with a failed task that nothing made good stay, so that
// the host goes on to tell them: they are failed.
func (u *Upkeep) tooOld(r state.Reader, hostID string, before time.Time) (due []string, failed map[string]bool) {
	if len(state.Keys[model.Change](r, model.ChangesOf(hostID))) <= keptAlways {
		return nil, nil
	}
	done := slices.DeleteFunc(byNumber(state.List[model.Change](r, model.ChangesOf(hostID))), func(c *model.Change) bool { return !c.Done })
	failed = map[string]bool{}
	if i, ok := state.Get[model.InstanceRow](r, hostID); ok {
		for _, f := range failures(r, i) {
			failed[f.change] = true
		}
	}
	for i, c := range done {
		left := len(done) - i // this one and those after it
		if !failed[c.ID] && left > keptAlways && (left > u.kept.Most || c.Created.Before(before)) {
			due = append(due, c.ID)
		}
	}
	return due, failed
}
