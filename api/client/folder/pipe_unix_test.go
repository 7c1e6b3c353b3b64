//go:build unix

package folder

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe in place of a file is refused, and nobody waits for its other end.
func TestPipeInAFolder(t *testing.T) {
	dir := small(t)
	pipe := filepath.Join(dir, "applications", "web", "files", "motd")
	must(t, os.Remove(pipe), syscall.Mkfifo(pipe, 0o600))
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "not a device or pipe") {
		t.Errorf("%v", err)
	}
}
