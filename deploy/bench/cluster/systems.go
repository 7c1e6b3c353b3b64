package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

// system is three nodes, each a process of its own, with clients in the leader's process.
type system struct {
	name  string
	nodes []*child
	runs  int
}

// settle is how long a system may take to get a leader or a voter.
const settle = time.Minute

// startOurs starts a cluster of n nodes of ours.
func startOurs(ctx context.Context, r *run, name string, n int, a oursArgs) (_ *system, err error) {
	s := &system{name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.kill())
		}
	}()
	for i := range n {
		a.Name, a.Dir = fmt.Sprintf("node-%d", i), filepath.Join(r.dir, name, fmt.Sprint(i))
		if i > 0 {
			if err := s.nodes[0].ask(ctx, "token", nil, &a.Token); err != nil {
				return nil, err
			}
		}
		c, err := spawn(ctx, "ours", name+" "+a.Name, a)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, c)
		err = poll(ctx, fmt.Sprintf("%d voters of %s", i+1, name), func() (bool, error) {
			var st nodeState
			err := s.nodes[0].ask(ctx, "state", nil, &st)
			return st.Voters == i+1, err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// startBare starts a bare loop of three nodes.
func startBare(ctx context.Context, r *run, name, store string) (_ *system, err error) {
	s := &system{name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.kill())
		}
	}()
	var servers raft.Configuration
	for i := range 3 {
		a := bareArgs{Name: fmt.Sprintf("bare-%d", i), Dir: filepath.Join(r.dir, name, fmt.Sprint(i)), Store: store}
		c, err := spawn(ctx, "bare", name+" "+a.Name, a)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, c)
		var addr raft.ServerAddress
		if err := c.ask(ctx, "addr", nil, &addr); err != nil {
			return nil, err
		}
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(a.Name), Address: addr})
	}
	if err := s.nodes[0].ask(ctx, "bootstrap", servers, nil); err != nil {
		return nil, err
	}
	_, err = s.leader(ctx)
	return s, err
}

// leader finds the node that leads.
func (s *system) leader(ctx context.Context) (lead int, err error) {
	err = poll(ctx, "a leader of "+s.name, func() (bool, error) {
		for i, c := range s.nodes {
			var st nodeState
			if err := c.ask(ctx, "state", nil, &st); err != nil {
				return false, err
			}
			if st.Leader {
				lead = i
				return true, nil
			}
		}
		return false, nil
	})
	return lead, err
}

func (s *system) stop() error { return endAll(s.nodes) }

func (s *system) kill() error {
	var errs []error
	for _, c := range s.nodes {
		errs = append(errs, c.kill())
	}
	return errors.Join(errs...)
}

// load is a turn of the bare loop, on its leader. Its answers are checked there.
func (s *system) load(ctx context.Context, a loadArgs) (loadResult, error) {
	lead, err := s.leader(ctx)
	if err != nil {
		return loadResult{}, err
	}
	var res loadResult
	return res, s.nodes[lead].ask(ctx, "load", a, &res)
}

// oursLoad is a turn of ours, on its leader: what is the question that it is put. All nodes sample histories meanwhile,
// which are checked; afterwards all that was acknowledged is looked for on another node. One client is alone, as it is at
// the bare loop: the samplers' commits would be work of ours only. It checks itself that it reads what it put last, and
// that is the whole history.
func (s *system) oursLoad(ctx context.Context, r *run, what string, a loadArgs) (res loadResult, err error) {
	lead, err := s.leader(ctx)
	if err != nil {
		return res, err
	}
	other := s.nodes[(lead+1)%len(s.nodes)]
	s.runs++
	where := fmt.Sprintf("%s, run %d of %d clients", s.name, s.runs, a.Clients)
	var before, after []int64
	if err := other.ask(ctx, "look", a.Clients, &before); err != nil {
		return res, err
	}
	sampled := s.nodes
	if a.Clients == 1 {
		sampled = nil
	}
	name := r.nextLoad()
	for i, c := range sampled {
		if err := c.ask(ctx, "sample", sampleArgs{i, name}, nil); err != nil {
			return res, err
		}
	}
	if err := s.nodes[lead].ask(ctx, what, a, &res); err != nil {
		return res, err
	}
	var ops []op
	for _, c := range sampled {
		var list []op
		if err := c.ask(ctx, "samples", nil, &list); err != nil {
			return res, err
		}
		ops = append(ops, list...)
	}
	if sampled != nil {
		r.judge(where, ops)
	}
	if err := other.ask(ctx, "look", a.Clients, &after); err != nil {
		return res, err
	}
	r.counted(res.Commits, miscounted(where, before, after, res)...)
	return res, nil
}

// nextLoad is a name for the histories of one load, which no other load of the whole run has. A name that came again,
// as a node that was started again would give it, would mix the histories of two processes, of which one is not looked at.
func (r *run) nextLoad() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads++
	return fmt.Sprintf("load-%d", r.loads)
}

// miscounted compares how many commits the rows tell of with how many were acknowledged.
func miscounted(where string, before, after []int64, res loadResult) []string {
	var got int64
	for i := range after {
		got += after[i] - before[i]
	}
	if got < res.Commits || got > res.Commits+res.Unsure {
		return []string{fmt.Sprintf("%s: %d commits were acknowledged, %d are of unknown outcome, the rows tell of %d", where, res.Commits, res.Unsure, got)}
	}
	return nil
}

// poll waits until a condition holds.
func poll(ctx context.Context, what string, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settle, fmt.Errorf("waited %s in vain for %s", settle, what))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
