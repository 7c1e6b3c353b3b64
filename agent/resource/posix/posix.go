// Package posix is what files and directories have in common: owner, group and mode as an owner states
// them, resolved on the machine and compared with what is there.
package posix

import (
	"context"
	"fmt"
	"strconv"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what is needed of the machine.
type System interface {
	Unprivileged() bool
	LookupUser(ctx context.Context, name string) (sys.User, bool, error)
	LookupGroup(ctx context.Context, name string) (sys.Group, bool, error)
	UserName(uid int) string
	GroupName(gid int) string
}

// Stated is what an owner stated. UID and GID are -1, Perm is nil, when not stated. On a machine that
// is unprivileged UID and GID are always -1: the names were checked, and that is all.
type Stated struct {
	UID, GID int
	Perm     *uint32
	owner    string
	group    string
}

// Resolve checks the words of a want; "" is not stated. An owner or group is a name or a number.
func Resolve(ctx context.Context, s System, owner, group, mode string) (Stated, error) {
	st := Stated{UID: -1, GID: -1, owner: owner, group: group}
	if mode != "" {
		perm, err := ParseMode(mode)
		if err != nil {
			return st, err
		}
		st.Perm = &perm
	}
	if owner != "" {
		user, ok, err := s.LookupUser(ctx, owner)
		if err != nil {
			return st, err
		}
		if !ok {
			return st, fmt.Errorf("user %q does not exist on this machine; create it first or change owner", owner)
		}
		st.UID = user.UID
	}
	if group != "" {
		g, ok, err := s.LookupGroup(ctx, group)
		if err != nil {
			return st, err
		}
		if !ok {
			return st, fmt.Errorf("group %q does not exist on this machine; create it first or change group", group)
		}
		st.GID = g.GID
	}
	if s.Unprivileged() {
		st.UID, st.GID = -1, -1
	}
	return st, nil
}

// ParseMode reads an octal mode of up to five digits, with setuid, setgid and sticky: "644", "0644",
// "4755".
func ParseMode(text string) (uint32, error) {
	perm, err := strconv.ParseUint(text, 8, 32)
	if err != nil || perm > 0o7777 || len(text) < 3 || len(text) > 5 || text[0] == '+' {
		return 0, fmt.Errorf("mode %q is not an octal number such as 644 or 0755", text)
	}
	return uint32(perm), nil
}

// FormatMode writes a mode as Read tells it: four octal digits.
func FormatMode(perm uint32) string { return fmt.Sprintf("%04o", perm) }

// Compare adds to d what differs.
func (st Stated) Compare(s System, i sys.Info, d *resource.Diff) {
	if st.UID >= 0 && st.UID != int(i.UID) {
		d.Add("owner", st.owner, s.UserName(int(i.UID)))
	}
	if st.GID >= 0 && st.GID != int(i.GID) {
		d.Add("group", st.group, s.GroupName(int(i.GID)))
	}
	if st.Perm != nil && *st.Perm != i.Perm {
		d.Add("mode", FormatMode(*st.Perm), FormatMode(i.Perm))
	}
}

// Setter changes what is there already.
type Setter interface {
	Chown(name string, uid, gid int) error
	Chmod(name string, perm uint32) error
}

// Set makes owner, group and mode of name as stated. The owner comes first, since chown takes setuid
// and setgid away; they are put back where no mode is stated.
func (st Stated) Set(s Setter, name string, i sys.Info) error {
	perm := i.Perm
	if st.Perm != nil {
		perm = *st.Perm
	}
	owned := (st.UID < 0 || st.UID == int(i.UID)) && (st.GID < 0 || st.GID == int(i.GID))
	if !owned {
		if err := s.Chown(name, st.UID, st.GID); err != nil {
			return fmt.Errorf("set owner and group: %w", err)
		}
	}
	if perm != i.Perm || (!owned && perm&0o6000 != 0) {
		if err := s.Chmod(name, perm); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	return nil
}

// Attr is how a new thing is made: as stated, with perm where no mode is stated.
func (st Stated) Attr(perm uint32) sys.Attr {
	if st.Perm != nil {
		perm = *st.Perm
	}
	return sys.Attr{Perm: perm, UID: st.UID, GID: st.GID}
}

// Describe is the state of something that exists, in the words of contract section 3.6.
func Describe(s System, name string, i sys.Info) resource.State {
	const form = "2006-01-02T15:04:05.000-0700"
	return resource.State{
		"present": true, "path": name, "owner": s.UserName(int(i.UID)), "group": s.GroupName(int(i.GID)),
		"mode": FormatMode(i.Perm), "creationTime": i.Changed.UTC().Format(form), "modificationTime": i.Modified.UTC().Format(form),
	}
}
