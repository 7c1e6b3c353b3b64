package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

// muster runs the client against the first node, as the administrator.
func (r *rig) muster(args ...string) string {
	r.t.Helper()
	args = append(args, "--api", r.site.Nodes[0].API(), "--user", "admin", "--password-file", r.site.AdminPasswordFile())
	out, err := exec.CommandContext(r.ctx, filepath.Join(programs(r.t), "muster"), args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("muster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestRestoreUnderALivingAgent saves a snapshot while two changes are open, one of them without an order, and lets their
// scripts append their lines, and those of a third that was asked for later. When the snapshot is restored, each line is
// there once, also after a second restore; the changes are told as they went, and what is asked next is done.
func TestRestoreUnderALivingAgent(t *testing.T) {
	r := &killRig{rig: startSite(t, site.Config{Nodes: 1})}
	a, err := r.site.StartAgent(site.AgentConfig{Host: "victim", TokenFile: r.enrolToken(1), Root: filepath.Join(r.dir, "root")})
	if err != nil {
		t.Fatal(err)
	}
	r.agent = a
	r.waitState("victim", model.HostReady)
	doc, texts := killApplication()
	r.application(doc, texts)
	r.install("victim", "lines")
	set := func(op string, round int) {
		r.set("context", op, r.p("host", "victim", "app", "lines", "key", "round"), "round", strconv.Itoa(round))
	}
	r.set("context", "settings.create", r.p("host", "victim", "app", "lines"), "round", "0")
	r.settle("victim")
	r.check(0)

	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	set("settings.update", 1)
	set("settings.update", 2) // waits behind the first, without an order
	file := filepath.Join(r.dir, "open.snapshot")
	r.muster("snapshot", "save", file)
	set("settings.update", 3) // the snapshot does not know it
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	before := r.settle("victim")
	r.check(3)
	for _, away := range []bool{false, true} {
		if away {
			if err := a.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		r.muster("snapshot", "restore", file, "--yes")
		if away {
			r.saysWhyItWaits("victim")
			if err := a.Start(); err != nil {
				t.Fatal(err)
			}
		}
		after := r.settleAtLeast("victim", len(before))
		for i, c := range after {
			if c.Failed() || c.OrderNum != before[i].OrderNum || len(c.Tasks) != len(before[i].Tasks) {
				t.Errorf("change %d, %s, was told before as%s\nand after as%s", c.OrderNum, c.Description, describe(before[i]), describe(c))
			}
		}
		r.check(3)
	}
	set("settings.update", 4)
	r.settleAtLeast("victim", len(before)+1)
	r.check(4)
}

// saysWhyItWaits looks that the client tells of a host whose agent has not been heard since a restore.
func (r *rig) saysWhyItWaits(host string) {
	r.t.Helper()
	const why = "the agent has not told yet what it did since the snapshot was made"
	if out := r.muster("cluster", "status", "-o", "json"); !strings.Contains(out, `"agentsUnheard": 1`) {
		r.t.Errorf("the status does not count the agent:\n%s", out)
	}
	if out := r.muster("cluster", "status"); !strings.Contains(out, "1 agents have not told yet") {
		r.t.Errorf("the status does not tell of the agent:\n%s", out)
	}
	for _, args := range [][]string{{"change", "list", "--host", host}, {"host", "instance", host}, {"compliance", "list", "--host", host}} {
		if out := r.muster(append(args, "-O", r.site.Org, "-E", r.site.Env)...); !strings.Contains(out, why) {
			r.t.Errorf("muster %s does not say why the host waits:\n%s", strings.Join(args, " "), out)
		}
	}
}

// settleAtLeast waits until the host has some changes and none is open, and gives all of them.
func (r *rig) settleAtLeast(host string, n int) []client.Change {
	r.t.Helper()
	var all []client.Change
	err := site.WaitFor(r.ctx, "the changes of "+host+" to be known", limit, func(context.Context) (bool, error) {
		all = r.settle(host)
		return len(all) >= n, nil
	})
	if err != nil {
		r.t.Fatalf("%v: there are %d of %d", err, len(all), n)
	}
	return all
}
