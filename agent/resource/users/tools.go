package users

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

func (c *Collection) add(ctx context.Context, id string, p plan) error {
	argv := []string{"useradd"}
	home := !p.System
	if p.CreateHome != nil {
		home = *p.CreateHome
	}
	if home {
		argv = append(argv, "--create-home")
	} else {
		argv = append(argv, "--no-create-home")
	}
	if p.System {
		argv = append(argv, "--system")
	}
	if p.UID != nil {
		argv = append(argv, "--uid", strconv.Itoa(*p.UID))
	}
	gid := p.gid
	if gid < 0 {
		// Without this useradd refuses a name that is a group's already.
		groups, err := c.sys.Groups()
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(groups, func(g sys.Group) bool { return g.Name == id }); i >= 0 {
			gid = groups[i].GID
		} else {
			argv = append(argv, "--user-group")
		}
	}
	if gid >= 0 {
		argv = append(argv, "--gid", strconv.Itoa(gid))
	}
	argv = append(argv, p.common()...)
	return c.tool(ctx, nil, append(argv, "--", id)...)
}

func (p plan) common() []string {
	var argv []string
	if len(p.groups) > 0 {
		argv = append(argv, "--groups", strings.Join(p.groups, ","))
	}
	for _, a := range []struct{ flag, value string }{{"--home-dir", p.Home}, {"--shell", p.Shell}, {"--comment", p.Gecos}} {
		if a.value != "" {
			argv = append(argv, a.flag, a.value)
		}
	}
	return argv
}

func (c *Collection) modify(ctx context.Context, id string, p plan, d resource.Diff) error {
	differs := func(key string) bool { _, ok := d.Expected[key]; return ok }
	argv := []string{"usermod"}
	for _, a := range []struct{ key, flag, value string }{
		{"group", "--gid", strconv.Itoa(p.gid)},
		{"groups", "--groups", strings.Join(p.groups, ",")},
		{"dir", "--home", p.Home},
		{"shell", "--shell", p.Shell},
		{"gecos", "--comment", p.Gecos},
	} {
		if differs(a.key) {
			argv = append(argv, a.flag, a.value)
		}
	}
	if differs("uid") {
		argv = append(argv, "--uid", strconv.Itoa(*p.UID))
	}
	if len(argv) > 1 {
		if err := c.tool(ctx, nil, append(argv, "--", id)...); err != nil {
			return err
		}
	}
	if differs("passwordHash") {
		return c.setHash(ctx, id, p.PasswordHash)
	}
	return nil
}

// setHash hands the hash over by standard input: every user of the machine can read an argument.
func (c *Collection) setHash(ctx context.Context, id, hash string) error {
	return c.tool(ctx, []byte(id+":"+hash+"\n"), "chpasswd", "--encrypted")
}

func (c *Collection) tool(ctx context.Context, stdin []byte, argv ...string) error {
	// A tool that is killed leaves its lock file behind, so it may outlive the agent.
	r, err := c.sys.Run(ctx, sys.Command{Argv: argv, Stdin: stdin, Outlives: true})
	if err != nil {
		return err
	}
	if r.ExitCode != 0 {
		return fmt.Errorf("%s failed (status %d): %s", argv[0], r.ExitCode, strings.TrimSpace(r.Stderr))
	}
	return nil
}
