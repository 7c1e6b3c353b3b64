package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// auditConfig is how much is kept of what was done. The leader's word counts, so all nodes should have the same.
type auditConfig struct {
	Age time.Duration `yaml:"audit-age"`
	MiB int           `yaml:"audit-mib"`
}

// The bounds of what is kept.
const (
	leastAuditAge = day
	mostAuditMiB  = 1024
)

func (a *auditConfig) flags(fs *pflag.FlagSet) {
	fs.DurationVar(&a.Age, "audit-age", 400*day, "how long records of the audit log are kept (24h or more)")
	fs.IntVar(&a.MiB, "audit-mib", 8, "how much of the audit log is kept of each organization, compressed, in MiB of every node's memory (1 to 1024)")
}

func (a auditConfig) validate() (errs []error) {
	if a.Age < leastAuditAge {
		errs = append(errs, fmt.Errorf("--audit-age %s: give 24h or more", a.Age))
	}
	if a.MiB < 1 || a.MiB > mostAuditMiB {
		errs = append(errs, fmt.Errorf("--audit-mib %d: give 1 to %d", a.MiB, mostAuditMiB))
	}
	return errs
}

// tidyLogsEvery is how often logs are compressed, and what is too old or too much is dropped.
const tidyLogsEvery = 5 * time.Minute

// tidyLogs compresses logs and drops what is not to be kept.
func (d *duties) tidyLogs(ctx context.Context, lead *cluster.Lead) error {
	kept := orchestrate.LogsKept{AuditBytes: d.cfg.Audit.MiB << 20, AuditAge: d.cfg.Audit.Age}
	for {
		view, err := lead.View(ctx)
		if err != nil {
			return err
		}
		done, err := state.TidyLogs(ctx, lead, view, kept.KeepOf(view))
		if err != nil {
			return err
		}
		if done.Dropped+done.Removed > 0 {
			d.log.Info("dropped old records of logs", "chunks", done.Dropped, "logs", done.Removed)
		}
		select {
		case <-time.After(tidyLogsEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
