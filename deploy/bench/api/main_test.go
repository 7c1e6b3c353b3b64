package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/deploy/bench/report"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
	"github.com/muster-hq/muster/fsm/template"
	"github.com/muster-hq/muster/internal/freemarker"
)

func TestSectionsAreChosen(t *testing.T) {
	var o options
	if err := o.choose(""); err != nil || len(o.sections) != len(sections()) {
		t.Errorf("all: %d sections, %v", len(o.sections), err)
	}
	if err := o.choose("template"); err != nil || len(o.sections) != 1 {
		t.Errorf("one: %d sections, %v", len(o.sections), err)
	}
	if err := o.choose("nothing"); err == nil || !strings.Contains(err.Error(), "template") {
		t.Errorf("an unknown one: %v", err)
	}
}

// A section that breaks leaves rows that do not hold.
func TestBrokenSectionDoesNotHold(t *testing.T) {
	broken := errors.New("broken")
	s := section{name: "s", baseline: "peer", rows: []want{{"a", report.AtLeast(1)}, {"b", report.AtLeast(1)}}, run: func(_ context.Context, r *run) error {
		r.add(report.Compare("b", []float64{2}, []float64{1}, report.AtLeast(1)))
		return broken
	}}
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "api.json")
	if err := benchmark(context.Background(), options{sections: []section{s}, out: file}, &out); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"holds":false`) || !strings.Contains(lines[1], `"holds":true`) {
		t.Errorf("the results: %s", raw)
	}
}

// TestTemplateSection runs the section in small: both engines give the same text, and both rows are there.
func TestTemplateSection(t *testing.T) {
	if _, _, err := timeOurs(context.Background(), 1, true, nil); err == nil {
		t.Error("the template needs no settings")
	}
	r := &run{options: options{quick: true}, log: &bytes.Buffer{}}
	err := measureTemplate(context.Background(), r)
	if errors.Is(err, freemarker.ErrAbsent) {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil || len(r.rows) != 2 || r.rows[0].Ratio <= 0 || r.rows[1].Ratio <= 0 {
		t.Errorf("got %+v, %v", r.rows, err)
	}
}

// A snapshot is filled with hosts that have their machine, and read back.
func TestFill(t *testing.T) {
	key, keys := seal.NewKey(), &seal.Keyring{}
	keys.Add(key)
	db := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, orchestrate.Tables()...), Keys: keys})
	err := db.Inject(func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: key.ID()}) })
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: fleetOrg}, "", false)
		if err != nil {
			return err
		}
		if _, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: fleetEnv}); err != nil {
			return err
		}
		_, err = orchestrate.CreateApplication(tx, o.ID, model.Application{Name: "web"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	filled, err := fill(bytes.NewBuffer(db.Save(t)), hostsAtOnce+5, keys)
	if err != nil {
		t.Fatal(err)
	}
	db.Restore(t, filled)
	hosts := 0
	for _, o := range orchestrate.Organizations(db.Local()) {
		for _, e := range orchestrate.Environments(db.Local(), o.ID) {
			for _, h := range orchestrate.Hosts(db.Local(), o.ID, e.ID) {
				if orchestrate.HostState(db.Local(), h.ID) == model.HostReady {
					hosts++
				}
			}
		}
	}
	if hosts != hostsAtOnce+5 {
		t.Errorf("%d hosts are ready", hosts)
	}
}

func TestProcessor(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip(err)
	}
	if _, err := processor(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := processor(-1); err == nil {
		t.Error("no process has spent nothing")
	}
}

// BenchmarkTemplate is what the template section measures of our engine.
func BenchmarkTemplate(b *testing.B) {
	data, err := template.DecodeJSON([]byte(balancerData))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		t, err := template.Parse("haproxy.cfg", balancer, template.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := t.Render(b.Context(), data); err != nil {
			b.Fatal(err)
		}
	}
}
