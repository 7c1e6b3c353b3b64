package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// uncovered are operations without a command, and why.
func uncovered() map[string]string {
	const update = "the same address and method as update, which renames, too"
	return map[string]string{
		"organizations.rename": update, "environments.rename": update, "hosts.rename": update, "platforms.rename": update,
		"distributions.rename": update, "applications.rename": update,
		"account.verify":                "how the published client logs in; muster login begins a session instead",
		"plans.show":                    "--wait of the commands that write asks for it, with what the write's answer told: TestWaitForWhatAWriteCauses",
		"links.show":                    "an address for machines without a login; muster host link makes it",
		"login.oidc.begin":              "for browsers",
		"login.oidc.callback":           "for browsers",
		"account.identities.link":       "for browsers",
		"cluster.join":                  "muster cluster join and muster server --join, which ask the node itself",
		"host.compliance.services.show": "muster compliance show asks for it as host.compliance.show",
		"host.compliance.files.show":    "muster compliance show asks for it as host.compliance.show",
		"host.compliance.packages.show": "muster compliance show asks for it as host.compliance.show",
		"openapi.show":                  "for programs and browsers",
		"docs.show":                     "for browsers",
		"docs.script.show":              "for browsers",
		"docs.style.show":               "for browsers",
		"organizations.import":          "needs a file that can be read: the test of muster organization import",
		"cluster.snapshot.restore":      "needs a snapshot that can be read: TestSnapshotCommands",
	}
}

// settingsAt are the flags that name a level of settings, groups or files.
func settingsAt(level string) string {
	return map[string]string{
		"": "", "organization": "", "environment": " -E e", "host": " -E e --host h", "context": " -E e --host h --application a",
		"platform context": " -E e --host h --platform p", "distribution context": " -E e --host h --distribution d",
		"platform": " --platform p", "distribution": " --distribution d", "application": " --application a", "hostgroup": " --hostgroup g",
	}[level]
}

// nounLines are the lines of the plain verbs of a noun.
func nounLines(lines map[string]string, rows, noun, verbs string) {
	for v := range strings.FieldsSeq(verbs) {
		line := "muster " + noun
		command, flags, _ := strings.Cut(line, " -")
		if flags != "" {
			flags = " -" + flags
		}
		name := map[string]string{"list": "", "clone": " x y"}[v]
		if v != "list" && v != "clone" {
			name = " x"
		}
		lines[rows+"."+v] = command + " " + v + name + flags
	}
}

// commandLines are a command line for each operation, by name or by name and level.
func commandLines(file string) map[string]string {
	lines := map[string]string{}
	const all = "list show create update delete"
	nounLines(lines, "organizations", "organization", all)
	nounLines(lines, "environments", "environment", all+" clone")
	nounLines(lines, "hosts", "host -E e", all)
	for rows, noun := range map[string]string{"applications": "application", "platforms": "platform", "distributions": "distribution", "orchestrations": "orchestration"} {
		nounLines(lines, rows, noun, all+" clone")
	}
	nounLines(lines, "applicationkeys", "key", all+" reset")
	nounLines(lines, "hostgroups", "hostgroup", all)
	nounLines(lines, "webhooks", "webhook", all)
	nounLines(lines, "notifications", "notification", all)
	nounLines(lines, "jobs", "job", all)
	nounLines(lines, "orchestrations.handlers", "orchestration handler --orchestration o", all)
	nounLines(lines, "applications.rpmmodules", "application module --application a", all)
	nounLines(lines, "applications.gits", "application git --application a", all)
	nounLines(lines, "flavors", "flavor", "list show")
	nounLines(lines, "users", "user", "list show update delete")
	nounLines(lines, "quotas", "quota", "list show update delete")
	nounLines(lines, "machines", "machine", "list delete retry")
	nounLines(lines, "invitations", "invitation", "list delete confirm")
	nounLines(lines, "enroltokens", "enrol-token -E e", "list delete")
	nounLines(lines, "audit", "audit", "list")
	for level, flags := range map[string]string{"": "", "environment.": " -E e", "host.": " -E e --host h"} {
		lines[level+"groups.list"] = "muster group list" + flags
		lines[level+"groups.show"] = "muster group show x" + flags
		lines[level+"groups.update"] = "muster group add x y" + flags
		lines[level+"groups.tree.show"] = "muster group tree" + flags
		lines[level+"audit.list"] = "muster audit" + flags
		for _, kind := range []string{"agent", "notification", "other"} {
			lines[level+kind+".list"] = "muster log " + kind + flags
		}
	}
	for _, level := range []string{"organization", "environment", "host", "context", "platform context", "distribution context", "platform", "distribution"} {
		settingLines(lines, "settings.", "@"+level, settingsAt(level))
		lines["settings.explain.show@"+level] = "muster setting explain x" + settingsAt(level)
	}
	settingLines(lines, "hostgroups.settings.", "", settingsAt("hostgroup"))
	lines["hostgroups.application_properties.list"] = "muster setting properties --hostgroup g"
	for _, level := range []string{"application", "platform", "distribution"} {
		at := settingsAt(level)
		for _, v := range strings.Fields(all) {
			name := map[bool]string{false: " x"}[v == "list"]
			lines["files."+v+"@"+level] = "muster file " + v + name + at
			lines["parameters."+v+"@"+level] = "muster parameter " + v + name + at
		}
		lines["files.content.show@"+level] = "muster file download x -" + at
		lines["files.content.set@"+level] = "muster file upload x " + file + at
		lines["thumb.show@"+level] = "muster " + level + " thumb download x -"
		lines["thumb.set@"+level] = "muster " + level + " thumb upload x " + file
	}
	hostLines(lines, file)
	siteLines(lines, file)
	return lines
}

func settingLines(lines map[string]string, rows, level, flags string) {
	for _, v := range strings.Fields("list show create update delete impact properties") {
		row := map[string]string{"impact": "settings.impact.show", "properties": "application_properties.list"}[v]
		if row == "" || rows != "settings." {
			row = rows + v
		}
		name := map[bool]string{false: " x"}[v == "list" || v == "properties"]
		lines[row+level] = "muster setting " + v + name + flags
	}
	lines[rows+"bulk"+level] = "muster setting set x 1" + flags
}

func hostLines(lines map[string]string, file string) {
	for row, line := range map[string]string{
		"hosts.clone": "clone h", "host.applications.list": "applications h", "host.applications.create": "install h a",
		"host.applications.show": "context h a", "host.applications.update": "configure h a -f " + file, "host.applications.delete": "uninstall h a",
		"host.applications.files.show": "render h a f", "host.applications.files.link.show": "link h a f",
		"host.applications.handler.run": "run h a x", "host.applications.files.update": "update-file h a f",
		"host.applications.services.restart": "restart-service h a s", "host.applications.services.update": "update-service h a s",
		"host.applications.services.enable": "enable-service h a s", "host.applications.services.disable": "disable-service h a s",
		"host.applications.packages.install": "install-package h a p", "host.applications.packages.update": "update-package h a p",
		"host.instance.set": "provision h", "host.instance.delete": "destroy h", "host.instance.show": "instance h",
		"host.instance.properties.set": "provision h --property ip.eth0=1", "host.instance.create_image": "image h i", "host.instance.vnc.show": "vnc h",
		"host.instance.token": "token h", "host.instance.alerts.list": "alerts h", "host.instance.alerts.clear": "clear-alerts h", "host.orchestrations.list": "orchestrations h",
		"host.instance.files.show": "fetch h /f", "host.instance.status.show": "sensor h hosts uptime",
	} {
		lines[row] = "muster host " + line + " -E e"
	}
	for v := range strings.FieldsSeq("start pause resume stop off forget lock unlock") {
		lines["host.instance."+v] = "muster host " + v + " h -E e"
	}
	for _, what := range []string{"platform", "distribution"} {
		for v, args := range map[string]string{"show": "", "set": " x", "delete": ""} {
			lines["host."+what+"."+v] = "muster host " + what + " " + v + " h" + args + " -E e"
		}
		lines["host."+what+".files.show"] = "muster host " + what + " render h f -E e"
		lines["host."+what+".files.link.show"] = "muster host " + what + " link h f -E e"
	}
	for v, args := range map[string]string{"list": "list", "show": "show 1", "delete": "delete 1", "clear": "clear", "retry": "retry 1", "cancel": "cancel 1"} {
		lines["host.changes."+v] = "muster change " + args + " --host h -E e"
	}
	for v, args := range map[string]string{"list": "list", "show": "show applications/a/users/f", "delete": "delete applications/a/users/f", "clear": "delete --all", "rebuild": "rebuild"} {
		lines["host.compliance."+v] = "muster compliance " + args + " --host h -E e"
	}
	lines["host.preview"] = "muster template preview --host h --template " + file + " -E e"
	lines["host.applications.origin-settings.show"] = "muster setting origin x --host h --application a -E e"
}

func siteLines(lines map[string]string, file string) {
	for row, line := range map[string]string{
		"access.set": "organization reset-access x", "tree.settings.list": "setting tree", "quota.show": "quota mine",
		"platforms.images.show": "platform images x", "platforms.driver.image_parameters.show": "platform image-parameters x",
		"distributions.lock": "distribution lock x", "distributions.unlock": "distribution unlock x",
		"applications.lock": "application lock x", "applications.unlock": "application unlock x", "jobs.run": "job run x",
		"users.create": "user create x --new-password-file " + file, "users.password": "user password x --new-password-file " + file,
		"users.totp.delete": "user reset-codes x", "users.sessions.list": "user sessions x", "users.sessions.delete": "user logout x",
		"users.identities.list": "user identities x", "users.identities.create": "user link x --issuer i --subject s", "users.identities.delete": "user unlink x i",
		"enroltokens.create": "enrol-token create -E e", "events.list": "events", "organizations.events.list": "events",
		"account.show": "account show", "account.sessions.list": "account sessions", "account.sessions.delete": "account revoke x",
		"account.sessions.create": "login --user u --password-file " + file, "account.totp.begin": "account codes begin",
		"account.totp.confirm": "account codes confirm", "account.totp.delete": "account codes off",
		"account.register": "account register x --email m --new-password-file " + file, "account.confirm": "account confirm",
		"account.identities.list": "account identities", "account.identities.delete": "account unlink x",
		"loginkeys.rotate": "cluster rotate-login-keys", "cluster.show": "cluster status", "cluster.token": "cluster token create",
		"cluster.tokens.list": "cluster token list", "cluster.tokens.delete": "cluster token revoke x", "cluster.transfer": "cluster transfer-leadership x",
		"cluster.rotate": "cluster rotate-gossip-key", "cluster.leave": "cluster leave", "cluster.remove": "cluster remove x", "cluster.snapshot.save": "snapshot save " + file + ".snap",
		"audit.export": "audit export", "plans.list": "change coming", "webhooks.deliveries.list": "webhook deliveries x", "webhooks.run": "webhook run x", "notifications.run": "notification test x", "notifications.deliveries.list": "notification deliveries x",
		"organizations.key.show": "organization key show o", "organizations.key.rotate": "organization key rotate o", "cluster.key.rotate": "cluster key rotate",
		"organizations.export": "organization export o -f " + file + ".org", "site.audit.list": "audit", "site.audit.export": "audit export",
	} {
		lines[row] = "muster " + line
	}
}

// recorder answers everything, and remembers which routes were asked for.
type recorder struct {
	match *spec.Matcher
	mu    sync.Mutex
	asked map[string]bool
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	segments := strings.FieldsFunc(strings.TrimPrefix(req.URL.Path, "/api"), func(c rune) bool { return c == '/' })
	route, _, _, ok := r.match.Match(req.Method, segments)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	r.mu.Lock()
	r.asked[route.Name+"@"+route.Level] = true
	r.mu.Unlock()
	_, _ = io.WriteString(w, `{"count":0,"items":[],"name":"x","token":"t","state":"READY"}`)
}

// TestEveryOperationHasACommand runs one command line for every operation that is built, and sees that it asks for it.
func TestEveryOperationHasACommand(t *testing.T) {
	t.Parallel()
	r := &recorder{match: spec.NewMatcher(spec.Routes())}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	sh := &shell{t: t, dir: t.TempDir()}
	sh.env = map[string]string{"MUSTER_API": server.URL + "/api", "MUSTER_USER": "u", "MUSTER_PASSWORD_FILE": sh.file("pw", "x"), "XDG_CONFIG_HOME": sh.dir,
		"MUSTER_ORGANIZATION": "o"}
	file := sh.file("file", "name: x\n")
	lines, without := commandLines(file), uncovered()
	seen := 0
	for _, route := range spec.Routes() {
		if route.State != spec.Built {
			continue
		}
		line := lines[route.Name+"@"+route.Level]
		if line == "" {
			line = lines[route.Name]
		}
		switch reason := without[route.Name]; {
		case reason != "":
			continue
		case line == "":
			t.Errorf("%s %s (%s) has no command: make one, and name it in commandLines, or tell in uncovered why not", route.Method, route.Pattern, route.Name)
			continue
		}
		r.asked = map[string]bool{}
		if sh.env["MUSTER_ORGANIZATION"] = "o"; route.Name == "events.list" || strings.HasPrefix(route.Name, "site.") { // of the site: no organization is named
			delete(sh.env, "MUSTER_ORGANIZATION")
		}
		if err := sh.ask(strings.TrimPrefix(line, "muster ")); !r.asked[route.Name+"@"+route.Level] {
			t.Errorf("%s asks for %v, not %s@%s: %s", line, r.asked, route.Name, route.Level, err)
		}
		seen++
	}
	t.Logf("%d operations have commands", seen)
}

// ask runs a command line with a code on standard input; whether it likes the answer does not matter.
func (sh *shell) ask(line string) string {
	root := rootCommand(func(k string) string { return sh.env[k] })
	var errs strings.Builder
	root.SetArgs(strings.Fields(line))
	root.SetIn(strings.NewReader("123456\n"))
	root.SetOut(io.Discard)
	root.SetErr(&errs)
	return fmt.Sprint(root.ExecuteContext(sh.t.Context()), errs.String())
}
