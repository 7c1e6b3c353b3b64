// Package packages is the collection of Debian packages: state from dpkg, changes by apt. The id is
// the package's name, with ":arch" where needed.
package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine.
type System interface {
	Confined() bool
	Run(ctx context.Context, c sys.Command) (sys.Result, error)
	Watch(ctx context.Context, names []string, changed func(name string)) error
}

// Options of New.
type Options struct {
	// LockWait is how long apt waits for another package manager to end; 0 means 10 minutes.
	LockWait time.Duration
}

// Collection implements resource.Collection, resource.Watcher and resource.Lister. Reads run at any
// time; changes run one at a time.
type Collection struct {
	sys      System
	lockWait time.Duration
	apt      chan struct{} // held by the one that changes
}

// New makes the collection on a machine.
func New(s System, o Options) *Collection {
	if o.LockWait <= 0 {
		o.LockWait = 10 * time.Minute
	}
	return &Collection{sys: s, lockWait: o.LockWait, apt: make(chan struct{}, 1)}
}

// Name is "packages".
func (c *Collection) Name() string { return "packages" }

// The words of ensure beyond resource.Present and resource.Absent.
const (
	// Latest is the newest version that the machine's package sources offer, as far as the machine knows.
	Latest = "latest"
	// Purged is absent, and without its configuration files.
	Purged = "purged"
)

// Want holds the attributes an owner may state.
type Want struct {
	// Ensure is "present", "absent", "latest" or "purged".
	Ensure string `json:"ensure"`
	// Version is exact, as dpkg writes it; "" is any. Only with "present".
	Version string `json:"version"`
}

// A trailing "-" would make apt remove the package.
var (
	nameForm    = regexp.MustCompile(`^[a-z0-9]([a-z0-9+.-]*[a-z0-9+.])?(:[a-z0-9]([a-z0-9-]*[a-z0-9])?)?$`)
	versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+:~-]*$`)
)

func checkName(id string) error {
	if len(id) > 255 || !nameForm.MatchString(id) {
		return fmt.Errorf("%q cannot be the name of a package; use small letters, digits and + - . (Debian policy 5.6.1)", id)
	}
	return nil
}

func parse(id string, raw json.RawMessage) (Want, error) {
	var w Want
	if err := checkName(id); err != nil {
		return w, err
	}
	if err := resource.Decode(raw, &w); err != nil {
		return w, err
	}
	var err error
	if w.Ensure, err = resource.Ensure(w.Ensure, resource.Present, resource.Absent, Latest, Purged); err != nil {
		return w, err
	}
	if w.Version != "" && w.Ensure != resource.Present {
		return w, fmt.Errorf("version is stated with ensure %q; it goes with %q only", w.Ensure, resource.Present)
	}
	if w.Version != "" && !versionForm.MatchString(w.Version) {
		return w, fmt.Errorf("%q cannot be the version of a package; state one exactly as dpkg writes it", w.Version)
	}
	return w, nil
}

func (c *Collection) want(id string, raw json.RawMessage) (Want, error) {
	if c.sys.Confined() {
		return Want{}, fmt.Errorf("package %s: %w", id, resource.ErrUnavailable)
	}
	w, err := parse(id, raw)
	if err != nil {
		return w, fmt.Errorf("package %s: %w", id, err)
	}
	return w, nil
}

// Read tells "installed" and, of an installed package, "version" and "architecture".
func (c *Collection) Read(ctx context.Context, id string) (resource.State, error) {
	if _, err := c.want(id, nil); err != nil {
		return nil, err
	}
	s, err := c.status(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", id, err)
	}
	if !s.installed() {
		return resource.State{"installed": false, "status": s.word}, nil
	}
	return resource.State{"installed": true, "version": s.version, "architecture": s.arch}, nil
}

// Check asks dpkg; for "latest" also apt's index as it is, without fetching a new one.
func (c *Collection) Check(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.want(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, err := c.compare(ctx, id, w)
	if err != nil {
		return d, fmt.Errorf("package %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) compare(ctx context.Context, id string, w Want) (resource.Diff, error) {
	var d resource.Diff
	s, err := c.status(ctx, id)
	if err != nil {
		return d, err
	}
	switch w.Ensure {
	case resource.Absent, Purged:
		if s.installed() || s.broken() {
			d.Add("installed", false, true)
		} else if w.Ensure == Purged && s.word == configFiles {
			d.Add("purged", true, false)
		}
		return d, nil
	}
	if !s.installed() {
		d.Add("installed", true, false)
	}
	switch {
	case w.Version != "" && w.Version != s.version:
		d.Add("version", w.Version, s.version)
	case w.Ensure == Latest && s.installed():
		newest, err := c.candidate(ctx, id)
		if err != nil {
			return d, err
		}
		if newest != "" && newest != s.version {
			d.Add("version", newest, s.version)
		}
	}
	return d, nil
}

// Apply installs, changes the version (also to an older one, when it is stated) or removes. Changed
// configuration files of the machine are kept. Apply refuses what apt would guess: a name it does not
// know, a version it does not have.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.want(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, err := c.apply(ctx, id, w)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("package %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) apply(ctx context.Context, id string, w Want) (resource.Diff, error) {
	select {
	case c.apt <- struct{}{}:
		defer func() { <-c.apt }()
	case <-ctx.Done():
		return resource.Diff{}, fmt.Errorf("wait for another change of packages: %w", ctx.Err())
	}
	d, err := c.compare(ctx, id, w)
	if err != nil || d.Empty() {
		return d, err
	}
	switch w.Ensure {
	case resource.Absent:
		err = c.change(ctx, "remove", id)
	case Purged:
		err = c.change(ctx, "purge", id)
	default:
		err = c.install(ctx, id, w)
	}
	if err != nil {
		return d, err
	}
	left, err := c.compare(ctx, id, w)
	if err == nil && !left.Empty() {
		err = fmt.Errorf("apt ended without an error, but the package is not as wanted: %v instead of %v", left.Observed, left.Expected)
	}
	return d, err
}

func (c *Collection) install(ctx context.Context, id string, w Want) error {
	err := c.offered(ctx, id, w.Version)
	var missing *notOffered
	if errors.As(err, &missing) { // the index may be old, or was never fetched
		if upErr := c.update(ctx); upErr != nil {
			return fmt.Errorf("%w; fetching the list of packages failed too: %w", err, upErr)
		}
		err = c.offered(ctx, id, w.Version)
	}
	if err != nil {
		return err
	}
	if w.Version != "" {
		return c.change(ctx, "install", id+"="+w.Version, "--allow-downgrades")
	}
	err = c.change(ctx, "install", id)
	if err != nil && strings.Contains(err.Error(), "404") { // the index names files that are gone
		if upErr := c.update(ctx); upErr != nil {
			return fmt.Errorf("%w; fetching the list of packages failed too: %w", err, upErr)
		}
		err = c.change(ctx, "install", id)
	}
	return err
}

// statusFile is renamed into place by dpkg at each step of each package.
const statusFile = "/var/lib/dpkg/status"

// Watch reports every id whenever dpkg has changed anything.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	if c.sys.Confined() {
		return fmt.Errorf("packages: %w", resource.ErrUnavailable)
	}
	return c.sys.Watch(ctx, []string{statusFile}, func(string) {
		for _, id := range ids {
			changed(id)
		}
	})
}

// List names the installed packages.
func (c *Collection) List(ctx context.Context) ([]string, error) {
	if c.sys.Confined() {
		return nil, fmt.Errorf("packages: %w", resource.ErrUnavailable)
	}
	return c.installed(ctx)
}
