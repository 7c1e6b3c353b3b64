package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// goldenWhole is an organization with all that the published client exports.
func goldenWhole() []golden {
	return append(goldenWorld(), once([][2]string{
		{`environments|settings|add|acme|Dev|-j|{"key": "port", "value": "81"}`, " Value: 81\n"},
		{`organizations|settings|add|acme|-j|{"key": "big", "value": 9007199254740993}`, " Value: 9007199254740993\n"},
		{`applications|rpm-module|add|acme|web|-j|{"name": "nodejs", "stream": "20", "profile": "common", "enabled": true}`, "nodejs"},
		{`applications|gits|add|acme|web|-j|{"name": "site", "endpoint": "https://example.org/x.git", "branch": "main", "authenticationMethod": "HTTPS"}`, "site"},
		{`hosts|add|acme|Dev|-j|{"name": "web 1", "platform": "cloud", "distribution": "os", "applications": ["web"], "settings": [{"key": "own", "value": {"a": [1]}}]}`, " State: DEFINED\n"},
		{`hosts|add|acme|Dev|-j|{"name": "bare"}`, " State: DEFINED\n"},
		{`organizations|jobs|add|acme|-j|{"name": "night", "cron": "0 22 * * *", "action": "STOP_HOST", "input": "organizations/acme/environments/Dev/hosts/web 1"}`, "night"},
		{`organizations|hostgroups|add|acme|-j|{"name": "G", "hosts": [{"position": 0, "organization": "acme", "environment": "Dev", "host": "web 1"}]}`, "Dev/web 1"},
		{`organizations|orchestrations|add|acme|-j|{"name": "O", "applicationsOperations": [{"application": "web", "handler": "reload", "position": 0}],` +
			` "orderedHostGroup": [{"position": 0, "hostGroup": {"name": "G"}}]}`, "web"},
		{`organizations|webhooks|add|acme|-j|{"name": "W", "serverName": "example.org", "path": "/", "signingSecret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`, "example.org"},
		{`hosts|provision|acme|Dev|web 1`, ""},
	}...)...)
}

// Folders of an organization that one of the two clients wrote are the other's, too.
func TestPublishedClientFolders(t *testing.T) {
	dir, wanted := publishedClient(t)
	if !wanted {
		return
	}
	info, password := devProcess(t)
	n := info.at(t, 0)
	c := newComodit(t, dir, info.API, password)
	c.play(append(goldenWhole(), until(`hosts|show|acme|Dev|web 1`, " State: READY\n")))
	ours, theirs := filepath.Join(c.home, "ours"), filepath.Join(c.home, "theirs")
	n.do(password, "export", ours, "-O", "acme", "--with-secrets")
	c.play(once([2]string{`organizations|export|acme|theirs`, "exporting web 1"}))
	sameFolders(t, theirs, ours)

	same := func(folder, org string) {
		t.Helper()
		out, errs, code := muster(t, n.as(password, "diff", folder, "-O", org, "--detailed-exitcode")...)
		if code != exitDone || out != "" {
			t.Errorf("%s and %s differ: %d %s%s", folder, org, code, out, errs)
		}
	}
	same(theirs, "acme")
	// Ours into the server by the published client.
	c.play(once([][2]string{
		{`applications|import|acme|ours/applications/web`, "conflict"},
		{`organizations|import|ours|--dry-run`, "* Create orchestration 'O'"},
		{`hosts|instance|delete|acme|Dev|web 1`, ""},
	}...))
	c.play([]golden{until(`organizations|delete|acme|--force`, "")})
	c.play(once([][2]string{
		{`organizations|show|acme`, "Entity not found"},
		{`organizations|import|ours`, "Executing 'Create application context 'web''"},
		{`hosts|applications|render-file|acme|Dev|web 1|web|site.conf`, "listen 81 of web 1;\n"},
		{`applications|files|show-content|acme|web|site.conf`, "listen ${port} of ${_host.name};\n"},
		{`organizations|export|acme|again`, "exporting web 1"},
	}...))
	same(ours, "acme")
	sameFolders(t, theirs, filepath.Join(c.home, "again"))
	// Theirs into the server by ours: as a copy, and over what was changed since.
	n.do(password, "import", theirs, "-O", "copy")
	same(theirs, "copy")
	c.play(once([][2]string{
		{`hosts|applications|render-file|copy|Dev|web 1|web|site.conf`, "listen 81 of web 1;\n"},
		{`environments|settings|update|copy|Dev|port|-j|{"key": "port", "value": "99"}`, " Value: 99\n"},
		{`hosts|delete|copy|Dev|bare|--force`, ""},
		{`environments|add|copy|-j|{"name": "More"}`, " Name: More\n"},
	}...))
	if out := n.do(password, "apply", "-f", theirs, "-O", "copy", "--prune"); !strings.Contains(out, "bare") {
		t.Errorf("apply says %s", out)
	}
	same(theirs, "copy")
	c.play(once([][2]string{
		{`environments|list|copy`, "Dev\n"},
		{`environments|show|copy|More`, "Entity not found"},
		{`environments|settings|show|copy|Dev|port`, " Value: 81\n"},
		{`hosts|show|copy|Dev|bare`, " State: DEFINED\n"},
	}...))
}

// ownFields are those that each server and each moment gives, or that only ours tells.
func ownFields() []string {
	return []string{"uuid", "version", "access", "nextRun", "lastRun", "state"}
}

// sameFolders checks that all files of one folder are in another, and say the same; the other may hold more.
func sameFolders(t *testing.T, of, in string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(of, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(of, path)
		if err != nil {
			return err
		}
		files++
		was, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		is, err := os.ReadFile(filepath.Join(in, name))
		if err != nil {
			if filepath.Base(name) != "instance.json" { // of one that is DEFINED there is none
				t.Errorf("%s: %v", name, err)
			}
			return nil
		}
		a, b := any(string(was)), any(string(is))
		if filepath.Ext(name) == ".json" {
			a, b = bare(t, was), bare(t, is)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: one wrote\n%s\nthe other\n%s", name, was, is)
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("%d files are compared: %v", files, err)
	}
}

// bare is a document without what differs anyway.
func bare(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Errorf("no JSON: %v: %s", err, text)
	}
	return without(v)
}

func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range ownFields() {
			delete(v, name)
		}
		for k := range v {
			v[k] = without(v[k])
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return v
}
