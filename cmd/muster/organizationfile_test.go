package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/transfer"
)

// organizationLines are the records of a file without its head, its end and the sealed secrets.
func organizationLines(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	r, err := transfer.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []string
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != transfer.KindHeader && rec.Kind != transfer.KindEnd && rec.Kind != transfer.KindSealed {
			out = append(out, fmt.Sprintf("%+v %s", *rec, rec.Doc))
		}
	}
}

// TestOrganizationMovesBetweenClusters exports an organization with 200 hosts from one cluster, imports it into another,
// and exports it again: the same but for what is the clusters' own.
func TestOrganizationMovesBetweenClusters(t *testing.T) {
	t.Parallel()
	old, fresh := startNode(t, "n1"), startNode(t, "m1")
	pw, first := old.passwordFile(), fresh.passwordFile()
	old.do(pw, "organization", "create", "acme", "--populate")
	cl, err := old.client(pw)
	if err != nil {
		t.Fatal(err)
	}
	for h := range 200 {
		op := client.Op{Name: "hosts.create", Params: map[string]string{"org": "acme", "env": "Default"}, Body: map[string]any{
			"name": fmt.Sprintf("host %03d", h), "platform": "Demo Platform", "applications": []string{"Wordpress"},
			"settings": []any{map[string]any{"key": "password", "value": fmt.Sprintf("s3cret-%d", h), "schema": map[string]any{"secret": true}}}}}
		if err := cl.Call(t.Context(), op, nil); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	one, two, open := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "open")
	pass := textFile(t, "pass", "a passphrase of some length\n")
	old.do(pw, "organization", "export", "acme", "--file", one, "--passphrase-file", pass)
	if st, err := os.Stat(one); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	out := fresh.do(first, "organization", "import", one, "--passphrase-file", pass, "-o", "json")
	if !strings.Contains(out, `"host": 200`) || !strings.Contains(out, `"leftOutCount": 0`) {
		t.Errorf("import: %s", out)
	}
	fresh.do(first, "organization", "export", "acme", "--file", two, "--passphrase-file", pass)
	was, is := organizationLines(t, one), organizationLines(t, two)
	if len(was) < 800 || len(was) != len(is) {
		t.Fatalf("%d records, then %d", len(was), len(is))
	}
	for i := range was {
		if was[i] != is[i] {
			t.Fatalf("record %d was\n%s\nand is\n%s", i, was[i], is[i])
		}
	}
	shown := fresh.do(first, "setting", "show", "password", "-O", "acme", "-E", "Default", "--host", "host 123", "-o", "json")
	if !strings.Contains(shown, "s3cret-123") {
		t.Errorf("a secret after the import: %s", shown)
	}

	_, errs, code := muster(t, old.as(pw, "organization", "export", "acme", "--file", open)...)
	if code != exitDone || !strings.Contains(errs, "200 secrets are not in the file") {
		t.Errorf("without a passphrase: status %d, %s", code, errs)
	}
	out, errs, code = muster(t, fresh.as(first, "organization", "import", open, "--name", "acme 2")...)
	if code != exitDone || !strings.Contains(out, "acme 2") || !strings.Contains(errs, "200 secrets were left out") {
		t.Errorf("import of it: status %d, %s%s", code, out, errs)
	}
	if _, errs, code := muster(t, fresh.as(first, "organization", "import", one)...); code != exitConflict || !strings.Contains(errs, "taken") {
		t.Errorf("under a name that is taken: status %d, %s", code, errs)
	}
	b, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if _, errs, code := muster(t, fresh.as(first, "organization", "import", textFile(t, "bad", string(b)), "--name", "x")...); code != exitFailed {
		t.Errorf("a damaged file: status %d, %s", code, errs)
	}
	if _, errs, code := muster(t, old.as(pw, "organization", "export", "acme")...); code != exitUsage || !strings.Contains(errs, "--file") {
		t.Errorf("without a file: status %d, %s", code, errs)
	}
}
