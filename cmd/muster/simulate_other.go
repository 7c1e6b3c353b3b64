//go:build !linux

package main

import (
	"errors"
	"log/slog"
)

// newMachines fails: a simulated machine is an agent, and agents are for Linux.
func newMachines(string, []string, *slog.Logger) (machineDriver, error) {
	return nil, errors.New("--simulate works on Linux only, since its machines are agents: leave it out here")
}
