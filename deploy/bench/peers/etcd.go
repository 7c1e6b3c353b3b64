package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// installEtcd makes sure that the machine has Debian's etcd, and installs it when this is root. The
// service that the package brings is not started: the benchmark starts its own.
func installEtcd(ctx context.Context) error {
	if _, err := exec.LookPath("etcd"); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("etcd is not installed, and only root can: apt-get install etcd-server")
	}
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return fmt.Errorf("keeping etcd's service from being started: %w", err)
		}
		defer func() { _ = os.Remove(policy) }()
	}
	for _, args := range [][]string{{"-q", "update"}, {"-q", "install", "-y", "--no-install-recommends", "etcd-server"}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("etcd could not be installed: apt-get %s: %w: %s", args[len(args)-1], err, out)
		}
	}
	return nil
}
