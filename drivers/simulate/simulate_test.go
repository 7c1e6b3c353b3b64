package simulate_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/drivers/drivertest"
	"github.com/muster-hq/muster/drivers/simulate"
)

func open(t *testing.T, o *agenttest.Orchestrator, dir string) *simulate.Driver {
	t.Helper()
	d, err := simulate.New(simulate.Options{Dir: dir, URLs: []string{o.URL}, Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func spec(o *agenttest.Orchestrator) func(string) drivers.Spec {
	return func(host string) drivers.Spec {
		return drivers.Spec{Organization: "Acme", Environment: "Test", Host: host, Token: o.Token.String()}
	}
}

func TestSimulation(t *testing.T) {
	o := agenttest.Start(t)
	drivertest.Run(t, drivertest.Subject{Driver: open(t, o, t.TempDir()), Spec: spec(o)})
}

// The machines of a process that ended come back with the next, as after a power cut; those that were off stay off.
func TestMachinesOutliveTheProcess(t *testing.T) {
	o := agenttest.Start(t)
	dir := t.TempDir()
	first, err := simulate.New(simulate.Options{Dir: dir, URLs: []string{o.URL}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"on", "off"} {
		if _, err := first.Create(t.Context(), drivers.Call{Key: key}, spec(o)(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Power(t.Context(), drivers.Call{Key: "off"}, drivers.Off); err != nil {
		t.Fatal(err)
	}
	enrolled := func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "*", "state", "identity.json"))
		return len(found) > 0
	}
	agenttest.Wait(t, "the machine's agent to enrol", enrolled)
	first.Close()
	second := open(t, o, dir)
	for key, want := range map[string]drivers.State{"on": drivers.Running, "off": drivers.Stopped} {
		if m, err := second.Status(t.Context(), drivers.Call{Key: key}); err != nil || m.State != want || m.Properties["hostname"] != key {
			t.Errorf("machine %s: %+v, %v", key, m, err)
		}
	}
	records, _ := filepath.Glob(filepath.Join(dir, "*", "machine.json"))
	for _, path := range records {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s holds a token: %v, %v", path, st, err)
		}
	}
}

// A damaged record is told, not passed over: a machine would be made a second time.
func TestDamagedRecordIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x", "machine.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := simulate.New(simulate.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err == nil {
		d.Close()
		t.Error("a damaged record was passed over")
	}
}

// A creation whose caller has gone makes nothing.
func TestGoneCallerMakesNothing(t *testing.T) {
	o := agenttest.Start(t)
	d := open(t, o, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := d.Create(ctx, drivers.Call{Key: "k"}, spec(o)("h")); err == nil || drivers.IsFinal(err) {
		t.Errorf("it was made, or never will be: %v", err)
	}
	if m, err := d.Status(t.Context(), drivers.Call{Key: "k"}); err != nil || m.State != drivers.Gone {
		t.Errorf("%+v, %v", m, err)
	}
}
