package orchestrate

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// states are the expected and the current state of a compliance error as the API shows them. An agent tells only
// what differs; the rest, which is as described, is filled in from the description, as the published client
// prints nothing of a file without "present".
func states(r state.Reader, c *model.ComplianceRow) (expected, current json.RawMessage) {
	want := described(r, c)
	expected = overlay(want, c.Expected)
	var differs, found map[string]json.RawMessage
	if json.Unmarshal(c.Expected, &differs) != nil || json.Unmarshal(c.Observed, &found) != nil {
		return expected, c.Observed
	}
	for key := range differs { // what was found there is for the agent to say
		delete(want, key)
	}
	for _, key := range []string{"present", "installed"} {
		if string(found[key]) == "false" { // what is not there has no owner
			keep := map[string]any{}
			for _, name := range []string{"name", "path"} {
				if v, ok := want[name]; ok {
					keep[name] = v
				}
			}
			want = keep
		}
	}
	return expected, overlay(want, c.Observed)
}

// overlay is base with the fields of over, which are the agent's words and win.
func overlay(base map[string]any, over json.RawMessage) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(over, &m) != nil {
		return over
	}
	all := maps.Clone(base)
	if all == nil {
		all = map[string]any{}
	}
	for key, v := range m {
		all[key] = v
		// The words of contract section 3.6 where the agent has its own.
		switch key {
		case "home":
			all["dir"] = v
		case "group":
			if _, user := base["gecos"]; user {
				all["gid"] = v
			}
		}
	}
	return toJSON(all)
}

// described is what the application says of a resource, in the words of contract section 3.6; nil when it says
// nothing of it any more.
func described(r state.Reader, c *model.ComplianceRow) map[string]any {
	app, ok := state.Get[model.ApplicationRow](r, c.AppID)
	if !ok {
		return nil
	}
	doc := &app.Document
	switch c.Type {
	case model.TypeFiles:
		for i := range doc.Files {
			if f := &doc.Files[i]; f.Name == c.Name {
				return placedState(f.Path, f.Owner, f.Group, f.Mode)
			}
		}
	case model.TypeDirectories:
		for i := range doc.Directories {
			if d := &doc.Directories[i]; d.Name == c.Name {
				return placedState(d.Path, d.Owner, d.Group, d.Mode)
			}
		}
	case model.TypeServices:
		for i := range doc.Services {
			if s := &doc.Services[i]; s.Name == c.Name {
				return serviceState(r, c, s)
			}
		}
	case model.TypePackages:
		return map[string]any{"installed": true}
	case model.TypeUsers:
		for i := range doc.Users {
			if u := &doc.Users[i]; u.Name == c.Name {
				return userState(u)
			}
		}
	case model.TypeGroups:
		out := map[string]any{"present": true, "name": c.Name}
		for i := range doc.Groups {
			if doc.Groups[i].Name == c.Name {
				setID(out, "gid", doc.Groups[i].GID)
			}
		}
		return out
	}
	return nil
}

// placedState is of a file or directory; the mode has four digits, as agents write it.
func placedState(path, owner, group, mode string) map[string]any {
	out := map[string]any{"present": true, "path": path}
	set(out, "owner", owner)
	set(out, "group", group)
	if mode != "" {
		out["mode"] = strings.Repeat("0", max(0, 4-len(mode))) + mode
	}
	return out
}

func serviceState(r state.Reader, c *model.ComplianceRow, s *model.Service) map[string]any {
	on := s.Enabled
	for _, ctx := range contextsByPosition(r, c.HostID) {
		if ctx.AppID == c.AppID {
			on = enabled(ctx, s)
		}
	}
	return map[string]any{"running": on, "enabled": on}
}

func userState(u *model.UserResource) map[string]any {
	out := map[string]any{"present": true, "name": u.Name, "groups": u.Groups, "dir": u.Home, "shell": u.Shell, "gecos": u.FullName}
	if u.Groups == nil {
		out["groups"] = []string{}
	}
	if u.UID != nil && *u.UID >= 0 {
		out["uid"] = strconv.Itoa(*u.UID)
	}
	set(out, "gid", u.LoginGroup)
	if _, named := out["gid"]; !named && u.GID != nil && *u.GID >= 0 {
		out["gid"] = strconv.Itoa(*u.GID)
	}
	return out
}
