package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// TestServerOnAFullDisk fills the disk under a server: it ends, and says what to do; with room again it starts and has
// all that it acknowledged.
func TestServerOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mounting a small disk: %v", err)
		}
		t.Skipf("a small disk cannot be mounted here (root is needed): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	n := newNode(t, "n1", "--data", filepath.Join(disk, "data"))
	n.data = filepath.Join(disk, "data")
	n.start().waitLogin(n.passwordFile())
	pw := n.passwordFile()
	c, err := n.client(pw)
	if err != nil {
		t.Fatal(err)
	}
	const before = 10
	for i := range before {
		n.do(pw, "organization", "create", fmt.Sprint("before", i))
	}
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	f.Close()
	acked := before
	for ; acked < 2000; acked++ {
		ctx, cancel := context.WithTimeout(t.Context(), patience) // the end of the server ends it, too
		body := map[string]string{"name": fmt.Sprint("org", acked), "description": strings.Repeat("x", 4096)}
		err := c.Call(ctx, client.Op{Name: "organizations.create", Body: body}, nil)
		cancel()
		if err != nil {
			if code := model.CodeOf(err); code != model.Unknown && code != model.Unavailable && code != model.Internal && !client.IsUnreachable(err) {
				t.Errorf("the write that found no room: %v (%s)", err, code)
			}
			break
		}
	}
	if code := n.wait(); code == 0 || !strings.Contains(n.stderr.String(), "make room") {
		t.Errorf("the server ended with %d", code)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	n.start().waitLogin(pw)
	names := strings.Fields(n.do(pw, "organization", "list", "-o", "name"))
	if len(names) < acked || len(names) > acked+1 {
		t.Errorf("%d organizations were acknowledged, %d are there", acked, len(names))
	}
	t.Logf("%d acknowledged", acked)
}
