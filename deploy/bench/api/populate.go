package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// hostsAtOnce is how many hosts are made in one commit.
const hostsAtOnce = 20

// populate gives the environment its hosts, each with the application and a machine, by way of a snapshot: machines come
// with agents only, and so many agents would be another measurement.
func (f *fleet) populate(ctx context.Context, admin *client.Client) error {
	status, err := f.site.Status(ctx)
	if err != nil {
		return err
	}
	var saved bytes.Buffer
	if err := admin.Stream(ctx, client.Op{Name: "cluster.snapshot.save"}, nil, 0, &saved); err != nil {
		return err
	}
	keys, err := f.keys(ctx)
	if err != nil {
		return err
	}
	filled, err := fill(&saved, f.hosts, keys)
	if err != nil {
		return err
	}
	restore := client.Op{Name: "cluster.snapshot.restore", Query: url.Values{"cluster": {status.Cluster}}}
	if err := admin.Stream(ctx, restore, bytes.NewReader(filled), int64(len(filled)), &bytes.Buffer{}); err != nil {
		return err
	}
	for i := range f.site.Nodes {
		if err := f.site.WaitReady(ctx, i); err != nil {
			return err
		}
	}
	return site.WaitFor(ctx, "the hosts to be there", time.Minute, func(ctx context.Context) (bool, error) {
		err := admin.Call(ctx, client.Op{Name: "hosts.show", Params: in("env", fleetEnv, "host", hostName(f.hosts-1))}, nil)
		return err == nil, err
	})
}

// keys are those of the cluster, which open a snapshot of it.
func (f *fleet) keys(ctx context.Context) (*seal.Keyring, error) {
	file := filepath.Join(f.site.Nodes[0].Dir, "exported-keys")
	export := exec.CommandContext(ctx, filepath.Join(f.bin, "muster"), "cluster", "key", "export", file, "--clear", "--data", filepath.Join(f.site.Nodes[0].Dir, "data"))
	if out, err := export.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("export the cluster's keys: %w: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return seal.ParseKeyring(text)
}

// fill adds the hosts to a snapshot.
func fill(saved *bytes.Buffer, hosts int, keys *seal.Keyring) ([]byte, error) {
	tables, err := state.NewTables(orchestrate.Tables()...)
	if err != nil {
		return nil, err
	}
	st, err := state.NewStore(state.Options{Tables: tables, Keys: keys})
	if err == nil {
		err = st.Restore(saved)
	}
	if err != nil {
		return nil, err
	}
	for first := 0; first < hosts; first += hostsAtOnce {
		err := commit(st, func(tx *state.Tx) error {
			org, err := orchestrate.OrganizationByName(tx, fleetOrg)
			if err != nil {
				return err
			}
			env, err := orchestrate.EnvironmentByName(tx, org.ID, fleetEnv)
			if err != nil {
				return err
			}
			for i := first; i < min(first+hostsAtOnce, hosts); i++ {
				if _, err := orchestrate.CreateHost(tx, org.ID, env.ID, model.Host{Name: hostName(i), Applications: []string{"web"}}); err != nil {
					return err
				}
				if _, err := orchestrate.AdoptHost(tx, org.ID, env.ID, hostName(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("making hosts from %d on: %w", first, err)
		}
	}
	sn := st.Snapshot()
	defer sn.Release()
	var out bytes.Buffer
	err = sn.Write(&out)
	return out.Bytes(), err
}

// commit applies one transaction to a store that is no cluster's.
func commit(st *state.Store, fn func(tx *state.Tx) error) error {
	c, err := st.Attempt(state.TxOptions{Now: time.Now()}, fn)
	if err != nil || c == nil {
		return err
	}
	b := st.Batch()
	b.Entry(st.View().Index()+1, time.Now().UnixNano())
	res, err := b.Commit(c)
	if err == nil && res.Outcome != state.Applied {
		err = fmt.Errorf("the commit was refused: %s", res.Outcome)
	}
	if err != nil {
		b.Abort()
		return err
	}
	b.Publish()
	return nil
}
