package guest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGuestRunsSystemdAndReachesOnlyOutwards(t *testing.T) {
	n := NewNetwork(t)
	g := Boot(t, Options{Network: n, OutwardOnly: true, Hostname: "web1"})
	if out := g.Must(t, "hostname"); strings.TrimSpace(out) != "web1" {
		t.Errorf("hostname = %q", out)
	}
	l, err := n.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	c, err := g.Dial(l.Addr().String())
	if err != nil {
		t.Fatalf("connect outwards: %v", err)
	}
	defer c.Close()
	if text, err := io.ReadAll(c); err != nil || string(text) != "hello" {
		t.Errorf("read %q, %v", text, err)
	}
	// The kernel must drop it: a refused connection would mean that it came in.
	out, err := n.Command("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+g.Address+"/22").CombinedOutput()
	if err == nil || strings.Contains(string(out), "refused") {
		t.Errorf("connecting towards the guest: %v, %s, want no answer", err, out)
	}
}

func TestRepoServesAGuest(t *testing.T) {
	r := NewRepo(t)
	r.Add(t, Deb{Name: "hello-test", Version: "1.0", Files: map[string]string{"/usr/bin/hello-test": "#!/bin/sh\necho hi\n"}})
	g := Boot(t, Options{})
	r.Use(t, g)
	g.Must(t, "apt-get", "-q", "update")
	g.Must(t, "apt-get", "-y", "-q", "install", "hello-test=1.0")
	if out := g.Must(t, "hello-test"); out != "hi\n" {
		t.Errorf("hello-test printed %q", out)
	}
}

func TestCloseTakesEverythingAway(t *testing.T) {
	g := Boot(t, Options{})
	root, name := g.Root, g.Name
	g.Close()
	if _, err := os.Stat(filepath.Join(root, "etc")); err == nil {
		t.Error("the root is still mounted")
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + name); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
	g.Close() // again, harmless
}
