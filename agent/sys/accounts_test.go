package sys_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/muster-hq/muster/agent/sys"
)

const passwd = "root:x:0:0:root:/root:/bin/bash\nbroken line\nweb:x:33:44:Web,,,:/var/www:/bin/sh\nhuge:x:99999999999:1:::\n:x:1:1:::\n1000:x:7:7::/:/bin/sh"

func TestAccountsBelowARoot(t *testing.T) {
	m, dir := machine(t, nil)
	put(t, dir+"/etc/passwd", passwd, 0o644)
	put(t, dir+"/etc/group", "root:x:0:\nweb:x:44:a,b\nbad\n", 0o644)
	put(t, dir+"/etc/shadow", "root:*:1:::::\nweb:$6$x$y:1::::::\n", 0o600)
	ctx := t.Context()
	web := sys.User{Name: "web", UID: 33, GID: 44, Gecos: "Web,,,", Home: "/var/www", Shell: "/bin/sh"}
	for name, want := range map[string]sys.User{
		"web": web, "33": web, // by number
		"1000": {Name: "1000", UID: 7, GID: 7, Home: "/", Shell: "/bin/sh"}, // a name that looks like a number wins
		"4242": {Name: "4242", UID: 4242, GID: -1},                          // a number without a name
	} {
		if u, ok, err := m.LookupUser(ctx, name); err != nil || !ok || u != want {
			t.Errorf("LookupUser(%q) = %+v, %v, %v, want %+v", name, u, ok, err, want)
		}
	}
	for _, name := range []string{"nobody-here", "-1", "4294967295", "", "huge"} {
		if u, ok, err := m.LookupUser(ctx, name); ok || err != nil {
			t.Errorf("LookupUser(%q) = %+v, %v, want none", name, u, err)
		}
	}
	if g, ok, err := m.LookupGroup(ctx, "web"); err != nil || !ok || !reflect.DeepEqual(g, sys.Group{Name: "web", GID: 44, Members: []string{"a", "b"}}) {
		t.Errorf("LookupGroup = %+v, %v, %v", g, ok, err)
	}
	if m.UserName(33) != "web" || m.UserName(5) != "5" || m.GroupName(44) != "web" || m.GroupName(5) != "5" {
		t.Error("names of numbers are wrong")
	}
	if h, err := m.PasswordHash("web"); h != "$6$x$y" || err != nil {
		t.Errorf("PasswordHash = %q, %v", h, err)
	}
}

func TestARootWithoutAccountsUsesTheMachines(t *testing.T) {
	m, _ := machine(t, nil)
	if u, ok, err := m.LookupUser(t.Context(), "root"); err != nil || !ok || u.UID != 0 {
		t.Errorf("LookupUser(root) = %+v, %v, %v", u, ok, err)
	}
}

func TestLockAccountsLetsOneInAndEndsWithTheContext(t *testing.T) {
	m, _ := machine(t, nil)
	unlock, err := m.LockAccounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.LockAccounts(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("second LockAccounts = %v", err)
	}
	unlock()
	unlock, err = m.LockAccounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte(passwd))
	f.Add([]byte("g:x:1:a,b\r\n:::\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, u := range sys.ParsePasswd(text) {
			if u.Name == "" || u.UID < 0 || u.GID < 0 {
				t.Errorf("%+v", u)
			}
		}
		for _, g := range sys.ParseGroup(text) {
			if g.Name == "" || g.GID < 0 {
				t.Errorf("%+v", g)
			}
		}
	})
}
