package main

import (
	"log/slog"

	"github.com/muster-hq/muster/drivers/simulate"
)

// newMachines makes the driver of simulated machines, whose agents reach the hubs at urls.
func newMachines(dir string, urls []string, log *slog.Logger) (machineDriver, error) {
	return simulate.New(simulate.Options{Dir: dir, URLs: urls, Log: log, Version: version})
}
