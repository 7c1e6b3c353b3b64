package guest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tools are the programs that Boot and Network need, with the Debian packages that bring them.
func Tools() map[string]string {
	return map[string]string{"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2", "nsenter": "util-linux"}
}

// Need skips the test, with the reason, unless guests can be booted here. With CI=true it fails it.
func Need(t testing.TB) {
	t.Helper()
	if reason := missing(); reason != "" {
		Skip(t, "no guest can be booted: "+reason)
	}
}

// Skip skips the test, or fails it if the environment says CI=true: a skip there hides a missing step.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("in CI this may not be skipped: %s", reason)
	}
	t.Skip(reason)
}

// missing tries each thing that is needed, and tells the first that does not work.
func missing() string {
	if os.Geteuid() != 0 {
		return "it needs root"
	}
	for tool, pkg := range Tools() {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("%s is not installed (package %s)", tool, pkg)
		}
	}
	if id := release()["ID"]; id != "debian" {
		return fmt.Sprintf("the host is %q, not debian", id)
	}
	if out, err := exec.Command("unshare", "-m", "-n", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("unshare does not work: %s", strings.TrimSpace(string(out)))
	}
	dir, err := os.MkdirTemp("", "overlay")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	for _, d := range []string{"l", "u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err.Error()
		}
	}
	target := filepath.Join(dir, "m")
	err = unix.Mount("overlay", target, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/l,upperdir=%[1]s/u,workdir=%[1]s/w", dir))
	if err != nil {
		return fmt.Sprintf("overlay mounts do not work in %s: %v", os.TempDir(), err)
	}
	_ = unix.Unmount(target, unix.MNT_DETACH)
	return ""
}

func release() map[string]string {
	values := map[string]string{}
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return values
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			values[key] = strings.Trim(value, `"`)
		}
	}
	return values
}

// packages of the base beyond the essential ones.
const basePackages = "systemd,systemd-sysv,dbus,iproute2,udev,procps,passwd,login,netbase,ca-certificates"

// base is the root directory that guests are overlays of. It is made at most once a day by one process,
// while others wait.
func base() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "muster-guest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock: %w", err)
	}
	suite := release()["VERSION_CODENAME"]
	target := filepath.Join(dir, suite+"-"+time.Now().UTC().Format("20060102"))
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	return target, makeBase(dir, suite, target)
}

func makeBase(dir, suite, target string) error {
	if old, err := filepath.Glob(filepath.Join(dir, suite+"-*.new")); err == nil {
		for _, o := range old { // left by one that was cut off
			_ = os.RemoveAll(o)
		}
	}
	if old, err := filepath.Glob(filepath.Join(dir, suite+"-*")); err == nil {
		for _, o := range old { // a test that began before midnight may still use yesterday's
			if info, err := os.Stat(o); err == nil && time.Since(info.ModTime()) > 48*time.Hour {
				_ = os.RemoveAll(o)
			}
		}
	}
	fresh := target + ".new"
	argv := []string{"--variant=minbase", "--include=" + basePackages, `--aptopt=Acquire::Languages "none"`,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", suite, fresh}
	// The host's own sources, since they are known to work here.
	for _, pattern := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if info, err := os.Stat(pattern); err == nil && info.Size() > 0 {
			argv = append(argv, pattern)
			break
		}
	}
	if out, err := exec.Command("mmdebstrap", argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out[max(0, len(out)-2048):])
	}
	now := time.Now() // mmdebstrap sets the time of the release
	if err := os.Chtimes(fresh, now, now); err != nil {
		return err
	}
	return os.Rename(fresh, target)
}
