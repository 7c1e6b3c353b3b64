package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// stops has leaders stop in the middle of what they delete, so many times.
type stops struct {
	left  atomic.Int32
	stuck chan uint64 // the terms that stopped
}

// stopping is a leader's store that stops after a few commits, until the term ends.
type stopping struct {
	*cluster.Lead
	*stops
	commits int
}

// Update commits, or waits for the end of the term.
func (s *stopping) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if s.commits++; s.commits == 5 && s.left.Add(-1) >= 0 {
		s.stuck <- s.Term
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Lead.Update(ctx, fn)
}

// rowsAbout counts the rows of each table in which a text stands, and those of hosts in all.
func rowsAbout(t *testing.T, v *state.View, text string) (rows map[string]int, hosts int) {
	t.Helper()
	rows = map[string]int{}
	if err := state.Rows(v, func(r state.RawRow) error {
		if r.Table == "host" {
			hosts++
		}
		// What is kept of a request names the organization it was sent to by its id, until its day is over.
		if !strings.HasPrefix(r.Table, "_") && r.Table != "request" && strings.Contains(fmt.Sprint(r.Key, r.Ranges, string(r.Value)), text) {
			rows[r.Table]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows, hosts
}

// A large deletion goes on where it was, when its leader hands over in the middle, and when the next one is killed there. The client that
// asked another node is answered once; another organization that took the name meanwhile is left alone.
func TestALargeDeletionOverLeaders(t *testing.T) {
	t.Parallel()
	s := &stops{stuck: make(chan uint64, 2)}
	s.left.Store(2)
	var r *rig
	ready := make(chan struct{})
	duties := func(i int, c *cluster.Config) {
		c.Duties = []cluster.NamedDuty{{Name: "deletions", Run: func(ctx context.Context, lead *cluster.Lead) error {
			select {
			case <-ready:
			case <-ctx.Done():
				return nil
			}
			return orchestrate.NewDeleter(&stopping{Lead: lead, stops: s}).Work(ctx, untilThere(r.nodes.Node(i), orchestrate.GoingPending))
		}}}
	}
	r = newRig(t, 3, clustertest.Steady(), clustertest.WithConfig(duties))
	close(ready)
	ctx, many := t.Context(), 2000
	org := crowded(t, r, many)

	asked := r.nodes.FollowerIndex()
	c := r.client(asked)
	answered := make(chan error, 1)
	go func() {
		answered <- c.Call(ctx, client.Op{Name: "organizations.delete", Params: map[string]string{"org": "acme"}}, nil)
	}()
	had := s.middle(t, r, asked, org, many)
	for _, op := range []client.Op{
		{Name: "organizations.create", Body: map[string]any{"name": "acme"}},
		{Name: "environments.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "Big"}},
		{Name: "hosts.create", Params: map[string]string{"org": "acme", "env": "Big"}, Body: map[string]any{"name": "h00001"}},
	} {
		if err := c.Call(ctx, op, nil); err != nil {
			t.Fatalf("%s while the other is deleted: %v", op.Name, err)
		}
	}
	third := 3 - asked - r.nodes.LeaderIndex()
	if err := r.nodes.Node(asked).TransferLeadership(ctx, r.nodes.Node(third).Name()); err != nil {
		t.Fatal(err)
	}
	s.middle(t, r, asked, org, had)
	killed := r.nodes.LeaderIndex()
	r.kill(killed)
	for _, n := range r.nodes.Nodes() {
		clustertest.WaitFor(t, "the end of the deletion on "+n.Name(), func() bool { return !orchestrate.GoingPending(n.Local()) })
		if rows, hosts := rowsAbout(t, n.Local(), org); len(rows) > 0 || hosts != 1 {
			t.Errorf("%s: left are %v, and %d hosts in all", n.Name(), rows, hosts)
		}
	}
	select {
	case err := <-answered:
		if err != nil && killed != asked {
			t.Errorf("the deletion was answered with %v", err)
		}
	case <-time.After(patience):
		t.Error("the deletion was not answered")
	}
	if killed == asked {
		return
	}
	if err := c.Call(ctx, client.Op{Name: "hosts.show", Params: map[string]string{"org": "acme", "env": "Big", "host": "h00001"}}, nil); err != nil {
		t.Errorf("the organization that took the name: %v", err)
	}
}

// middle waits for a leader that stopped, and looks that it deleted some of the hosts that were there, and not all.
func (s *stops) middle(t *testing.T, r *rig, node int, org string, had int) (left int) {
	t.Helper()
	select {
	case <-s.stuck:
	case <-time.After(patience):
		t.Fatal("no leader stopped in the middle of the deletion")
	}
	view, err := r.nodes.Node(node).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left = len(state.Keys[model.HostRow](view, model.HostsOfOrganization(org)))
	if left == 0 || left >= had {
		t.Errorf("%d hosts are left of %d in the middle", left, had)
	}
	return left
}

// crowded makes organization acme with so many DEFINED hosts, and gives its id.
func crowded(t *testing.T, r *rig, hosts int) (org string) {
	t.Helper()
	env := ""
	for from := 0; from < hosts; from += 100 {
		err := r.nodes.Leader().Update(t.Context(), func(tx *state.Tx) error {
			if from == 0 {
				admin, err := orchestrate.UserByName(tx, "admin")
				if err != nil {
					return err
				}
				o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, admin.ID, false)
				if err != nil {
					return err
				}
				e, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "Big"})
				if err != nil {
					return err
				}
				org, env = o.ID, e.ID
			}
			for i := from; i < min(from+100, hosts); i++ {
				if _, err := orchestrate.CreateHost(tx, org, env, model.Host{Name: fmt.Sprintf("h%05d", i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return org
}
