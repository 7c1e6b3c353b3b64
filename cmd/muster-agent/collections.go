package main

import (
	"fmt"
	"os"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/directories"
	"github.com/muster-hq/muster/agent/resource/executables"
	"github.com/muster-hq/muster/agent/resource/files"
	"github.com/muster-hq/muster/agent/resource/groups"
	"github.com/muster-hq/muster/agent/resource/packages"
	"github.com/muster-hq/muster/agent/resource/services"
	"github.com/muster-hq/muster/agent/resource/users"
	"github.com/muster-hq/muster/agent/sys"
)

// collections makes every collection of this agent over one machine, or over the folder root. Nobody is shown the files of
// the agent's own state.
func collections(root, state string) (all []resource.Collection, closeAll func(), err error) {
	m, err := sys.New(sys.Options{Root: root, Unprivileged: root != "" && os.Geteuid() != 0})
	if err != nil {
		return nil, nil, fmt.Errorf("look at the machine: %w", err)
	}
	return []resource.Collection{
		files.New(m, files.Options{Private: []string{state}}),
		directories.New(m, directories.Options{}),
		packages.New(m, packages.Options{}),
		services.New(m, services.Options{}),
		users.New(m, users.Options{}),
		groups.New(m, groups.Options{}),
		executables.New(m, executables.Options{}),
	}, func() { _ = m.Close() }, nil
}
