package main

import (
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func TestServerOnAnEmptyFolder(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n1")
	info, err := os.Stat(n.passwordFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v, %v; expected mode 0600", info, err)
	}
	password, err := readSecret(n.passwordFile())
	if err != nil || len(password) < 20 {
		t.Errorf("the password has %d characters, %v", len(password), err)
	}
	if strings.Contains(n.stderr.String(), password) {
		t.Error("the password is in the log")
	}
	st := n.status(n.passwordFile())
	if st.Node != "n1" || st.Leader != "n1" || len(st.Members) != 1 || !st.Members[0].Voter || st.Members[0].State != "leader" || st.Tolerance != 0 {
		t.Errorf("the status is %+v", st)
	}
	if out := n.do(n.passwordFile(), "cluster", "status"); !strings.Contains(out, "n1") || !strings.Contains(out, "leader") {
		t.Errorf("the table is\n%s", out)
	}
	if _, errs, code := muster(t, n.as(textFile(t, "pw", "wrong\n"), "cluster", "status")...); code != exitNotAllowed {
		t.Errorf("a wrong password: status %d, %s", code, errs)
	}
	if _, errs, code := muster(t, n.as(n.passwordFile(), "cluster", "leave")...); code != exitConflict || !strings.Contains(errs, "only member") {
		t.Errorf("the only member left: status %d, %s", code, errs)
	}
	second := begin(t, n.args...)
	if code := second.wait(); code != exitFailed || !strings.Contains(second.stderr.String(), "--http") {
		t.Errorf("a second server with the same ports: status %d, %s", code, second.stderr.String())
	}
	if err := n.login(n.passwordFile()); err != nil {
		t.Errorf("afterwards nobody can log in: %v", err)
	}
	n.do(n.passwordFile(), "organization", "create", "acme")
	if code := n.stop(); code != 0 {
		t.Errorf("it stopped with %d", code)
	}
	n.start().waitLogin(n.passwordFile())
	if out := n.do(n.passwordFile(), "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("after a restart the organizations are %q", out)
	}
}

// Another server on the folder must not get at it, whatever ports it has, and must not harm the first.
func TestSecondServerOnAFolder(t *testing.T) {
	n := startNode(t, "n1")
	other := newNode(t, "n1", "--data", n.data).start()
	if code := other.wait(); code != exitFailed || !strings.Contains(other.stderr.String(), "in use by another server") {
		t.Errorf("status %d, %s", code, other.stderr.String())
	}
	if err := n.login(n.passwordFile()); err != nil {
		t.Errorf("the first server: %v", err)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	file := textFile(t, "file", "")
	n := newNode(t, "n1", "--data", filepath.Join(file, "data")).start()
	if code := n.wait(); code != exitFailed || !strings.Contains(n.stderr.String(), "--data") {
		t.Errorf("status %d, %s", code, n.stderr.String())
	}
	if answers(n.http) || answers(n.bus) {
		t.Error("its ports are still open")
	}
}

func TestThreeNodesByJoin(t *testing.T) {
	t.Parallel()
	first := startNode(t, "n1")
	pw := first.passwordFile()
	token := first.joinToken(pw)
	nodes := []*node{first}
	for _, name := range []string{"n2", "n3"} {
		n := newNode(t, name, "--join", first.cluster, "--token-file", token).start()
		n.waitLogin(pw)
		if _, err := os.Stat(n.passwordFile()); !os.IsNotExist(err) {
			t.Errorf("%s has an administrator's password of its own: %v", name, err)
		}
		nodes = append(nodes, n)
	}
	first.waitVoters(pw, 3)
	if st := nodes[2].status(pw); st.Node != "n3" || len(st.Members) != 3 || st.Tolerance != 1 {
		t.Errorf("the status on n3 is %+v", st)
	}
	nodes[1].do(pw, "organization", "create", "acme")
	if out := nodes[2].do(pw, "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("n3 has the organizations %q", out)
	}

	// The flags of the first start may stay in the unit, the token is gone by then.
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if code := nodes[1].stop(); code != 0 {
		t.Errorf("n2 stopped with %d", code)
	}
	nodes[1].start().waitLogin(pw)

	// A leader that stops hands over.
	nodes[1].makeLeader(pw, "n1")
	term := nodes[1].status(pw).Term
	if code := first.stop(); code != 0 {
		t.Errorf("n1 stopped with %d", code)
	}
	if strings.Contains(first.stderr.String(), "not handed over") {
		t.Error("n1 kept its leadership")
	}
	nodes[1].waitLogin(pw)
	var st spec.ClusterStatus
	eventually(t, "another leader", func() bool { st = nodes[1].status(pw); return st.Leader != "n1" })
	if st.Term <= term {
		t.Errorf("after n1 stopped the status is %+v, the term was %d", st, term)
	}
	first.start().waitLogin(pw)

	leaves(t, nodes[2], nodes[1], pw)
}

// makeLeader hands the leadership over to a node, wherever it is: a machine that is busy elects now and then.
func (n *node) makeLeader(pw, name string) {
	n.t.Helper()
	eventually(n.t, name+" to lead", func() bool {
		if n.status(pw).Leader == name {
			return true
		}
		_, _, _ = muster(n.t, n.as(pw, "cluster", "transfer-leadership", name)...)
		return false
	})
}

// leaves makes a node leave, which ends it, and starts it again, which it refuses.
func leaves(t *testing.T, n, stays *node, pw string) {
	t.Helper()
	n.do(pw, "cluster", "leave")
	if code := n.wait(); code != 0 || !strings.Contains(n.stderr.String(), "left the cluster") {
		t.Errorf("leaving ended with %d", code)
	}
	stays.waitVoters(pw, 2)
	if st := stays.status(pw); len(st.Members) != 2 {
		t.Errorf("the members are %+v", st.Members)
	}
	n.start()
	if code := n.wait(); code != exitFailed || !strings.Contains(n.stderr.String(), "left its cluster at") || !strings.Contains(n.stderr.String(), "empty it") {
		t.Errorf("the folder of a node that left: status %d", code)
	}
}

func TestThreeNodesBeginTogether(t *testing.T) {
	t.Parallel()
	secret := textFile(t, "secret", "a secret of the installation, the same everywhere\n")
	p := testPorts(t, 12)
	nodes := []*node{nodeOn(t, p[:4], "n1"), nodeOn(t, p[4:8], "n2"), nodeOn(t, p[8:], "n3")}
	join := nodes[0].cluster + "," + nodes[1].cluster + "," + nodes[2].cluster
	for _, n := range nodes {
		n.args = append(n.args, "--bootstrap-expect", "3", "--join", join, "--token-file", secret)
		n.start()
	}
	var pw string
	eventually(t, "one node to have made the administrator", func() bool {
		for _, n := range nodes {
			select {
			case <-n.ended:
				t.Fatalf("%s ended with %d", n.name, n.code)
			default:
			}
			if n.login(n.passwordFile()) == nil {
				pw = n.passwordFile()
			}
		}
		return pw != ""
	})
	for _, n := range nodes {
		n.waitLogin(pw)
		if n.passwordFile() != pw {
			eventually(t, n.name+" to have no password of its own", func() bool {
				_, err := os.Stat(n.passwordFile())
				return os.IsNotExist(err)
			})
		}
	}
	nodes[0].waitVoters(pw, 3)
}

func TestExpectingWithAnEmptySecret(t *testing.T) {
	n := newNode(t, "n1", "--bootstrap-expect", "3", "--join", "127.0.0.1:1", "--token-file", textFile(t, "secret", "\n")).start()
	if code := n.wait(); code != exitFailed || !strings.Contains(n.stderr.String(), "is empty") {
		t.Errorf("status %d, %s", code, n.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(n.data, "cluster", "node.json")); !os.IsNotExist(err) {
		t.Errorf("it became a member: %v", err)
	}
}

func TestConfigFileIsEnough(t *testing.T) {
	p := testPorts(t, 4)
	data := filepath.Join(t.TempDir(), "d")
	file := textFile(t, "muster.yaml", "name: n1\ndata: "+data+"\nhttp: "+p[0]+"\ncluster: "+p[1]+"\ngossip: "+p[2]+"\nbus-listen: "+p[3]+"\nadvertise: 127.0.0.1\n")
	n := &node{t: t, name: "n1", data: data, http: p[0], args: []string{"server", "--config", file}}
	n.start().waitLogin(n.passwordFile())
}

// While a node waits for others it says so, and does not hang.
func TestNodeThatWaitsAnswers503(t *testing.T) {
	secret := textFile(t, "secret", "a secret of the installation, the same everywhere\n")
	n := newNode(t, "n1", "--bootstrap-expect", "3", "--join", "127.0.0.1:1,127.0.0.1:2", "--token-file", secret).start()
	eventually(t, "an answer", func() bool {
		res, err := http.Get("http://" + n.http + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("readyz answers %d", res.StatusCode)
		}
		return true
	})
	if code := n.stop(); code != 0 {
		t.Errorf("it stopped with %d", code)
	}
}

func TestSignalsEndTheBuiltServer(t *testing.T) {
	t.Parallel()
	bin := buildMuster(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		n := newNode(t, "n1")
		cmd := exec.Command(bin, n.args...)
		log := &output{}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		n.program = &program{ended: make(chan struct{})}
		n.waitLogin(n.passwordFile())
		at := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%v ended it with %v:\n%s", sig, err, log)
			}
			t.Logf("it took %s to stop", time.Since(at))
		case <-time.After(patience / 2):
			_ = cmd.Process.Kill()
			t.Fatalf("it did not stop:\n%s", log)
		}
	}
}

// filesBelow are the files of a folder with their sizes, but for what runs.
func filesBelow(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out = append(out, path+" "+strconv.FormatInt(info.Size(), 10))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

// A node that lost its leadership between writing the password and making the administrator must not keep a
// password that opens nothing.
func TestPasswordOfNobodyIsRemoved(t *testing.T) {
	db := statetest.New(t, orchestrate.Tables()...)
	c := serverConfig{Data: t.TempDir()}
	ended := make(chan struct{})
	begin := func() {
		ended = make(chan struct{})
		go func() { defer close(ended); c.dropStalePassword(t.Context(), db.Local, discard()) }()
	}
	if err := writeSecret(c.passwordFile(), "mine\n"); err != nil {
		t.Fatal(err)
	}
	begin()
	hash := auth.HashPassword("another's")
	if err := db.Update(t.Context(), func(tx *state.Tx) error { _, err := orchestrate.FirstStart(tx, adminName, hash); return err }); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := os.Stat(c.passwordFile()); !os.IsNotExist(err) {
		t.Errorf("the file of a password that opens nothing: %v", err)
	}
	if err := writeSecret(c.passwordFile(), "another's\n"); err != nil {
		t.Fatal(err)
	}
	begin()
	<-ended
	if _, err := os.Stat(c.passwordFile()); err != nil {
		t.Errorf("the file of the right password: %v", err)
	}
}
