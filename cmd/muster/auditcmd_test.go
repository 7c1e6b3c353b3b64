package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

func TestAuditCommand(t *testing.T) {
	sh := newShell(t).furnish()
	sh.ok("environment create Audited")
	if out := sh.ok("audit"); !strings.Contains(out, "MESSAGE") || !strings.Contains(out, "created environments/Audited") || !strings.Contains(out, "admin") {
		t.Errorf("the table is\n%s", out)
	}
	var some []spec.AuditLog
	if err := json.Unmarshal([]byte(sh.ok("audit -o json --kind environment --text audited --limit 5 --since 1h")), &some); err != nil || len(some) != 1 || len(some[0].Changes) != 1 {
		t.Errorf("%+v, %v", some, err)
	}
	out := sh.ok("audit export --kind environment")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var last spec.AuditLog
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Message != "created environments/Audited" {
		t.Errorf("the export ends with %s, %v", lines[len(lines)-1], err)
	}
	if rest := sh.ok("audit export --kind environment --cursor " + last.Cursor); rest != "" {
		t.Errorf("behind the last comes %s", rest)
	}
	sh.ok("webhook create h --server hooks.example.org --event host.*")
	if out := sh.ok("webhook deliveries h"); !strings.Contains(out, "ATTEMPT") {
		t.Errorf("the table is\n%s", out)
	}
	for line, code := range map[string]int{
		"audit --limit 0": exitUsage, "audit --since soon": exitFailed, "audit extra": exitUsage, "webhook deliveries h --limit 2000": exitUsage,
	} {
		if _, errs, got := sh.run(line); got != code {
			t.Errorf("muster %s: %d, %s", line, got, errs)
		}
	}
}

// TestWhereWebhooksMayLead: networks and single addresses; what is neither is refused at the start.
func TestWhereWebhooksMayLead(t *testing.T) {
	c, err := loaded(t, "name: n1\nwebhook-allow: 10.1.2.3/16, 192.168.7.20\naudit-mib: 2\n", "--audit-age", "48h")
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Audit.networks()
	if err != nil || len(all) != 2 || all[0].String() != "10.1.0.0/16" || all[1].String() != "192.168.7.20/32" || c.Audit.MiB != 2 {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range [][2]string{{"--webhook-allow", "example.org"}, {"--audit-age", "1h"}, {"--audit-mib", "0"}} {
		if _, err := loaded(t, "name: n1\n", bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), bad[0]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
