package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
)

func TestRunningServerJoins(t *testing.T) {
	t.Parallel()
	first, second := startNode(t, "n1"), startNode(t, "n2")
	pw, token := first.passwordFile(), first.joinToken(first.passwordFile())
	old := textFile(t, "old-password", mustRead(t, second.passwordFile()))
	first.do(pw, "organization", "create", "acme")

	second.do(second.passwordFile(), "cluster", "join", first.cluster, "--token-file", token)
	second.waitLogin(pw) // on the same port
	if out := second.do(pw, "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("n2 has the organizations %q", out)
	}
	first.waitVoters(pw, 2)
	if err := second.login(old); err == nil {
		t.Error("the administrator of before can still log in")
	}
	if _, err := os.Stat(second.passwordFile()); !os.IsNotExist(err) {
		t.Errorf("the password of before is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(second.data, "cluster.before-join")); !os.IsNotExist(err) {
		t.Errorf("the state of before is still there: %v", err)
	}
	if !answers(second.bus) {
		t.Error("agents do not reach n2 any more")
	}
	_, errs, code := muster(t, second.as(pw, "cluster", "join", first.cluster, "--token-file", token)...)
	if code != exitConflict || !strings.Contains(errs, "member of a cluster of 2 nodes") {
		t.Errorf("joining again: status %d, %s", code, errs)
	}
	if code := second.stop(); code != 0 {
		t.Errorf("n2 stopped with %d", code)
	}
	second.start().waitLogin(pw)
}

func TestServerThatHoldsSomethingDoesNotJoin(t *testing.T) {
	t.Parallel()
	first, second := startNode(t, "n1"), startNode(t, "n2")
	token := first.joinToken(first.passwordFile())
	pw := second.passwordFile()
	second.do(pw, "organization", "create", "acme")
	_, errs, code := muster(t, second.as(pw, "cluster", "join", first.cluster, "--token-file", token)...)
	if code != exitConflict || !strings.Contains(errs, "holds 1 organization") || !strings.Contains(errs, "empty its data folder") {
		t.Errorf("status %d, %s", code, errs)
	}
	if out := second.do(pw, "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("afterwards it has the organizations %q", out)
	}
	if st := first.status(first.passwordFile()); len(st.Members) != 1 {
		t.Errorf("the other cluster has members %+v", st.Members)
	}
}

func TestJoinThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	first, second, third := startNode(t, "n1"), startNode(t, "n2"), startNode(t, "n3")
	pw := second.passwordFile()
	foreign := third.joinToken(third.passwordFile())
	before := second.status(pw)
	password := mustRead(t, pw)
	short := textFile(t, "short", first.do(first.passwordFile(), "cluster", "token", "--expires", "1ms"))
	cases := []struct {
		name, addr, token string
		want              string
	}{
		{"no token at all", first.cluster, textFile(t, "token", "swordfish\n"), "this is no join token"},
		{"a token of another cluster", first.cluster, foreign, "goes on as before"},
		{"a token that expired", first.cluster, short, "expired at"},
		{"no address", "n1", foreign, "is not a member's cluster address"},
	}
	for _, c := range cases {
		_, errs, code := muster(t, second.as(pw, "cluster", "join", c.addr, "--token-file", c.token)...)
		if code != exitFailed || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %s", c.name, code, errs)
		}
		second.waitLogin(pw)
		if !answers(second.bus) {
			t.Errorf("%s: agents do not reach it any more", c.name)
		}
	}
	after := second.status(pw)
	if len(after.Members) != 1 || after.Epoch != before.Epoch || mustRead(t, pw) != password {
		t.Errorf("it was %+v, it is %+v", before, after)
	}
	if strings.Contains(filesBelow(t, second.data), "before-join") {
		t.Error("the folder of before is not back in place")
	}
	if st := first.status(first.passwordFile()); len(st.Members) != 1 {
		t.Errorf("the other cluster has members %+v", st.Members)
	}
	second.do(pw, "organization", "create", "acme")
	if code := second.stop(); code != 0 {
		t.Errorf("it stopped with %d", code)
	}
	second.start().waitLogin(pw)
	if out := second.do(pw, "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("after a restart it has the organizations %q", out)
	}
}

// A server that is ended in the middle of a join comes back as it was before, or as a member of the new cluster.
func TestJoinCutOff(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n1")
	pw := n.passwordFile()
	c, err := n.client(pw)
	if err != nil {
		t.Fatal(err)
	}
	epoch := n.status(pw).Epoch
	n.stop()
	cluster, aside := filepath.Join(n.data, "cluster"), filepath.Join(n.data, "cluster.before-join")
	if err := os.Rename(cluster, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(cluster, 0o700); err != nil { // the new node had come no further than its lock
		t.Fatal(err)
	}
	n.start().waitLogin(pw)
	if now := n.status(pw).Epoch; now != epoch {
		t.Errorf("the epoch was %d, it is %d: this is another cluster", epoch, now)
	}
	n.stop()

	// Cut off after it: node.json is what makes a member.
	if err := os.CopyFS(aside, os.DirFS(cluster)); err != nil {
		t.Fatal(err)
	}
	n.start()
	eventually(t, "an answer", func() bool { return c.Call(t.Context(), client.Op{Name: "cluster.show"}, nil) == nil })
	for _, path := range []string{aside, pw} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestServerWithAWrongTokenLeavesNoMember(t *testing.T) {
	t.Parallel()
	first := startNode(t, "n1")
	n := newNode(t, "n2", "--join", first.cluster, "--token-file", textFile(t, "token", "swordfish")).start()
	if code := n.wait(); code != exitFailed || !strings.Contains(n.stderr.String(), "this is no join token") {
		t.Errorf("status %d, %s", code, n.stderr.String())
	}
	n.args = append(n.args, "--token-file", first.joinToken(first.passwordFile()))
	n.start().waitLogin(first.passwordFile())
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
