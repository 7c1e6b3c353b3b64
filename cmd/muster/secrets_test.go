package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// TestSecretsAreNowhereInClear writes a secret through each route that takes one, and looks for it, and for the secrets that the
// server made, in every file of the data folder, in snapshots row by row, in what the server said and in the audit.
func TestSecretsAreNowhereInClear(t *testing.T) {
	const marker = "tr0ub4dor-and-3"
	n := startNode(t, "n1")
	pw := n.passwordFile()
	c, err := n.client(pw)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{marker}
	call := func(name, level string, params map[string]string, body any, secret string) {
		t.Helper()
		var out json.RawMessage
		if err := c.Call(t.Context(), client.Op{Name: name, Level: level, Params: params, Body: body}, &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if secret == "" {
			return
		}
		doc := map[string]any{}
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatal(err)
		}
		if made, _ := doc[secret].(string); len(made) > 20 {
			secrets = append(secrets, made)
		} else {
			t.Fatalf("%s gives no %s: %s", name, secret, out)
		}
	}
	org, app := map[string]string{"org": "acme"}, map[string]string{"org": "acme", "app": "web"}
	env, host := map[string]string{"org": "acme", "env": "prod"}, map[string]string{"org": "acme", "env": "prod", "host": "h1"}
	schema := json.RawMessage(`{"type": "string", "secret": true}`)
	setting := func(key string) map[string]any {
		return map[string]any{"key": key, "value": marker + key, "schema": schema}
	}
	call("organizations.create", "", nil, map[string]any{"name": "acme", "settings": []any{setting("embedded")}}, "")
	call("environments.create", "", org, map[string]any{"name": "prod"}, "")
	call("applications.create", "", org, map[string]any{"name": "web",
		"parameters": []any{map[string]any{"name": "p", "key": "p", "value": marker, "schema": schema}},
		"files":      []any{map[string]any{"name": "conf", "path": "/etc/conf"}},
		"users":      []any{map[string]any{"name": "u", "password": marker}},
	}, "")
	content := "password = ${s}, or " + marker + "\n"
	if err := c.Upload(t.Context(), client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "conf"}}, "conf", []byte(content)); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, state.Digest([]byte(content)))
	large := strings.Repeat("# a line that is long enough to make this a large file\n", 6000) + content
	if err := c.Upload(t.Context(), client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "conf"}}, "conf", []byte(large)); err != nil {
		t.Fatal(err)
	}
	call("hosts.create", "", env, map[string]any{"name": "h1", "settings": []any{setting("atCreation")}}, "")
	call("settings.create", "organization", org, setting("s"), "")
	call("settings.update", "organization", map[string]string{"org": "acme", "key": "s"}, map[string]any{"key": "s", "value": marker + "2", "schema": schema}, "")
	call("settings.create", "environment", env, setting("s"), "")
	call("settings.create", "host", host, setting("s"), "")
	call("settings.bulk", "host", host, map[string]any{"newOrUpdatedSettings": []any{setting("a"), setting("b")}}, "")
	call("webhooks.create", "", org, map[string]any{"name": "w", "method": "POST", "protocol": "HTTPS", "serverName": "hooks.example.org", "path": "/x",
		"authenticationMethod": "BASIC_AUTH", "username": "u", "token": marker, "events": []string{"host.*"}}, "signingSecret")
	call("notifications.create", "", org, map[string]any{"name": "n", "channel": "slack", "value": `{"url": "https://example.org/` + marker + `"}`}, "")
	call("applications.gits.create", "", app, map[string]any{"name": "g", "endpoint": "https://git.example.org/x.git", "username": "u", "token": marker, "authenticationMethod": "HTTPS"}, "")
	call("applicationkeys.create", "", org, map[string]any{"name": "k", "method": "TOKEN", "group": "admin"}, "token")
	call("enroltokens.create", "", env, map[string]any{}, "token")
	call("users.create", "", nil, map[string]any{"username": "eve", "password": marker + "eve", "email": "eve@example.org"}, "")
	call("settings.delete", "host", map[string]string{"org": "acme", "env": "prod", "host": "h1", "key": "b"}, nil, "")
	if out := n.do(pw, "organization", "list", "-o", "json"); !strings.Contains(out, "acme") {
		t.Fatal(out)
	}

	saved := filepath.Join(t.TempDir(), "saved.snapshot")
	n.do(pw, "snapshot", "save", saved)
	var audit, ofSite []byte
	err = errors.Join(c.Call(t.Context(), client.Op{Name: "audit.export", Params: org}, &audit), c.Call(t.Context(), client.Op{Name: "site.audit.export"}, &ofSite))
	if audit = append(audit, ofSite...); err != nil || !bytes.Contains(audit, []byte("settings.create")) || !bytes.Contains(audit, []byte("users.create")) {
		t.Fatalf("the audit: %v\n%s", err, audit)
	}
	told := func(where string, text []byte) {
		for i, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s shows secret %d", where, i)
			}
		}
	}
	told("the audit", audit)
	before := rowsOf(t, saved, told)
	// The look finds what is in clear.
	call("organizations.create", "", nil, map[string]any{"name": "plain", "description": "control-mark"}, "")
	n.stop()
	told("the log", []byte(n.stdout.String()+n.stderr.String()))
	control := 0
	err = filepath.WalkDir(n.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if d.Name() == "state.bin" || strings.HasSuffix(path, ".snapshot") {
			before += rowsOf(t, path, told)
		}
		told(path, text)
		if bytes.Contains(text, []byte("plain")) && strings.HasSuffix(path, "log.db") {
			control++
		}
		return err
	})
	if err != nil || control == 0 || before == 0 {
		t.Errorf("%d rows were looked at, %d files show what is in clear, %v", before, control, err)
	}
	ring, err := keysIn(n.data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(n.data, "cluster", "pki", "ca-key.pem"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	noKeysIn(t, n, ring, key)
}

// rowsOf shows each row of a snapshot, and gives how many there are.
func rowsOf(t *testing.T, path string, show func(where string, text []byte)) (rows int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	if _, err := state.Inspect(f, func(r state.RawRow) error {
		rows++
		show(path+" row "+r.Table, append([]byte(r.Key+" "), r.Value...))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// noKeysIn looks for the cluster's keys, and for those of its authority and its gossip, in the log and the snapshots of a stopped
// node, and in what a look at its folder prints.
func noKeysIn(t *testing.T, n *node, ring *seal.Keyring, caKey []byte) {
	t.Helper()
	gossip, err := os.ReadFile(filepath.Join(n.data, "cluster", "pki", "gossip-key"))
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(gossip)
	if err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{gossip, bytes.Trim(marshalled, `"`), []byte(ring.Keys()[0].Text())}
	if len(caKey) > 0 {
		text, err := json.Marshal(caKey)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, caKey, bytes.Trim(text, `"`)[100:])
	}
	out, errs, code := muster(t, "debug", "state", n.data, "clustersecret", "-o", "json")
	if code != exitDone {
		t.Fatalf("debug state: %s", errs)
	}
	for i, s := range secrets {
		if strings.Contains(out, string(s)) {
			t.Errorf("debug state shows key %d", i)
		}
	}
	err = filepath.WalkDir(filepath.Join(n.data, "cluster", "raft"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for i, s := range secrets {
			if bytes.Contains(text, s) {
				t.Errorf("%s shows key %d", path, i)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
