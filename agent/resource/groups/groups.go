// Package groups is the collection of groups of the local files, changed by the shadow tools. The id is
// the group's name.
package groups

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine.
type System interface {
	Confined() bool
	Groups() ([]sys.Group, error)
	LockAccounts(ctx context.Context) (func(), error)
	Run(ctx context.Context, c sys.Command) (sys.Result, error)
	Watch(ctx context.Context, names []string, changed func(name string)) error
}

// Options of New.
type Options struct{}

// Collection implements resource.Collection, resource.Watcher and resource.Lister.
type Collection struct{ sys System }

// New makes the collection on a machine.
func New(s System, _ Options) *Collection { return &Collection{sys: s} }

// Name is "groups".
func (c *Collection) Name() string { return "groups" }

// Want holds the attributes an owner may state.
type Want struct {
	// Ensure is "present" or "absent".
	Ensure string `json:"ensure"`
	// GID is the number; -1 is not stated.
	GID *int `json:"gid"`
	// System takes the number of a new group from the system's range; it is not compared.
	System bool `json:"system"`
}

const maxID = 1<<32 - 2

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?$`)

func parse(id string, raw json.RawMessage) (Want, error) {
	var w Want
	if !nameForm.MatchString(id) {
		return w, fmt.Errorf("%q cannot be the name of a group; use a letter, then letters, digits and _ . - (32 at most)", id)
	}
	if err := resource.Decode(raw, &w); err != nil {
		return w, err
	}
	var err error
	if w.Ensure, err = resource.Ensure(w.Ensure, resource.Present, resource.Absent); err != nil {
		return w, err
	}
	if w.GID != nil && *w.GID == -1 {
		w.GID = nil
	}
	if w.GID != nil && (*w.GID < 0 || *w.GID > maxID) {
		return w, fmt.Errorf("gid %d is out of range", *w.GID)
	}
	return w, nil
}

func (c *Collection) want(id string, raw json.RawMessage) (Want, error) {
	if c.sys.Confined() {
		return Want{}, fmt.Errorf("group %s: %w", id, resource.ErrUnavailable)
	}
	w, err := parse(id, raw)
	if err != nil {
		return w, fmt.Errorf("group %s: %w", id, err)
	}
	return w, nil
}

func (c *Collection) observe(id string) (sys.Group, bool, error) {
	all, err := c.sys.Groups()
	if err != nil {
		return sys.Group{}, false, fmt.Errorf("group %s: %w", id, err)
	}
	if i := slices.IndexFunc(all, func(g sys.Group) bool { return g.Name == id }); i >= 0 {
		return all[i], true, nil
	}
	return sys.Group{}, false, nil
}

// Read tells name, gid and members.
func (c *Collection) Read(_ context.Context, id string) (resource.State, error) {
	if _, err := c.want(id, nil); err != nil {
		return nil, err
	}
	g, there, err := c.observe(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return resource.State{"present": false, "name": id}, nil
	}
	return resource.State{"present": true, "name": id, "gid": g.GID, "members": append([]string{}, g.Members...)}, nil
}

// Check compares with /etc/group.
func (c *Collection) Check(_ context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.want(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	return c.compare(id, w)
}

func (c *Collection) compare(id string, w Want) (resource.Diff, error) {
	var d resource.Diff
	g, there, err := c.observe(id)
	if err != nil {
		return d, err
	}
	if absent := w.Ensure == resource.Absent; absent || !there {
		if absent == there {
			d.Add("present", !absent, there)
		}
		return d, nil
	}
	if w.GID != nil && *w.GID != g.GID {
		d.Add("gid", *w.GID, g.GID)
	}
	return d, nil
}

// Apply makes, renumbers or removes the group. Files of the old number keep it.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.want(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	unlock, err := c.sys.LockAccounts(ctx)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("group %s: %w", id, err)
	}
	defer unlock()
	d, err := c.compare(id, w)
	if err != nil || d.Empty() {
		return d, err
	}
	if err := c.change(ctx, id, w, d); err != nil {
		return resource.Diff{}, fmt.Errorf("group %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) change(ctx context.Context, id string, w Want, d resource.Diff) error {
	var argv []string
	_, create := d.Expected["present"]
	switch {
	case w.Ensure == resource.Absent:
		argv = []string{"groupdel"}
	case create:
		argv = []string{"groupadd"}
		if w.System {
			argv = append(argv, "--system")
		}
	default:
		argv = []string{"groupmod"}
	}
	if w.GID != nil && w.Ensure != resource.Absent {
		argv = append(argv, "--gid", strconv.Itoa(*w.GID))
	}
	// A tool that is killed leaves its lock file behind, so it may outlive the agent.
	r, err := c.sys.Run(ctx, sys.Command{Argv: append(argv, "--", id), Outlives: true})
	if err != nil {
		return err
	}
	if r.ExitCode != 0 {
		return fmt.Errorf("%s failed (status %d): %s", argv[0], r.ExitCode, strings.TrimSpace(r.Stderr))
	}
	return nil
}

// Watch reports every id whenever /etc/group was replaced.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	if c.sys.Confined() {
		return fmt.Errorf("groups: %w", resource.ErrUnavailable)
	}
	return c.sys.Watch(ctx, []string{"/etc/group"}, func(string) {
		for _, id := range ids {
			changed(id)
		}
	})
}

// List names the groups of /etc/group.
func (c *Collection) List(context.Context) ([]string, error) {
	if c.sys.Confined() {
		return nil, fmt.Errorf("groups: %w", resource.ErrUnavailable)
	}
	all, err := c.sys.Groups()
	names := make([]string, 0, len(all))
	for _, g := range all {
		names = append(names, g.Name)
	}
	return names, err
}
