package orchestrate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

const (
	// hostsWithTheirs is how many hosts go in one transaction with what they belong to: a commit of that many fits.
	hostsWithTheirs = 200
	// firstDrops and leastDrops are how many rows and ranges a commit of a deletion looks at: fewer where it does not fit.
	firstDrops = 400
	leastDrops = 16
)

// ManyHosts says whether an environment, or an organization where envID is "", has more hosts than go with it in one
// transaction.
func ManyHosts(r state.Reader, orgID, envID string) bool {
	rng := model.HostsOf(envID)
	if envID == "" {
		rng = model.HostsOfOrganization(orgID)
	}
	return len(state.Keys[model.HostRow](r, rng)) > hostsWithTheirs
}

// mayGo refuses to delete an organization, or an environment where o is nil, in which a host has an instance. That none gets one
// meanwhile is verified with the transaction. Error: Conflict (InUse).
func mayGo(tx *state.Tx, o *model.OrganizationRow, e *model.EnvironmentRow) error {
	if o == nil {
		with := instancesIn(tx, e)
		return inUse(tx, with, "environment %q has %d host(s) with an instance: delete or forget the instances first", e.Name, len(with))
	}
	with := state.Keys[model.InstanceRow](tx, model.InstancesOf(o.ID)) // an instance's key is its host's
	if err := inUse(tx, with, "organization %q has %d host(s) with an instance: delete or forget the instances first", o.Name, len(with)); err != nil {
		return err
	}
	if n := len(state.Keys[model.MachineWork](tx, model.MachineWorkOf(o.ID))); n > 0 {
		return model.Errorf(model.Conflict, "%d machine(s) of organization %q are still to be destroyed: look at its machines, and delete those there that are to be left alone", n, o.Name)
	}
	return nil
}

// instancesIn are the hosts of an environment that have an instance. Where there are many hosts, two ranges are noted as read, and not
// each host: a commit would not hold them.
func instancesIn(tx *state.Tx, e *model.EnvironmentRow) []string {
	hosts := state.Keys[model.HostRow](tx, model.HostsOf(e.ID))
	if len(hosts) <= hostsWithTheirs {
		return slices.DeleteFunc(hosts, func(id string) bool { _, ok := state.Get[model.InstanceRow](tx, id); return !ok })
	}
	slices.Sort(hosts)
	return slices.DeleteFunc(state.Keys[model.InstanceRow](tx, model.InstancesOf(e.OrgID)), func(id string) bool {
		_, in := slices.BinarySearch(hosts, id)
		return !in
	})
}

// LeaveOrganization marks an organization that is too much for one transaction as being deleted: from then on it is not there, its name
// may be taken again, and the leader deletes it. Errors: as of DeleteOrganization, and Unavailable while a member does not know
// of such marks.
func LeaveOrganization(tx *state.Tx, orgID string) error {
	o, err := OrganizationByID(tx, orgID)
	if err != nil {
		return err
	}
	if err := mayGo(tx, o, nil); err != nil {
		return err
	}
	mark, err := goingNow(tx)
	if err != nil {
		return err
	}
	o, _ = state.Edit[model.OrganizationRow](tx, orgID)
	o.Going = mark
	return state.Put(tx, o)
}

// LeaveEnvironment is LeaveOrganization for an environment.
func LeaveEnvironment(tx *state.Tx, orgID, envID string) error {
	e, err := environmentByID(tx, orgID, envID)
	if err != nil {
		return err
	}
	if err := mayGo(tx, nil, e); err != nil {
		return err
	}
	mark, err := goingNow(tx)
	if err != nil {
		return err
	}
	e, _ = state.Edit[model.EnvironmentRow](tx, envID)
	e.Going = mark
	return state.Put(tx, e)
}

func goingNow(tx *state.Tx) (*model.Going, error) {
	if tx.Schema() < state.SchemaGoing {
		return nil, model.Errorf(model.Unavailable, "so many hosts cannot be deleted yet: some member of the cluster runs a version that does not know how; try again once all are updated")
	}
	return &model.Going{By: tx.Actor(), Since: tx.Now()}, nil
}

// hostGoing says whether a host goes with its environment.
func hostGoing(r state.Reader, h *model.HostRow) bool {
	e, ok := state.Get[model.EnvironmentRow](r, h.EnvID)
	return ok && e.Going != nil
}

// GoingPending says whether anything is being deleted. It is for waiting, with a watched view.
func GoingPending(r state.Reader) bool {
	return len(state.Keys[model.OrganizationRow](r, model.AllGoing))+len(state.Keys[model.EnvironmentRow](r, model.AllGoing)) > 0
}

// Gone says whether an organization or environment of an id is there no more, not even as one that is being deleted.
func Gone(r state.Reader, id string) bool {
	_, org := state.Get[model.OrganizationRow](r, id)
	_, env := state.Get[model.EnvironmentRow](r, id)
	return !org && !env
}

// Deleter deletes organizations and environments that are marked as being deleted, in commits of a bounded size. What it remembers
// only spares attempts; all that counts is in rows, so another leader goes on where this one ended. It is for one goroutine.
type Deleter struct {
	store IntentStore
	most  int // rows and ranges that the next commit looks at
}

// NewDeleter makes one for a term of leadership.
func NewDeleter(s IntentStore) *Deleter { return &Deleter{store: s, most: firstDrops} }

// Step deletes a part of each organization and environment that is being deleted, and says whether there is more. Errors are those
// of the store.
func (d *Deleter) Step(ctx context.Context) (more bool, err error) {
	view, err := d.store.View(ctx)
	if err != nil {
		return false, err
	}
	for _, id := range state.Keys[model.OrganizationRow](view, model.AllGoing) {
		more = true
		err := d.part(ctx, func(tx *state.Tx, rows *drops) {
			if o, ok := state.Get[model.OrganizationRow](tx, id); ok && o.Going != nil {
				tx.SetActor(o.Going.By)
				rows.organization(id)
			}
		})
		if err != nil {
			return true, fmt.Errorf("delete organization %s: %w", id, err)
		}
	}
	for _, id := range state.Keys[model.EnvironmentRow](view, model.AllGoing) {
		more = true
		err := d.part(ctx, func(tx *state.Tx, rows *drops) {
			if e, ok := state.Get[model.EnvironmentRow](tx, id); ok && e.Going != nil {
				tx.SetActor(e.Going.By)
				rows.environment(e)
			}
		})
		if err != nil {
			return true, fmt.Errorf("delete environment %s: %w", id, err)
		}
	}
	return more, nil
}

// part commits a part of a deletion, or does with less next time.
func (d *Deleter) part(ctx context.Context, drop func(tx *state.Tx, rows *drops)) error {
	err := d.store.Update(ctx, func(tx *state.Tx) error {
		drop(tx, &drops{tx: tx, left: d.most})
		return nil
	})
	if model.CodeOf(err) == model.TooLarge && d.most > leastDrops {
		d.most /= 2
		return nil
	}
	return err
}

// Work deletes until ctx ends or the store fails. wait returns once there may be something. Between two commits it rests for as long
// as the last one took, so that requests come first.
func (d *Deleter) Work(ctx context.Context, wait func(ctx context.Context) error) error {
	return workOff(ctx, d.Step, wait)
}

// workOff takes steps while there are more, and waits when there are none.
func workOff(ctx context.Context, step func(ctx context.Context) (more bool, err error), wait func(ctx context.Context) error) error {
	for {
		start := time.Now()
		more, err := step(ctx)
		if err != nil {
			return err
		}
		if !more {
			if err := wait(ctx); err != nil {
				return nil //nolint:nilerr // it is the context's
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(time.Since(start), 50*time.Millisecond)):
		}
	}
}
