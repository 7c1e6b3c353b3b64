package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Recovered says what a recovery went on from.
type Recovered struct {
	Node    string    `json:"node"`
	Index   uint64    `json:"index"` // of the last entry that the node had
	Epoch   uint64    `json:"epoch"` // that begins
	Time    time.Time `json:"time"`  // of the last entry
	Dropped []string  `json:"dropped"`
}

// Recover makes the stopped node of a data folder the only member of its cluster, after the quorum was lost for good.
// ClusterAdvertise is the address that it will advertise, "" for the one that it had; RaftStore "" is the store
// that the folder has. All that the node had in its log is kept, be it acknowledged or not; what only others had is
// lost. A new epoch begins. The other members lose their rows, and end with ErrRemoved when they meet this node: their
// folders must never be started again. It is refused while a server runs on the folder, and when the folder is damaged; then
// nothing has changed.
func Recover(ctx context.Context, cfg Config) (*Recovered, error) {
	def(&cfg.RaftStore, storeIn(filepath.Join(cfg.DataDir, "raft")))
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "node.json")); err != nil {
		return nil, fmt.Errorf("%s is not the folder of a member of a cluster: %w", cfg.DataDir, err)
	}
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	disk := &diskState{lock: lock}
	var out *Recovered
	err = unbroken(cfg.DataDir, func() error {
		out, err = recoverFolder(ctx, cfg, disk)
		return err
	})
	return out, errors.Join(err, disk.close())
}

func recoverFolder(ctx context.Context, cfg Config, disk *diskState) (*Recovered, error) {
	boot, err := prepare(ctx, cfg, peerAddr{Name: cfg.Name})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.DataDir, "raft")
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("the folder has no raft log, so there is nothing to recover: %w", err)
	}
	quiet := hclog.NewNullLogger()
	broken := error(nil)
	if err := disk.open(dir, cfg, quiet, func(err error) { broken = err }); err != nil {
		return nil, err
	}
	all, err := tables(cfg.Tables)
	if err != nil {
		return nil, err
	}
	store, err := state.NewStore(state.Options{Tables: all, Version: cfg.Version})
	if err != nil {
		return nil, fmt.Errorf("making the state: %w", err)
	}
	machine, err := fsm.New(fsm.Options{Store: store, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { broken = err }})
	if err != nil {
		return nil, fmt.Errorf("making the state machine: %w", err)
	}
	r := &recovery{FSM: machine, store: store, name: cfg.Name, instance: boot.Instance, addr: cfg.ClusterAdvertise, now: cfg.Now(), broken: &broken, keys: boot.keys}
	addr, err := r.address(disk, boot)
	if err != nil {
		return nil, err
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(cfg.Name), Address: raft.ServerAddress(addr)}}}
	rc := cfg.Timing.RaftConfig(cfg.Name)
	rc.Logger = quiet
	_, trans := raft.NewInmemTransport(raft.ServerAddress(addr))
	err = raft.RecoverCluster(rc, r, disk.logs, disk.stable, disk.snaps, trans, conf)
	if r.refused != nil {
		return nil, r.refused
	}
	if err != nil {
		return nil, fmt.Errorf("recovering (%s): %w", adviceDamaged, err)
	}
	slices.Sort(r.out.Dropped)
	return &r.out, nil
}

// recovery is the state machine of a recovery: the snapshot that raft takes at its end is that of a new epoch.
type recovery struct {
	*fsm.FSM
	store    *state.Store
	name     string
	instance string
	addr     string
	now      time.Time
	broken   *error
	out      Recovered
	keys     *keeper
	refused  error // nothing is damaged, but it cannot go on
}

// address is where the node will be.
func (r *recovery) address(disk *diskState, boot *booted) (string, error) {
	if r.addr != "" {
		return r.addr, nil
	}
	if addr, err := configured(disk.logs, r.name); addr != "" || err != nil {
		return addr, err
	}
	metas, err := disk.snaps.List()
	if err != nil {
		return "", fmt.Errorf("reading the snapshots: %w", err)
	}
	for _, m := range metas {
		for _, s := range m.Configuration.Servers {
			if string(s.ID) == r.name {
				return string(s.Address), nil
			}
		}
	}
	for _, p := range boot.peers {
		if p.Name == r.name {
			return p.Cluster, nil
		}
	}
	return "", errors.New("where the other nodes will reach this one is not known: give its address with --cluster")
}

// configured is the address that the newest configuration in a log has for a node; "" when none names it.
func configured(logs raft.LogStore, name string) (string, error) {
	first, err1 := logs.FirstIndex()
	last, err2 := logs.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return "", fmt.Errorf("reading the raft log: %w", err)
	}
	for i := last; i >= first && i > 0; i-- {
		var e raft.Log
		if err := logs.GetLog(i, &e); err != nil {
			return "", fmt.Errorf("reading the raft log: %w", err)
		}
		if e.Type != raft.LogConfiguration {
			continue
		}
		for _, s := range raft.DecodeConfiguration(e.Data).Servers {
			if string(s.ID) == name {
				return string(s.Address), nil
			}
		}
	}
	return "", nil
}

// Restore restores the newest snapshot that is whole. An older one with what is left of the log would have a hole.
func (r *recovery) Restore(rc io.ReadCloser) error {
	return r.FSM.Restore(rc)
}

// Snapshot gives the state in the next epoch, with this node as the only member.
func (r *recovery) Snapshot() (raft.FSMSnapshot, error) {
	if *r.broken != nil {
		return nil, *r.broken
	}
	view := r.store.View()
	if view.Epoch() == 0 {
		return nil, errors.New("this node had not heard of its cluster's beginning yet: there is nothing to recover")
	}
	if r.refused = r.opens(view); r.refused != nil {
		return nil, r.refused
	}
	var former []state.Row
	for _, m := range state.List[Member](view, everyMember) {
		if m.Name == r.name {
			continue
		}
		r.out.Dropped = append(r.out.Dropped, m.Name)
		f := formerOf(m, r.now.UTC())
		if _, ok := state.Get[formerMember](view, f.Key()); !ok {
			former = append(former, f)
		}
	}
	epoch := max(uint64(r.now.UnixMilli()), view.Epoch()+1)
	sn, err := r.store.Reborn(state.Rebirth{Epoch: epoch, Own: func(table, key string) bool {
		return table == (*Member)(nil).Table() && key != r.name
	}, Add: former})
	if err != nil {
		return nil, err
	}
	r.out.Node, r.out.Index, r.out.Epoch, r.out.Time = r.name, view.Index(), epoch, view.Now()
	return persisted{sn}, nil
}

// opens refuses a state that is sealed with cluster keys which the node does not have: alone it could ask nobody for them.
func (r *recovery) opens(view *state.View) error {
	if missing := r.keys.missing(view); len(missing) > 0 {
		return model.Errorf(model.Conflict, "this node lacks the cluster key %s, without which nobody can read what is sealed in its state, and alone it could get it from nobody: "+
			"put your copy there with `muster cluster key import FILE --data ...`, or the file %s of another node; nothing was changed", strings.Join(missing, ", "), r.keys.path)
	}
	if err := TryKeys(state.AllDataKeys(view), r.keys.ring); err != nil {
		return fmt.Errorf("the keys in %s do not open the state (%s); nothing was changed: %w", r.keys.path, adviceDamaged, err)
	}
	return nil
}

// persisted is a state's snapshot as raft wants it.
type persisted struct{ sn *state.Snapshot }

// Persist writes it.
func (p persisted) Persist(sink raft.SnapshotSink) error {
	if err := p.sn.Write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return nil // raft closes it
}

// Release lets go of it.
func (p persisted) Release() { p.sn.Release() }
