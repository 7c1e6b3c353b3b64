package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Deb is a tiny package to build.
type Deb struct {
	Name, Version string
	// Depends is the control field; "" is none.
	Depends string
	// Files maps absolute paths to contents; one that holds a path below /etc is a configuration file.
	// Those below a bin or sbin directory are executable.
	Files map[string]string
	// Scripts maps "preinst", "postinst", "prerm", "postrm" to contents.
	Scripts map[string]string
}

// Repo is a flat, trusted apt repository in a directory of the host.
type Repo struct{ Dir string }

// NewRepo makes an empty repository. It skips the test where Debian's tools for it are missing.
func NewRepo(t testing.TB) *Repo {
	t.Helper()
	for _, tool := range []string{"dpkg-deb", "dpkg-scanpackages"} {
		if _, err := exec.LookPath(tool); err != nil {
			Skip(t, tool+" is not installed (package dpkg-dev)")
		}
	}
	r := &Repo{Dir: t.TempDir()}
	if err := r.index(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Add builds a package and adds it.
func (r *Repo) Add(t testing.TB, d Deb) {
	t.Helper()
	tree := t.TempDir()
	if err := d.unpack(tree); err != nil {
		t.Fatalf("package %s: %v", d.Name, err)
	}
	file := filepath.Join(r.Dir, fmt.Sprintf("%s_%s_all.deb", d.Name, strings.ReplaceAll(d.Version, ":", "%3a")))
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, file).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	if err := r.index(); err != nil {
		t.Fatal(err)
	}
}

func (d Deb) unpack(tree string) error {
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: made by a test\n",
		d.Name, d.Version)
	if d.Depends != "" {
		control += "Depends: " + d.Depends + "\n"
	}
	write := func(name, content string, mode os.FileMode) error {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	}
	if err := os.Chmod(tree, 0o755); err != nil {
		return err
	}
	if err := write("DEBIAN/control", control, 0o644); err != nil {
		return err
	}
	var conffiles string
	for name, content := range d.Files {
		mode := os.FileMode(0o644)
		if dir := filepath.Base(filepath.Dir(name)); dir == "bin" || dir == "sbin" {
			mode = 0o755
		}
		if strings.HasPrefix(name, "/etc/") {
			conffiles += name + "\n"
		}
		if err := write(name, content, mode); err != nil {
			return err
		}
	}
	if conffiles != "" {
		if err := write("DEBIAN/conffiles", conffiles, 0o644); err != nil {
			return err
		}
	}
	for name, content := range d.Scripts {
		if err := write("DEBIAN/"+name, content, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) index() error {
	cmd := exec.Command("dpkg-scanpackages", "-m", ".")
	cmd.Dir = r.Dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("dpkg-scanpackages: %w", err)
	}
	return os.WriteFile(filepath.Join(r.Dir, "Packages"), out, 0o644)
}

// Fetch adds Debian's own packages of these names, with all they depend on beyond the guests' base. It
// downloads them from the host's package sources.
func (r *Repo) Fetch(t testing.TB, names ...string) {
	t.Helper()
	lower, err := base()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		t.Fatalf("mount the overlay: %v", err)
	}
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()
	if err := copyFile("/etc/resolv.conf", filepath.Join(root, "etc/resolv.conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.hostSettings(root)
	for _, argv := range [][]string{
		{"apt-get", "-q", "update"},
		append([]string{"apt-get", "-y", "-q", "--no-install-recommends", "--download-only", "-o", "APT::Keep-Downloaded-Packages=true", "install", "--"}, names...),
	} {
		cmd := exec.Command("chroot", append([]string{root}, argv...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("download %v: %v\n%s", names, err, out)
		}
	}
	debs, err := filepath.Glob(filepath.Join(root, "var/cache/apt/archives/*.deb"))
	if err != nil || len(debs) == 0 {
		t.Fatalf("download %v: no package came (%v)", names, err)
	}
	for _, deb := range debs {
		if err := copyFile(deb, filepath.Join(r.Dir, filepath.Base(deb)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.index(); err != nil {
		t.Fatal(err)
	}
}

// hostSettings copies the host's apt settings, which may name a proxy; without them apt may find
// nothing.
func (r *Repo) hostSettings(root string) {
	for _, pattern := range []string{"/etc/apt/apt.conf.d/*", "/etc/apt/apt.conf"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err == nil && strings.Contains(strings.ToLower(string(text)), "acquire::http") {
				_ = copyFile(f, filepath.Join(root, f), 0o644)
			}
		}
	}
}

// Use copies the repository into the guest and makes it the only package source there. The guest's apt
// does not know its contents before its next update. Use again after a change.
func (r *Repo) Use(t testing.TB, g *Guest) {
	t.Helper()
	files, err := os.ReadDir(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		g.Put(t, filepath.Join(r.Dir, f.Name()), "/srv/repo/"+f.Name(), 0o644)
	}
	r.source(t, g, "file:/srv/repo")
}

// UseURL makes an address that serves Dir the guest's only package source.
func (r *Repo) UseURL(t testing.TB, g *Guest, url string) {
	t.Helper()
	r.source(t, g, url)
}

func (r *Repo) source(t testing.TB, g *Guest, url string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(g.Root, "etc/apt/sources.list.d/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(old, filepath.Join(g.Root, "etc/apt/sources.list")) {
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	line := "deb [trusted=yes] " + url + " ./\n"
	if err := os.WriteFile(filepath.Join(g.Root, "etc/apt/sources.list.d/test.list"), []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
}
