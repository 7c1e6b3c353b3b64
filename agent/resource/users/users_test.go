package users_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/groups"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/resource/users"
	"github.com/muster-hq/muster/agent/sys"
	"github.com/muster-hq/muster/deploy/e2e/guest"
)

var (
	_ resource.Watcher = (*users.Collection)(nil)
	_ resource.Lister  = (*users.Collection)(nil)
)

// machine answers from memory, and fails the test when something is run.
type machine struct {
	users.System
	t testing.TB
}

func (machine) Confined() bool { return false }
func (machine) Users() ([]sys.User, error) {
	return []sys.User{{Name: "web", UID: 33, GID: 33, Home: "/var/www", Shell: "/bin/sh", Gecos: "Web"}}, nil
}
func (machine) Groups() ([]sys.Group, error) {
	return []sys.Group{{Name: "www", GID: 33, Members: []string{"web"}}, {Name: "b", GID: 2, Members: []string{"web"}}, {Name: "a", GID: 1, Members: []string{"x", "web"}}}, nil
}
func (m machine) LookupGroup(_ context.Context, name string) (sys.Group, bool, error) {
	all, _ := m.Groups()
	for _, g := range all {
		if g.Name == name {
			return g, true, nil
		}
	}
	return sys.Group{}, false, nil
}
func (machine) PasswordHash(string) (string, error) { return "$6$a$b", nil }
func (m machine) LockAccounts(context.Context) (func(), error) {
	return func() {}, nil
}
func (m machine) Run(context.Context, sys.Command) (sys.Result, error) {
	m.t.Error("something was run")
	return sys.Result{}, nil
}

func TestCheckComparesWhatIsStated(t *testing.T) {
	c := users.New(machine{t: t}, users.Options{})
	for want, keys := range map[string]string{
		`{}`:         "",
		`{"uid":33}`: "", `{"uid":-1}`: "", `{"uid":34}`: "uid",
		`{"group":"www"}`: "", `{"group":""}`: "", `{"group":"a"}`: "group",
		`{"groups":["b","a"]}`: "", `{"groups":"a, b"}`: "", `{"groups":["a","b","www"]}`: "", `{"groups":[]}`: "", `{"groups":["a"]}`: "groups",
		`{"home":"/var/www","shell":"/bin/sh","gecos":"Web"}`: "", `{"home":"/x"}`: "dir", `{"shell":"/x"}`: "shell", `{"gecos":"x"}`: "gecos",
		`{"passwordHash":"$6$a$b"}`: "", `{"passwordHash":"$6$a$c"}`: "passwordHash",
		`{"system":true,"createHome":true}`: "", `{"ensure":"absent"}`: "present",
	} {
		d, err := c.Check(t.Context(), "web", json.RawMessage(want))
		var got []string
		for key := range d.Expected {
			got = append(got, key)
		}
		if err != nil || strings.Join(got, ",") != keys {
			t.Errorf("Check(%s) = %v, %v, want %q", want, d, err, keys)
		}
		if text, _ := json.Marshal(d); strings.Contains(string(text), "$6$") {
			t.Errorf("Check(%s) tells a hash: %s", want, text)
		}
	}
}

func TestRefusedBeforeAnythingIsDone(t *testing.T) {
	c := users.New(machine{t: t}, users.Options{})
	for want, text := range map[string]string{
		`{"group":"none"}`:                       `group "none" does not exist on this machine; create it first`,
		`{"groups":["none"]}`:                    `group "none" does not exist`,
		`{"groups":["--x"]}`:                     "name of a group",
		`{"groups":{}}`:                          "groups",
		`{"uid":-2}`:                             "out of range",
		`{"uid":4294967295}`:                     "out of range",
		`{"home":"www"}`:                         "absolute",
		`{"shell":"/bin/../x"}`:                  "plain form",
		`{"gecos":"a:b"}`:                        "colon",
		`{"gecos":"a\nb"}`:                       "line break",
		`{"passwordHash":"hunter2"}`:             "clear password is not accepted",
		`{"passwordHash":"$6$a$b\nroot:$6$x$y"}`: "clear password is not accepted",
	} {
		_, err := c.Apply(t.Context(), "web", json.RawMessage(want))
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Apply(%s) = %v, want %q", want, err, text)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	for _, id := range []string{"", "-x", "a:b", "a b", "x;rm", "ü", strings.Repeat("x", 33)} {
		if _, err := c.Apply(t.Context(), id, nil); err == nil || !strings.Contains(err.Error(), "name of a user") {
			t.Errorf("Apply(%q) = %v", id, err)
		}
	}
}

func TestNotUnderARoot(t *testing.T) {
	m, err := sys.New(sys.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := users.New(m, users.Options{})
	_, err1 := c.Apply(t.Context(), "x", nil)
	_, err2 := c.Read(t.Context(), "x")
	_, err3 := c.List(t.Context())
	for _, err := range []error{err1, err2, err3, c.Watch(t.Context(), []string{"x"}, func(string) {})} {
		if !errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
	}
}

const (
	hash1 = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
	hash2 = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
)

func snapshot(t *testing.T) string {
	var all strings.Builder
	for _, f := range []string{"passwd", "group", "shadow", "gshadow"} {
		text, err := os.ReadFile("/etc/" + f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func TestShadowTools(t *testing.T) {
	if !guest.Inside() {
		guest.Boot(t, guest.Options{}).Again(t)
		return
	}
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := users.New(m, users.Options{})
	g := groups.New(m, groups.Options{})
	for _, name := range []string{"staff2", "extra", "samename"} {
		if _, err := g.Apply(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	resourcetest.Run(t, c, resourcetest.Case{
		ID:     "alice",
		Want:   `{"uid":4321,"group":"staff2","groups":["extra","games"],"home":"/srv/alice","shell":"/bin/sh","gecos":"Alice A.","passwordHash":"` + hash1 + `"}`,
		Other:  `{"uid":4322,"group":"extra","groups":["games"],"home":"/srv/al","shell":"/bin/bash","gecos":"Al","passwordHash":"` + hash2 + `"}`,
		Absent: `{"ensure":"absent"}`, Snapshot: snapshot,
	})
	if _, err := os.Stat("/srv/alice"); err != nil {
		t.Errorf("the home is gone with the account: %v", err)
	}
	t.Run("system user", func(t *testing.T) {
		if _, err := c.Apply(t.Context(), "nginx", json.RawMessage(`{"system":true}`)); err != nil {
			t.Fatal(err)
		}
		s, err := c.Read(t.Context(), "nginx")
		if err != nil || s["uid"].(int) >= 1000 || s["group"] != "nginx" {
			t.Errorf("Read = %v, %v", s, err)
		}
		if _, err := os.Stat(s["dir"].(string)); err == nil {
			t.Errorf("a home was made: %v", s["dir"])
		}
	})
	t.Run("a group of the same name", func(t *testing.T) {
		if _, err := c.Apply(t.Context(), "samename", json.RawMessage(`{"createHome":false}`)); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Read(t.Context(), "samename"); err != nil || s["group"] != "samename" {
			t.Errorf("Read = %v, %v", s, err)
		}
	})
	t.Run("a uid that is taken", func(t *testing.T) {
		before := snapshot(t)
		if _, err := c.Apply(t.Context(), "bob", json.RawMessage(`{"uid":0}`)); err == nil || !strings.Contains(err.Error(), "UID 0 is not unique") {
			t.Errorf("Apply = %v", err)
		}
		if snapshot(t) != before {
			t.Error("something changed")
		}
	})
	t.Run("watch", func(t *testing.T) { watches(t, c) })
}

func watches(t *testing.T, c *users.Collection) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() { ended <- c.Watch(ctx, []string{"samename"}, func(id string) { told <- id }) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	shells := []string{"/bin/sh", "/bin/bash"}
	for n := 0; ; n++ {
		select {
		case id := <-told:
			if id != "samename" {
				t.Errorf("told of %q", id)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Watch = %v", err)
			}
			return
		case <-ctx.Done():
			t.Fatal("not told within 60 s")
		case <-tick.C:
			if out, err := exec.Command("usermod", "--shell", shells[n%2], "samename").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("web", []byte(`{"groups":"a,b","uid":1,"passwordHash":"*"}`))
	f.Add("-x", []byte(`{"home":"/../x"}`))
	f.Fuzz(func(t *testing.T, id string, want []byte) {
		c := users.New(machine{t: t}, users.Options{})
		d, err := c.Check(t.Context(), id, want)
		if err == nil && (id == "" || strings.HasPrefix(id, "-") || strings.ContainsAny(id, ":\n /,")) {
			t.Errorf("the name %q was let through", id)
		}
		if len(d.Expected) != len(d.Observed) {
			t.Errorf("Diff = %v", d)
		}
	})
}
