package sys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// User is an entry of the passwd database.
type User struct {
	Name     string
	UID, GID int
	Gecos    string
	Home     string
	Shell    string
}

// Group is an entry of the group database. Members holds no one for whom it is the primary group.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// accountLimit bounds what is read of an account file; 64 MiB are some 500,000 accounts.
const accountLimit = 64 << 20

// Users lists the entries of /etc/passwd below the root; a root without that file has those of the
// machine. Lines that make no sense are left out.
func (m *Machine) Users() ([]User, error) {
	text, err := m.accountFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	return ParsePasswd(text), nil
}

// Groups lists the entries of /etc/group, by the same rules as Users.
func (m *Machine) Groups() ([]Group, error) {
	text, err := m.accountFile("/etc/group")
	if err != nil {
		return nil, err
	}
	return ParseGroup(text), nil
}

func (m *Machine) accountFile(name string) ([]byte, error) {
	f, err := m.Open(name)
	if m.confined != nil && errors.Is(err, fs.ErrNotExist) {
		whole := &Machine{root: "/"}
		f, err = whole.Open(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, accountLimit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// ParsePasswd reads the format of passwd(5).
func ParsePasswd(text []byte) []User {
	var users []User
	for line := range bytes.Lines(text) {
		f := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
		if len(f) != 7 || f[0] == "" {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		users = append(users, User{Name: f[0], UID: int(uid), GID: int(gid), Gecos: f[4], Home: f[5], Shell: f[6]})
	}
	return users
}

// ParseGroup reads the format of group(5).
func ParseGroup(text []byte) []Group {
	var groups []Group
	for line := range bytes.Lines(text) {
		f := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
		if len(f) != 4 || f[0] == "" {
			continue
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		g := Group{Name: f[0], GID: int(gid)}
		if f[3] != "" {
			g.Members = strings.Split(f[3], ",")
		}
		groups = append(groups, g)
	}
	return groups
}

// LookupUser finds a user by name, else by number. Accounts that are not in the file are asked of
// getent(1), which knows directory services.
func (m *Machine) LookupUser(ctx context.Context, name string) (User, bool, error) {
	users, err := m.Users()
	if err != nil {
		return User{}, false, err
	}
	if len(users) == 0 || !slices.ContainsFunc(users, func(u User) bool { return u.Name == name }) {
		users = append(users, ParsePasswd(m.getent(ctx, "passwd", name))...)
	}
	if i := slices.IndexFunc(users, func(u User) bool { return u.Name == name }); i >= 0 {
		return users[i], true, nil
	}
	id, ok := number(name)
	if !ok {
		return User{}, false, nil
	}
	if i := slices.IndexFunc(users, func(u User) bool { return u.UID == id }); i >= 0 {
		return users[i], true, nil
	}
	return User{Name: name, UID: id, GID: -1}, true, nil
}

// LookupGroup finds a group by name, else by number, as LookupUser does.
func (m *Machine) LookupGroup(ctx context.Context, name string) (Group, bool, error) {
	groups, err := m.Groups()
	if err != nil {
		return Group{}, false, err
	}
	if !slices.ContainsFunc(groups, func(g Group) bool { return g.Name == name }) {
		groups = append(groups, ParseGroup(m.getent(ctx, "group", name))...)
	}
	if i := slices.IndexFunc(groups, func(g Group) bool { return g.Name == name }); i >= 0 {
		return groups[i], true, nil
	}
	id, ok := number(name)
	if !ok {
		return Group{}, false, nil
	}
	if i := slices.IndexFunc(groups, func(g Group) bool { return g.GID == id }); i >= 0 {
		return groups[i], true, nil
	}
	return Group{Name: name, GID: id}, true, nil
}

func number(name string) (int, bool) {
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil || id == 1<<32-1 { // the last one means "none" to the kernel
		return 0, false
	}
	return int(id), true
}

// getent answers nothing where it is not installed, knows nobody, or the machine is confined.
func (m *Machine) getent(ctx context.Context, database, name string) []byte {
	if m.confined != nil {
		return nil
	}
	r, err := m.Run(ctx, Command{Argv: []string{"getent", "--", database, name}})
	if err != nil || r.ExitCode != 0 {
		return nil
	}
	return []byte(r.Stdout)
}

// UserName is the name of a user number, or the number as text when it has no name.
func (m *Machine) UserName(uid int) string {
	users, _ := m.Users()
	if i := slices.IndexFunc(users, func(u User) bool { return u.UID == uid }); i >= 0 {
		return users[i].Name
	}
	return strconv.Itoa(uid)
}

// GroupName is the name of a group number, or the number as text when it has no name.
func (m *Machine) GroupName(gid int) string {
	groups, _ := m.Groups()
	if i := slices.IndexFunc(groups, func(g Group) bool { return g.GID == gid }); i >= 0 {
		return groups[i].Name
	}
	return strconv.Itoa(gid)
}

// PasswordHash is the second field of name's line in /etc/shadow; "" when there is none.
func (m *Machine) PasswordHash(name string) (string, error) {
	f, err := m.Open("/etc/shadow")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, accountLimit))
	if err != nil {
		return "", fmt.Errorf("read /etc/shadow: %w", err)
	}
	for line := range bytes.Lines(text) {
		f := strings.Split(string(line), ":")
		if len(f) > 1 && f[0] == name {
			return f[1], nil
		}
	}
	return "", nil
}

// LockAccounts makes the caller the only one of this process that changes accounts, since the tools
// refuse to wait long for each other. The answer gives the right back.
func (m *Machine) LockAccounts(ctx context.Context) (func(), error) {
	select {
	case m.accounts <- struct{}{}:
		return func() { <-m.accounts }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another change of accounts: %w", ctx.Err())
	}
}
