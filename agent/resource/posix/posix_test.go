package posix_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/posix"
	"github.com/muster-hq/muster/agent/sys"
)

// accounts is a machine with the user and group "web", 33 and 44.
type accounts struct{ unprivileged bool }

func (a accounts) Unprivileged() bool { return a.unprivileged }
func (accounts) LookupUser(_ context.Context, name string) (sys.User, bool, error) {
	return sys.User{Name: "web", UID: 33}, name == "web", nil
}
func (accounts) LookupGroup(_ context.Context, name string) (sys.Group, bool, error) {
	return sys.Group{Name: "web", GID: 44}, name == "web", nil
}
func (accounts) UserName(uid int) string  { return map[int]string{0: "root", 33: "web"}[uid] }
func (accounts) GroupName(gid int) string { return map[int]string{0: "root", 44: "web"}[gid] }

func TestResolveNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ owner, group, mode, text string }{
		{"x", "", "", `user "x" does not exist on this machine; create it first or change owner`},
		{"", "x", "", `group "x" does not exist on this machine; create it first or change group`},
		{"", "", "9", `mode "9"`}, {"", "", "888", "octal"}, {"", "", "-644", "octal"}, {"", "", "+644", "octal"},
		{"", "", "100644", "octal"}, {"", "", "rw-r--r--", "octal"}, {"", "", "0o644", "octal"}, {"", "", "77777", "octal"},
	} {
		for _, unprivileged := range []bool{false, true} {
			if _, err := posix.Resolve(t.Context(), accounts{unprivileged}, c.owner, c.group, c.mode); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Resolve(%+v) = %v, want %q", c, err, c.text)
			}
		}
	}
}

func TestCompareAsNumbers(t *testing.T) {
	for _, c := range []struct {
		mode string
		perm uint32
		same bool
	}{{"644", 0o644, true}, {"0644", 0o644, true}, {"00644", 0o644, true}, {"4755", 0o4755, true}, {"755", 0o4755, false}, {"000", 0, true}} {
		st, err := posix.Resolve(t.Context(), accounts{}, "", "", c.mode)
		if err != nil {
			t.Fatal(err)
		}
		var d resource.Diff
		st.Compare(accounts{}, sys.Info{Perm: c.perm}, &d)
		if d.Empty() != c.same {
			t.Errorf("mode %s against %o: %v", c.mode, c.perm, d)
		}
	}
	st, err := posix.Resolve(t.Context(), accounts{}, "web", "web", "600")
	if err != nil {
		t.Fatal(err)
	}
	var d resource.Diff
	st.Compare(accounts{}, sys.Info{Perm: 0o4755}, &d)
	want := resource.Diff{Expected: resource.State{"owner": "web", "group": "web", "mode": "0600"},
		Observed: resource.State{"owner": "root", "group": "root", "mode": "4755"}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("Compare = %+v, want %+v", d, want)
	}
	if st, _ = posix.Resolve(t.Context(), accounts{unprivileged: true}, "web", "web", ""); st.UID != -1 || st.GID != -1 {
		t.Errorf("unprivileged: %+v, want no owner", st)
	}
}

type calls struct {
	done []string
	fail error
}

func (c *calls) Chown(string, int, int) error { c.done = append(c.done, "chown"); return c.fail }
func (c *calls) Chmod(_ string, p uint32) error {
	c.done = append(c.done, "chmod "+posix.FormatMode(p))
	return nil
}

func TestSetChownsFirstAndPutsSetuidBack(t *testing.T) {
	for _, c := range []struct {
		mode string
		info sys.Info
		want []string
	}{
		{"", sys.Info{UID: 33, Perm: 0o644}, nil},
		{"", sys.Info{UID: 0, Perm: 0o644}, []string{"chown"}},
		{"", sys.Info{UID: 0, Perm: 0o4755}, []string{"chown", "chmod 4755"}},
		{"600", sys.Info{UID: 0, Perm: 0o644}, []string{"chown", "chmod 0600"}},
		{"600", sys.Info{UID: 33, Perm: 0o644}, []string{"chmod 0600"}},
	} {
		st, err := posix.Resolve(t.Context(), accounts{}, "web", "", c.mode)
		if err != nil {
			t.Fatal(err)
		}
		var s calls
		if err := st.Set(&s, "/f", c.info); err != nil || !reflect.DeepEqual(s.done, c.want) {
			t.Errorf("Set(%+v) did %v, %v, want %v", c, s.done, err, c.want)
		}
		s = calls{fail: errors.New("boom")}
		if err := st.Set(&s, "/f", sys.Info{}); !errors.Is(err, s.fail) || len(s.done) != 1 {
			t.Errorf("Set went on after chown failed: %v, %v", s.done, err)
		}
	}
}

func FuzzParseMode(f *testing.F) {
	f.Add("0644")
	f.Add("+4_755")
	f.Fuzz(func(t *testing.T, text string) {
		perm, err := posix.ParseMode(text)
		if err != nil {
			return
		}
		if again, err := posix.ParseMode(posix.FormatMode(perm)); err != nil || again != perm || perm > 0o7777 {
			t.Errorf("%q is %o, written %s, read %o, %v", text, perm, posix.FormatMode(perm), again, err)
		}
	})
}
