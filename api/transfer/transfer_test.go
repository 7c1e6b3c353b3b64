package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/api/transfer"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// cell is a store with an administrator.
type cell struct {
	t     testing.TB
	db    *statetest.DB
	admin string
}

func newCell(t testing.TB) *cell {
	t.Helper()
	c := &cell{t: t, db: statetest.New(t, orchestrate.Tables()...)}
	c.update(func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "admin", Admin: true}, "hash")
		if err == nil {
			c.admin = u.ID
		}
		return err
	})
	return c
}

func (c *cell) update(fn func(tx *state.Tx) error) {
	c.t.Helper()
	if err := c.db.Update(c.t.Context(), fn); err != nil {
		c.t.Fatal(err)
	}
}

// furnish makes an organization of some environments and hosts.
func (c *cell) furnish(envs, hosts int) string {
	c.t.Helper()
	id := ""
	c.update(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme", Settings: []model.Setting{{Key: "k", Value: json.RawMessage("1")}}}, c.admin, true)
		if err != nil {
			return err
		}
		id = o.ID
		return nil
	})
	for e := range envs {
		c.update(func(tx *state.Tx) error {
			env, err := orchestrate.CreateEnvironment(tx, id, model.Environment{Name: fmt.Sprintf("env %d", e)})
			if err != nil {
				return err
			}
			for h := range hosts {
				if _, err := orchestrate.CreateHost(tx, id, env.ID, model.Host{Name: fmt.Sprintf("host %d", h)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return id
}

func (c *cell) export(id string) []byte {
	c.t.Helper()
	var b bytes.Buffer
	if err := transfer.Export(c.t.Context(), c.db.Local(), id, transfer.Seal{}, &b); err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

func (c *cell) imports(file io.Reader) (spec.ImportResult, error) {
	return transfer.Import(context.Background(), c.db, file, transfer.Options{Actor: "admin", AdminID: c.admin})
}

// rows counts the rows of each table of nouns.
func (c *cell) rows() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	if err := state.Rows(c.db.Local(), func(r state.RawRow) error {
		if !strings.HasPrefix(r.Table, "_") {
			out[r.Table]++
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// unpacked are the lines of a file.
func unpacked(t testing.TB, file []byte) []string {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := d.DecodeAll(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	return lines[:len(lines)-1]
}

// packed makes a file of text.
func packed(t testing.TB, text string) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close() //nolint:errcheck // nothing is written
	return e.EncodeAll([]byte(text), nil)
}

// whole makes a file of records, with a right last one.
func whole(t testing.TB, lines ...string) []byte {
	t.Helper()
	secrets := 0
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n") + "\n"
		var rec transfer.Record
		if json.Unmarshal([]byte(lines[i]), &rec) == nil {
			secrets += len(rec.Secrets)
		}
	}
	text := strings.Join(lines, "")
	sum := sha256.Sum256([]byte(text))
	return packed(t, text+fmt.Sprintf(`{"kind":"end","doc":{"records":%d,"secrets":%d,"sha256":"%s"}}`+"\n", len(lines), secrets, hex.EncodeToString(sum[:])))
}

const (
	header = `{"kind":"header","doc":{"format":"muster-organization","version":1,"organization":"acme","epoch":1,"index":2,"time":"","sealed":false}}`
	organ  = `{"kind":"organization","doc":{"name":"acme"}}`
)

// Files that are wrong get a sentence that says where, and leave nothing behind.
func TestHostileFiles(t *testing.T) {
	c := newCell(t)
	from := newCell(t)
	file := from.export(from.furnish(2, 3))
	lines := unpacked(t, file)
	with := func(more ...string) []byte { return whole(t, append([]string{header, organ}, more...)...) }
	for name, f := range map[string]struct {
		file []byte
		code model.Code
		want string
	}{
		"empty":                {nil, model.Invalid, "before its last one"},
		"no archive":           {[]byte("PK\x03\x04 something else"), model.Invalid, "cannot be unpacked"},
		"cut in the middle":    {file[:len(file)/2], model.Invalid, "after record"},
		"a byte short":         {file[:len(file)-1], model.Invalid, "after record"},
		"cut at a record":      {packed(t, strings.Join(lines[:len(lines)-3], "")), model.Invalid, "it is not whole"},
		"a record left out":    {packed(t, strings.Join(lines[:5], "")+strings.Join(lines[6:], "")), model.Invalid, "something is missing"},
		"a byte changed":       {packed(t, strings.Replace(strings.Join(lines, ""), "env 1", "env 7", 1)), model.Invalid, "checksum is wrong"},
		"goes on":              {append(bytes.Clone(file), packed(t, "{}\n")...), model.Invalid, "goes on after its last record"},
		"no header":            {whole(t, organ), model.Invalid, "begins with one header"},
		"two headers":          {whole(t, header, header), model.Invalid, "begins with one header"},
		"another format":       {whole(t, strings.Replace(header, "muster-", "other-", 1)), model.Invalid, "no file of an organization"},
		"another version":      {whole(t, strings.Replace(header, `"version":1`, `"version":2`, 1)), model.Invalid, "reads version 1"},
		"another kind":         {with(`{"kind":"later"}`), model.Invalid, "newer version of Muster"},
		"another field":        {with(`{"kind":"environment","path":"x"}`), model.Invalid, "unknown field"},
		"the wrong order":      {with(`{"kind":"environment","doc":{"name":"e"}}`, `{"kind":"application","doc":{"name":"a"}}`), model.Invalid, "comes too late"},
		"no organization":      {whole(t, header, `{"kind":"environment","doc":{"name":"e"}}`), model.Invalid, "must come before"},
		"two organizations":    {with(organ), model.Invalid, "two organizations"},
		"deep":                 {with(`{"kind":"setting","name":"x","doc":{"key":"x","value":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`), model.Invalid, "nested deeper than 64"},
		"a long line":          {packed(t, header+"\n"+strings.Repeat(" ", 20<<20)), model.TooLarge, "longer than"},
		"not JSON":             {with(`{"kind":`), model.Invalid, "is no record"},
		"two on a line":        {with(organ + organ), model.Invalid, "follows the record"},
		"an empty line":        {with("   "), model.Invalid, "is no record"},
		"no document":          {with(`{"kind":"environment"}`), model.Invalid, "document is missing"},
		"a name with a path":   {with(`{"kind":"environment","doc":{"name":"../e"}}`), model.Invalid, "cannot carry"},
		"a name with NUL":      {with(`{"kind":"environment","doc":{"name":"e\u0000"}}`), model.Invalid, "control character"},
		"the same twice":       {with(`{"kind":"environment","doc":{"name":"e"}}`, `{"kind":"environment","doc":{"name":"e"}}`), model.Invalid, "record 4 of the file, environment: the environment name"},
		"an unknown place":     {with(`{"kind":"host","environment":"none","doc":{"name":"h"}}`), model.Invalid, `environment "none"`},
		"an unknown setting":   {with(`{"kind":"setting","environment":"none","name":"k","doc":{"key":"k"}}`), model.Invalid, "not found"},
		"a wrong of":           {with(`{"kind":"environment","doc":{"name":"e"}}`, `{"kind":"host","environment":"e","doc":{"name":"h"}}`, `{"kind":"setting","environment":"e","host":"h","of":"x","doc":{"key":"k"}}`), model.Invalid, "its own, or of its platform"},
		"a part too many":      {with(`{"kind":"application","doc":{"name":"a","files":[{"name":"f","path":"/f"}]}}`, `{"kind":"content","application":"a","name":"f","part":1,"parts":2,"data":"eA=="}`), model.Invalid, "does not follow"},
		"parts that stop":      {with(`{"kind":"application","doc":{"name":"a","files":[{"name":"f","path":"/f"}]}}`, `{"kind":"content","application":"a","name":"f","parts":2,"data":"eA=="}`, `{"kind":"environment","doc":{"name":"e"}}`), model.Invalid, "not all there"},
		"parts that never end": {with(`{"kind":"application","doc":{"name":"a","files":[{"name":"f","path":"/f"}]}}`, `{"kind":"content","application":"a","name":"f","parts":2,"data":"eA=="}`), model.Invalid, "not all there"},
		"no file of that name": {with(`{"kind":"application","doc":{"name":"a"}}`, `{"kind":"content","application":"a","name":"../../etc/passwd","parts":1,"data":"eA=="}`), model.Invalid, "no file"},
		"a secret too many":    {with(`{"kind":"setting","name":"k","secrets":["value","value","x"],"doc":{"key":"k"}}`), model.Invalid, "no place"},
		"sealed without one":   {whole(t, strings.Replace(header, `"sealed":false`, `"sealed":true`, 1), organ), model.Invalid, "sealed in the file"},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.rows()
			_, err := c.imports(bytes.NewReader(f.file))
			if model.CodeOf(err) != f.code || !strings.Contains(err.Error(), f.want) {
				t.Errorf("%v, want %s with %q", err, f.code, f.want)
			}
			if after := c.rows(); !maps.Equal(before, after) {
				t.Errorf("rows before %v, after %v", before, after)
			}
		})
	}
	if r, err := c.imports(bytes.NewReader(file)); err != nil || r.Imported["host"] != 6 {
		t.Errorf("the right file: %+v %v", r, err)
	}
}

// A file may be whole and right in every record and still be a bomb: little that would fill the state of every node.
func TestFilesThatUnpackToFarTooMuch(t *testing.T) {
	value := strings.Repeat("a", 900_000)
	lines := []string{header, organ}
	for i := range 80 {
		lines = append(lines, fmt.Sprintf(`{"kind":"setting","name":"k%d","doc":{"key":"k%d","value":"%s"}}`, i, i, value))
	}
	file := whole(t, lines...)
	r, err := transfer.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, err = r.Next()
	}
	if model.CodeOf(err) != model.TooLarge || !strings.Contains(err.Error(), "200 times") {
		t.Errorf("%d bytes that unpack to %d: %v", len(file), len(lines)*len(value), err)
	}
	fits := whole(t, lines[:60]...) // 52 MB of little is within what is free
	if r, err = transfer.NewReader(bytes.NewReader(fits)); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes that unpack to %d: %v", len(fits), 60*len(value), err)
	}
}

// A file's quota is set by who may set quotas; its jobs act for who imports, run not before the organization is there, and what they
// missed is not made up for.
func TestImportOfQuotaAndJobs(t *testing.T) {
	c := newCell(t)
	input := "organizations/acme/environments/e/hosts/h"
	file := whole(t, header, organ, `{"kind":"environment","doc":{"name":"e"}}`, `{"kind":"host","environment":"e","doc":{"name":"h"}}`,
		`{"kind":"job","name":"past","doc":{"name":"past","enabled":true,"date":"2001-01-01T00:00:00Z","action":"DELETE_HOST","input":"`+input+`"}}`,
		`{"kind":"job","name":"off","doc":{"name":"off","enabled":"false","cron":"* * * * *","action":"DELETE_HOST","input":"`+input+`"}}`,
		`{"kind":"job","name":"on","doc":{"name":"on","enabled":true,"cron":"* * * * *","action":"DELETE_HOST","input":"`+input+`"}}`,
		`{"kind":"quota","doc":{"hosts":7,"bytes":12345678}}`)
	for _, may := range []bool{false, true} {
		name := fmt.Sprint("copy ", may)
		res, err := transfer.Import(t.Context(), c.db, bytes.NewReader(file), transfer.Options{Name: name, Actor: "admin", AdminID: c.admin, Quotas: may})
		if err != nil {
			t.Fatal(err)
		}
		o, err := orchestrate.OrganizationByName(c.db.Local(), name)
		if err != nil {
			t.Fatal(err)
		}
		use := orchestrate.QuotaDoc(c.db.Local(), o)
		if left := strings.Join(res.LeftOut, ""); may != (use.Quota.Hosts == 7 && use.Quota.Bytes == 12345678 && use.Quota.Applications == model.DefaultQuota().Applications) ||
			may == use.Default || may != (left == "") || !may && (res.LeftOutCount != 1 || !strings.Contains(left, "quota of the organization")) {
			t.Errorf("who may set quotas: %v; quota %+v, left out %q", may, use, res.LeftOut)
		}
		for _, j := range orchestrate.Jobs(c.db.Local(), o.ID) {
			if j.Maker != (model.JobMaker{UserID: c.admin, Name: "admin"}) || j.Next.IsZero() != (j.Name != "on") || j.Document.Input != "organizations/"+name+strings.TrimPrefix(input, "organizations/acme") {
				t.Errorf("job %s: %+v", j.Name, j)
			}
			if on, _ := j.Document.On(); on != (j.Name != "off") {
				t.Errorf("job %s: enabled %s", j.Name, j.Document.Enabled)
			}
		}
	}
	for _, bad := range []string{
		`{"kind":"job","name":"j","doc":{"name":"j","action":"X","input":"organizations/other/environments/e/hosts/h"}}`,
		`{"kind":"job","name":"j","doc":{"name":"j"}}`, `{"kind":"quota","doc":{"hosts":-1}}`, `{"kind":"quota","doc":{"hosts":"many"}}`, `{"kind":"quota"}`,
	} {
		before := c.rows()
		_, err := transfer.Import(t.Context(), c.db, bytes.NewReader(whole(t, header, organ, bad)), transfer.Options{Actor: "admin", AdminID: c.admin, Quotas: true})
		if model.CodeOf(err) != model.Invalid || !maps.Equal(before, c.rows()) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Jobs of an organization that is being imported are not due before it is there.
func TestJobsOfAnImportWait(t *testing.T) {
	c := newCell(t)
	id, job := "", ""
	c.update(func(tx *state.Tx) error {
		o, err := orchestrate.BeginImport(tx, model.Organization{Name: "acme"}, "admin")
		if err != nil {
			return err
		}
		id = o.ID
		return orchestrate.ImportJob(tx, o.ID, model.Job{Name: "j", Cron: "* * * * *", Action: "DANCE"}, model.JobMaker{UserID: c.admin})
	})
	later := time.Now().Add(time.Hour)
	c.db.SetClock(func() time.Time { return later })
	if due, next := orchestrate.DueJobs(c.db.Local(), later); len(due) != 0 || !next.IsZero() {
		t.Errorf("due %v, next %v", due, next)
	}
	job = orchestrate.Jobs(c.db.Local(), id)[0].ID
	c.update(func(tx *state.Tx) error { return orchestrate.RunDueJob(tx, job, orchestrate.JobWorld{}) }) // it would fail
	c.update(func(tx *state.Tx) error { _, err := orchestrate.FinishImport(tx, id, c.admin); return err })
	if due, _ := orchestrate.DueJobs(c.db.Local(), later); len(due) != 1 || due[0] != job {
		t.Errorf("due once it is there: %v", due)
	}
}

// gate is a reader that stops in the middle until it is let through.
type gate struct {
	io.Reader
	at     int
	read   int
	closed chan struct{} // when it stops
	open   chan struct{}
	err    error // instead of the rest
}

func (g *gate) Read(p []byte) (int, error) {
	if g.read >= g.at && g.closed != nil {
		close(g.closed)
		g.closed = nil
		<-g.open
		if g.err != nil {
			return 0, g.err
		}
	}
	n, err := g.Reader.Read(p[:min(len(p), 64)])
	g.read += n
	return n, err
}

// While an organization is imported nobody sees it, and its name is free; then it is there at once. One whose client
// goes away is deleted.
func TestImportIsInvisibleUntilItsEnd(t *testing.T) {
	from := newCell(t)
	lines := unpacked(t, from.export(from.furnish(20, 20)))
	// Not compressed, so that half of the file is half of the records.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for _, l := range lines {
		file = e.EncodeAll([]byte(l), file)
	}
	for _, broken := range []error{nil, errors.New("the client went away")} {
		c := newCell(t)
		before := c.rows()
		g := &gate{Reader: bytes.NewReader(file), at: len(file) * 3 / 4, closed: make(chan struct{}), open: make(chan struct{}), err: broken}
		stopped, done := g.closed, make(chan error, 1)
		go func() { _, err := c.imports(g); done <- err }()
		select {
		case <-stopped:
		case err := <-done:
			t.Fatalf("the import ended: %v", err)
		}
		view := c.db.Local()
		if c.rows()["host"] == 0 {
			t.Error("nothing is imported yet")
		}
		if _, err := orchestrate.OrganizationByName(view, "acme"); model.CodeOf(err) != model.NotFound || len(orchestrate.Organizations(view)) != 0 {
			t.Errorf("the organization is there: %v, %d", err, len(orchestrate.Organizations(view)))
		}
		close(g.open)
		err := <-done
		if broken == nil {
			if o, errThere := orchestrate.OrganizationByName(c.db.Local(), "acme"); err != nil || errThere != nil || o.Importing != nil || c.rows()["host"] != 400 {
				t.Errorf("import: %v %v, rows %v", err, errThere, c.rows())
			}
			continue
		}
		if err == nil || !maps.Equal(before, c.rows()) {
			t.Errorf("a broken import: %v, rows %v", err, c.rows())
		}
	}
}

// An import whose node died is deleted some minutes later, in pieces, by a duty of the leader; one that goes on is not.
func TestLostImportsAreDeleted(t *testing.T) {
	c := newCell(t)
	now := time.Now()
	c.db.SetClock(func() time.Time { return now })
	before := c.rows()
	id := ""
	c.update(func(tx *state.Tx) error {
		o, err := orchestrate.BeginImport(tx, model.Organization{Name: "acme"}, "admin")
		if err != nil {
			return err
		}
		id = o.ID
		env, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "e"})
		if err != nil {
			return err
		}
		for h := range 60 {
			if _, err := orchestrate.CreateHost(tx, o.ID, env.ID, model.Host{Name: fmt.Sprint("h", h)}); err != nil {
				return err
			}
		}
		return nil
	})
	drop := func() int {
		t.Helper()
		n, next, err := orchestrate.DropImports(context.Background(), c.db)
		if err != nil || next <= 0 {
			t.Fatal(n, next, err)
		}
		return n
	}
	for range 3 {
		now = now.Add(8 * time.Minute)
		c.update(func(tx *state.Tx) error { return orchestrate.ContinueImport(tx, id) })
		if n := drop(); n != 0 {
			t.Errorf("%d imports that go on were deleted", n)
		}
	}
	now = now.Add(11 * time.Minute)
	c.update(func(tx *state.Tx) error { // time goes on with the log
		_, err := orchestrate.CreateUser(tx, model.User{Username: "tick"}, "")
		return err
	})
	before["user"]++
	if n := drop(); n != 1 || !maps.Equal(before, c.rows()) {
		t.Errorf("%d deleted; rows %v, want %v", n, c.rows(), before)
	}
	err := c.db.Update(t.Context(), func(tx *state.Tx) error { return orchestrate.ContinueImport(tx, id) })
	if model.CodeOf(err) != model.Conflict {
		t.Errorf("an import goes on after it was deleted: %v", err)
	}
}

// FuzzImport reads any text as the records of a file: no panic, no organization of a wrong file.
func FuzzImport(f *testing.F) {
	from := newCell(f)
	lines := unpacked(f, from.export(from.furnish(1, 1)))
	for i := range lines {
		f.Add(lines[i])
	}
	f.Add(`{"kind":"content","application":"Wordpress","name":"x","part":0,"parts":1,"data":"eA=="}`)
	f.Add(`{"kind":"webhook","secrets":["token","header X"],"doc":{"name":"w","headers":[{"name":"X","secret":true}]}}`)
	c := newCell(f)
	before := c.rows()
	f.Fuzz(func(t *testing.T, text string) {
		c := &cell{t: t, db: c.db, admin: c.admin}
		if _, err := c.imports(bytes.NewReader(packed(t, header+"\n"+organ+"\n"+text+"\n"))); err == nil {
			t.Fatal("a file without its end was imported")
		}
		if after := c.rows(); !maps.Equal(before, after) {
			t.Fatalf("rows before %v, after %v", before, after)
		}
	})
}

// FuzzReader reads any bytes as a file.
func FuzzReader(f *testing.F) {
	f.Add(whole(f, header, organ))
	f.Add(packed(f, header+"\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := transfer.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		defer r.Close()
		for err == nil {
			_, err = r.Next()
		}
		if code := model.CodeOf(err); err != io.EOF && code != model.Invalid && code != model.TooLarge {
			t.Fatalf("%v", err)
		}
	})
}
