package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/client/folder"
	"github.com/muster-hq/muster/fsm/model"
)

// fill makes an organization with something of each kind.
func (sh *shell) fill() *shell {
	sh.furnish()
	png := sh.file("png", "\x89PNG\x00\xff")
	for _, line := range []string{
		"parameter create Greeting -f " + sh.file("param.json", `{"key": "greeting", "value": "hi", "schema": {"type": "string"}}`) + " --application web",
		"parameter create Word -f " + sh.file("secret.json", `{"key": "word", "schema": {"type": "string", "secret": true}}`) + " --application web",
		"application thumb upload web " + png,
		"application module create nodejs --stream 20 --application web",
		"application git create site --endpoint https://example.org/x --application web",
		"platform create -f " + sh.file("cloud.yaml", "name: cloud\ndriver: {className: x.CloudDriver}\nsettings: [{key: zone, value: eu}]\nfiles: [{name: boot}]\n"),
		"distribution create os --flavor debian",
		"setting set domain example.org",
		"setting set big 9007199254740993 -E Dev",
		"setting create word -f " + sh.file("word.json", `{"value": "planted-secret", "schema": {"type": "string", "secret": true}}`) + " -E Dev",
		"host create web2 --install web --platform cloud --distribution os -E Dev",
		"setting set greeting hello --host web2 --application web -E Dev",
		"setting set size big --host web2 --platform cloud -E Dev",
		"hostgroup create G -f " + sh.file("g.yaml", "hosts: [{environment: Dev, host: web2}]\nsettings: [{key: color, value: red}]\n"),
		"orchestration create roll -f " + sh.file("o.yaml", "applicationsOperations: [{application: web, handler: again}]\norderedHostGroup: [{hostGroup: {name: G}}]\n"),
		"orchestration handler create on --trigger domain --orchestration roll",
		"webhook create hook -f " + sh.file("w.yaml", "serverName: example.org\ntoken: planted-secret\n"),
		"notification create chat --channel chat",
	} {
		sh.ok(line)
	}
	return sh
}

// An organization goes into a folder and, under another name, back into a server: both are the same.
func TestFolderGoesThereAndBack(t *testing.T) {
	t.Parallel()
	sh := newShell(t).fill()
	a, b := filepath.Join(sh.dir, "a"), filepath.Join(sh.dir, "b")
	_, errs, code := sh.run("export " + a)
	if code != exitDone || !strings.Contains(errs, "secret left out: environments/Dev settings/word") || !strings.Contains(errs, "webhooks/hook token") {
		t.Fatalf("export: %d %s", code, errs)
	}
	for _, file := range []string{"definition.json", "applications/web/definition.json", "applications/web/files/motd", "applications/web/thumb",
		"applications/web/rpmmodules/nodejs/definition.json", "applications/web/gits/site/definition.json", "platforms/cloud/definition.json",
		"distributions/os/definition.json", "hostgroups/G/definition.json", "orchestrations/roll/definition.json",
		"orchestrations/roll/handlers/on/definition.json", "webhooks/hook/definition.json", "notifications/chat/definition.json",
		"environments/Dev/definition.json", "environments/Dev/hosts/web1/instance.json", "environments/Dev/hosts/web2/definition.json",
		"environments/Dev/hosts/web2/applications/web.json", "environments/Dev/hosts/web2/platform.json", "environments/Dev/hosts/web2/distribution.json"} {
		content, err := os.ReadFile(filepath.Join(a, file))
		if err != nil || strings.Contains(string(content), "planted-secret") || strings.Contains(string(content), "secretKey") {
			t.Errorf("%s: %v, %s", file, err, content)
		}
	}
	if got, _, code := sh.run("diff " + a + " --detailed-exitcode"); code != exitDone || got != "" {
		t.Errorf("the folder and where it is from differ: %d %s", code, got)
	}
	if got := sh.ok("apply -f " + a + " --prune"); got != "" {
		t.Errorf("applying it to where it is from does %s", got)
	}
	got := sh.ok("import " + a + " -O copy")
	if !strings.Contains(got, "organization created\n") || !strings.Contains(got, "platform of host Dev/web2 created\n") {
		t.Errorf("import: %s", got)
	}
	sh.ok("export " + b + " -O copy")
	if got, _, code := sh.run("diff " + a + " -O copy --detailed-exitcode"); code != exitDone || got != "" {
		t.Errorf("the folder and its copy differ: %d %s", code, got)
	}
	// The copy lacks the secrets, whose values are told nowhere.
	want := "~ environment Dev\n    settings/word: \"********\" -> (none)\n~ webhook hook\n    token: \"********\" -> (none)\n"
	if got, _, code := sh.run("diff " + b + " -O acme --detailed-exitcode"); code != exitDifferences || got != want {
		t.Errorf("the copy lacks the secrets alone: %d %s", code, got)
	}
	if got := sh.ok("setting show big -O copy -E Dev -o json"); !strings.Contains(got, "9007199254740993") {
		t.Errorf("a number beyond 2^53: %s", got)
	}
	if got := sh.ok("file download motd - --application web -O copy"); got != "hello ${greeting!}\n" {
		t.Errorf("the content: %q", got)
	}
	if _, errs, code := sh.run("export " + a); code != exitConflict || !strings.Contains(errs, "not empty") {
		t.Errorf("into a folder that holds something: %d %s", code, errs)
	}
	kept := filepath.Join(a, ".git")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	sh.ok("notification delete chat")
	sh.ok("export " + a + " --force")
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what is not ours is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(a, "notifications", "chat")); err == nil {
		t.Error("what is no more is still in the folder")
	}
	sh.ok("export " + filepath.Join(sh.dir, "c") + " --with-secrets")
	file := filepath.Join(sh.dir, "c", "environments", "Dev", "definition.json")
	if content, err := os.ReadFile(file); err != nil || !strings.Contains(string(content), "planted-secret") {
		t.Errorf("with secrets: %v %s", err, content)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("with secrets: %v %v", info, err)
	}
	if got, _, code := sh.run("diff " + filepath.Join(sh.dir, "c") + " --detailed-exitcode"); code != exitDone || got != "" {
		t.Errorf("with secrets, too, they are the same: %d %s", code, got)
	}
}

// edit replaces text in a file of the folder; it must be there.
func edit(t *testing.T, file, old, now string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), old) {
		t.Fatalf("%s does not hold %q: %v %s", file, old, err, b)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), old, now)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// apply makes the server as the folder, and deletes only with --prune, below the folders that there are.
func TestApply(t *testing.T) {
	t.Parallel()
	sh := newShell(t).fill()
	dir := filepath.Join(sh.dir, "acme")
	sh.ok("export " + dir)
	edit(t, filepath.Join(dir, "definition.json"), `"value": "example.org"`, `"value": "example.net"`)
	edit(t, filepath.Join(dir, "applications/web/files/motd"), "hello", "good day")
	edit(t, filepath.Join(dir, "applications/web/definition.json"), `"mode": "644"`, `"mode": "640"`)
	edit(t, filepath.Join(dir, "applications/web/definition.json"), `"value": "hi"`, `"value": "ho"`)
	edit(t, filepath.Join(dir, "environments/Dev/definition.json"), `"description": "x"`, `"description": "y"`)
	edit(t, filepath.Join(dir, "environments/Dev/hosts/web2/applications/web.json"), `"value": "hello"`, `"value": "bye"`)
	sh.ok("environment create New")
	sh.ok("setting set extra 1")
	sh.ok("host create web3 -E Dev --install web")
	const listed = `~ organization
    settings/domain: "example.org" -> "example.net"
    settings/extra: 1 -> (none)
~ application web
`
	got, _, code := sh.run("diff " + dir + " --detailed-exitcode")
	if code != exitDifferences || !strings.HasPrefix(got, listed) || !strings.Contains(got, "-hello ${greeting!}\n      +good day ${greeting!}\n") ||
		!strings.Contains(got, "- environment New\n") || !strings.Contains(got, "- host Dev/web3\n") || strings.Contains(got, "on host Dev/web3") {
		t.Errorf("diff: %d\n%s", code, got)
	}
	before := sh.db.Local().Index()
	tried := sh.ok("apply -f " + dir + " --dry-run")
	if !strings.Contains(tried, "~ environment Dev") || strings.Contains(tried, "- host") || strings.Contains(tried, "planted") {
		t.Errorf("dry run: %s", tried)
	}
	if now := sh.db.Local().Index(); now != before {
		t.Errorf("the dry run wrote: index %d became %d", before, now)
	}
	did := sh.ok("apply -f " + dir)
	for _, want := range []string{"organization updated\n", "application web updated\n", "environment Dev updated\n", "application on host Dev/web2/web updated\n"} {
		if !strings.Contains(did, want) {
			t.Errorf("apply does not say %q: %s", want, did)
		}
	}
	left := "~ organization\n    settings/extra: 1 -> (none)\n- host Dev/web3\n- environment New\n"
	if got := sh.ok("diff " + dir); got != left && got != strings.Replace(left, "- host Dev/web3\n- environment New\n", "- environment New\n- host Dev/web3\n", 1) {
		t.Errorf("what only the server has is left: %s", got)
	}
	if got := sh.ok("diff " + dir + " --only environments/Dev -o name"); got != "environments/Dev/hosts/web3\n" {
		t.Errorf("only one environment: %s", got)
	}
	if got := sh.ok("apply -f " + dir + " --only environments/Dev --prune -o name"); got != "environments/Dev/hosts/web3\n" {
		t.Errorf("pruning one environment: %s", got)
	}
	sh.ok("apply -f " + dir + " --prune")
	if got, _, code := sh.run("diff " + dir + " --detailed-exitcode"); code != exitDone || got != "" {
		t.Errorf("afterwards: %d %s", code, got)
	}
	if got := sh.ok("setting show word -E Dev -o json"); !strings.Contains(got, "planted-secret") {
		t.Errorf("the secret that the folder does not tell: %s", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "environments")); err != nil {
		t.Fatal(err)
	}
	if got := sh.ok("apply -f " + dir + " --prune"); got != "" {
		t.Errorf("a folder without environments deletes %s", got)
	}
}

// Importing does nothing at all where something is there and differs.
func TestImportConflicts(t *testing.T) {
	sh := newShell(t).furnish()
	dir := filepath.Join(sh.dir, "acme")
	sh.ok("export " + dir)
	sh.ok("application create other")
	sh.ok("export " + filepath.Join(sh.dir, "more"))
	sh.ok("application delete other")
	more := filepath.Join(sh.dir, "more")
	if got := sh.ok("import " + more + " -o name"); got != "applications/other\n" {
		t.Errorf("what is new alone: %s", got)
	}
	sh.ok("application delete other")
	sh.ok("environment update Dev --description z")
	if _, errs, code := sh.run("import " + more); code != exitConflict || !strings.Contains(errs, "environment Dev") || !strings.Contains(errs, "--skip-conflicts") {
		t.Errorf("a conflict: %d %s", code, errs)
	}
	if _, _, code := sh.run("application show other"); code != exitFailed {
		t.Errorf("in spite of a conflict something was created: %d", code)
	}
	sh.ok("import " + more + " --skip-conflicts")
	if got := sh.ok("environment show Dev"); !strings.Contains(got, "DESCRIPTION  z") {
		t.Errorf("the conflict: %s", got)
	}
	for _, c := range []struct{ line, want string }{
		{"import " + filepath.Join(sh.dir, "nowhere"), "no such file"},
		{"diff " + sh.dir + "/more/applications/web/files", "nothing that muster export"},
		{"apply", "-f DIR"},
		{"export x -O", "flag needs an argument"},
	} {
		if _, errs, code := sh.run(c.line); code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("muster %s: %d %s", c.line, code, errs)
		}
	}
}

// What somebody else changes between the comparison and the write is not written over: apply stops with a conflict that says what to
// do, and their value stays. Without it the same application goes through.
func TestApplyDoesNotWriteOver(t *testing.T) {
	sh := newShell(t).fill()
	dir := filepath.Join(sh.dir, "o")
	sh.ok("export " + dir)
	local, err := folder.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(client.Config{URL: sh.env["MUSTER_API"], User: "admin", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	sh.ok("environment update Dev --description mine")
	for _, theirs := range []string{"environment update Dev --description theirs", "setting set domain2 theirs -E Dev", ""} {
		server, err := folder.Fetch(t.Context(), cl, "acme", folder.Reading{})
		if err != nil {
			t.Fatal(err)
		}
		done, err := folder.Apply(t.Context(), cl, "acme", folder.Compare(local, server), folder.Applying{Tell: func(*folder.Difference) {
			if theirs != "" {
				sh.ok(theirs)
			}
		}})
		if theirs == "" {
			if err != nil || done != 1 {
				t.Errorf("without anybody else: %d, %v", done, err)
			}
		} else if model.CodeOf(err) != model.Conflict || done != 0 || !strings.Contains(err.Error(), "muster diff") {
			t.Errorf("%s meanwhile: %d done, %v", theirs, done, err)
		}
	}
	if exitCode(model.Errorf(model.Conflict, "x")) != exitConflict {
		t.Error("a conflict does not end with 6")
	}
}

// A folder whose application has a secret default comes to rest, and what an export leaves out is named and is not made a mask
// where it is imported.
func TestFolderWithSecretDefault(t *testing.T) {
	t.Parallel()
	sh := newShell(t).furnish()
	dir, out := filepath.Join(sh.dir, "vault"), filepath.Join(sh.dir, "out")
	doc := filepath.Join(dir, "applications/vault/definition.json")
	if err := os.MkdirAll(filepath.Dir(doc), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(doc, []byte(`{"name": "vault", "parameters": [{"name": "Password", "key": "pw", "value": "planted-secret", "schema": {"type": "string", "secret": true}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"planted-secret", "planted-other"} {
		edit(t, doc, "planted-secret", value)
		if got, _, code := sh.run("diff " + dir + " --only applications/vault --detailed-exitcode"); code != exitDifferences || strings.Contains(got, "planted") {
			t.Errorf("what is to do: %d %s", code, got)
		}
		sh.ok("apply -f " + dir)
		if got, _, code := sh.run("diff " + dir + " --only applications/vault --detailed-exitcode"); code != exitDone || got != "" {
			t.Errorf("after it was done: %d %s", code, got)
		}
	}
	sh.ok("webhook create hook -f " + sh.file("w.yaml", "serverName: example.org\ntoken: planted-secret\nheaders: [{name: A, value: planted-secret, secret: true}]\n"))
	_, errs, code := sh.run("export " + out)
	for _, left := range []string{"applications/vault parameters/Password", "webhooks/hook token", "webhooks/hook headers/A"} {
		if code != exitDone || !strings.Contains(errs, "secret left out: "+left) {
			t.Errorf("the export does not name %s: %d %s", left, code, errs)
		}
	}
	sh.ok("import " + out + " -O copy")
	for _, line := range []string{"parameter show Password --application vault -O copy -o json", "webhook show hook -O copy -o json"} {
		if got := sh.ok(line); strings.Contains(got, "***") || strings.Contains(got, "planted") {
			t.Errorf("%s: %s", line, got)
		}
	}
	if got := sh.ok("apply -f " + out); got != "" { // the masks leave what is there
		t.Errorf("applying the export does %s", got)
	}
	if got := sh.ok("parameter show Password --application vault -o json"); !strings.Contains(got, "planted-other") {
		t.Errorf("the default after all that: %s", got)
	}
}
