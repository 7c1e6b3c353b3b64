package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

func TestDryRun(t *testing.T) {
	sh := newShell(t).furnish()
	before := sh.ok("setting list -E Dev -o json") + sh.ok("host list -E Dev -o json")
	for _, c := range []struct{ line, want string }{
		{"setting set port 8080 -E Dev --dry-run", "Nothing was done.\nsetting would be created: 1\nhosts that would get changes: "},
		{"host create web9 -E Dev --dry-run", "host would be created: 1\n"},
		{"host delete web1 -E Dev --dry-run", ""},
		{"cluster rotate-gossip-key --dry-run", "Nothing was done.\n"},
	} {
		out, errs, code := sh.run(c.line)
		if c.want != "" && (code != 0 || !strings.Contains(out, c.want)) {
			t.Errorf("muster %s: %d %q %q", c.line, code, out, errs)
		}
	}
	var plan model.Plan
	if err := json.Unmarshal([]byte(sh.ok("environment create Lab --dry-run -o json")), &plan); err != nil || !plan.DryRun || len(plan.Objects) != 1 {
		t.Errorf("a plan as JSON: %+v %v", plan, err)
	}
	if after := sh.ok("setting list -E Dev -o json") + sh.ok("host list -E Dev -o json"); after != before {
		t.Errorf("a dry run changed something: %s, before %s", after, before)
	}
	if _, errs, code := sh.run("environment create Dev --dry-run"); code != exitConflict || !strings.Contains(errs, "already") {
		t.Errorf("what would be refused: %d %q", code, errs)
	}
	// Reads are as ever.
	if got := sh.ok("host show web1 -E Dev -o name --dry-run"); got != "web1\n" {
		t.Errorf("a read: %q", got)
	}
}

func TestWritePlan(t *testing.T) {
	p := model.Plan{DryRun: true, Count: 3, LeftOut: 2, NoAccessToAllResources: true, Objects: []model.PlanObjects{{Kind: "setting.updated", Count: 1}},
		Hosts: []model.PlanHost{{Environment: "Dev", Host: "web1", Machine: []model.PlanTask{{Description: "Render file ks", Diff: "--- /dev/null\n"}}, Changes: []model.PlanChange{{OrderNum: 4, Description: "Run\x1b[2J", Tasks: []model.PlanTask{
			{Description: "Update file a", Diff: "--- a/x\n+++ b/x\n"}, {OrderNum: 1, Description: "Restart", Error: "no", Note: "binary"}}}}}}}
	var b strings.Builder
	writePlan(&b, &p)
	want := "Nothing was done.\nsetting would be updated: 1\nhosts that would get changes: 3\n\nDev/web1: for its machine, before there is one\n  0. Render file ks\n     --- /dev/null\n\nDev/web1: change 4, Run [2J\n  0. Update file a\n" +
		"     --- a/x\n     +++ b/x\n  1. Restart\n     would fail: no\n     binary\n\nand 2 more hosts\n\nand hosts that you may not read\n"
	if b.String() != want {
		t.Errorf("%q\nwant\n%q", b.String(), want)
	}
}
