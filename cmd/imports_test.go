package cmd_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/muster-hq/muster/"

// list runs go list and keeps the packages of the module, without the module's path.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	var ours []string
	for _, l := range strings.Fields(string(out)) {
		if p, ok := strings.CutPrefix(l, module); ok {
			ours = append(ours, p)
		}
	}
	return ours
}

// deps lists the packages of ours that pkg depends on, itself included.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	return list(t, "-deps", module+pkg)
}

func under(p string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") })
}

// rule says what the packages below pkg, those below not excepted, may depend on of ours beside themselves.
type rule struct {
	pkg, not, may []string
	why           string
}

func rules() []rule {
	const apart = "api, cluster and dispatch never import one another"
	return []rule{
		{[]string{"fsm/model"}, nil, nil, "the nouns import nothing of ours"},
		{[]string{"fsm/template"}, nil, nil, "the template engine imports nothing of ours"},
		{[]string{"fsm/seal"}, nil, nil, "sealing imports nothing of ours"},
		{[]string{"fsm/schema"}, nil, nil, "checking values imports nothing of ours"},
		{[]string{"fsm/state"}, nil, []string{"fsm/model", "fsm/seal"}, "the state knows rows, not rules"},
		{[]string{"fsm/orchestrate"}, nil, []string{"fsm/model", "fsm/seal", "fsm/schema", "fsm/state", "fsm/template"}, "verbs are functions over a Tx"},
		{[]string{"api"}, []string{"api/client", "api/spec", "api/auth"}, []string{"fsm/model", "fsm/seal", "fsm/state", "fsm/orchestrate", "fsm/schema", "fsm/template"}, apart},
		{[]string{"api/spec"}, nil, []string{"fsm/model"}, "shapes on the wire"},
		{[]string{"api/auth"}, nil, []string{"fsm/model", "api/spec"}, "the rules of rights are pure"},
		{[]string{"api/client"}, nil, []string{"fsm/model", "api/spec", "internal/ordered", "internal/textdiff"}, "the client carries no server code"},
		{[]string{"cluster"}, nil, []string{"fsm"}, apart},
		{[]string{"dispatch/wire"}, nil, nil, "both sides import the wire"},
		{[]string{"dispatch/bus"}, nil, []string{"dispatch/wire"}, "both sides import the bus"},
		{[]string{"dispatch/hub"}, nil, []string{"dispatch/wire", "dispatch/bus"}, "the hub knows no state"},
		{[]string{"dispatch"}, []string{"dispatch/wire", "dispatch/bus", "dispatch/hub", "dispatch/provision"}, []string{"fsm"}, apart},
		{[]string{"dispatch/provision"}, nil, []string{"fsm", "drivers"}, apart},
		{[]string{"drivers"}, []string{"drivers/simulate"}, []string{"fsm/model"}, "a driver knows machines, and neither state nor bus"},
		{[]string{"drivers/simulate"}, nil, []string{"drivers", "fsm/model", "agent", "dispatch/wire", "dispatch/bus"}, "a simulated machine is an agent"},
		{[]string{"agent", "cmd/muster-agent"}, []string{"agent/agenttest"}, []string{"dispatch/wire", "dispatch/bus"}, "the agent carries no server code"},
	}
}

// TestImportTable holds the code against the table of docs/design.md, section 3.
func TestImportTable(t *testing.T) {
	for _, p := range list(t, module+"...") {
		for _, r := range rules() {
			if !under(p, r.pkg...) || under(p, r.not...) {
				continue
			}
			may := append(slices.Clone(r.may), "internal/textdiff", "fsm/seal") // import nothing of ours
			if strings.HasSuffix(p, "test") {                                   // what tests are made with may ask for ports
				may = append(may, "internal/freeport")
			}
			for _, d := range deps(t, p) {
				if !under(d, r.pkg...) && !under(d, may...) {
					t.Errorf("%s depends on %s: %s", p, d, r.why)
				}
			}
		}
	}
}

// TestImportTableSeesABreach tries the means of the check: the command does depend on the server's packages.
func TestImportTableSeesABreach(t *testing.T) {
	ds := deps(t, "cmd/muster")
	for _, want := range []string{"api", "cluster", "dispatch", "fsm/orchestrate"} {
		if !slices.Contains(ds, want) {
			t.Errorf("go list -deps cmd/muster does not name %s: the check of the table would see nothing", want)
		}
	}
}
