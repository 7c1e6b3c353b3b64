package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/dispatch/webhook"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// auditConfig is how much is kept of what was done, and where webhooks may lead. The leader's word counts, so all nodes
// should have the same.
type auditConfig struct {
	Age   time.Duration `yaml:"audit-age"`
	MiB   int           `yaml:"audit-mib"`
	Allow string        `yaml:"webhook-allow"`
}

// The bounds of what is kept.
const (
	leastAuditAge = day
	mostAuditMiB  = 1024
)

func (a *auditConfig) flags(fs *pflag.FlagSet) {
	fs.DurationVar(&a.Age, "audit-age", 400*day, "how long records of the audit log are kept (24h or more)")
	fs.IntVar(&a.MiB, "audit-mib", 8, "how much of the audit log is kept of each organization, compressed, in MiB of every node's memory (1 to 1024)")
	fs.StringVar(&a.Allow, "webhook-allow", "", "private networks that webhooks may lead to, like 10.1.0.0/16,192.168.7.20 (default: none, public addresses only)")
}

func (a auditConfig) validate() (errs []error) {
	if a.Age < leastAuditAge {
		errs = append(errs, fmt.Errorf("--audit-age %s: give 24h or more", a.Age))
	}
	if a.MiB < 1 || a.MiB > mostAuditMiB {
		errs = append(errs, fmt.Errorf("--audit-mib %d: give 1 to %d", a.MiB, mostAuditMiB))
	}
	if _, err := a.networks(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// networks are those that webhooks may lead to beside public ones.
func (a auditConfig) networks() (all []netip.Prefix, err error) {
	for _, text := range strings.FieldsFunc(a.Allow, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := netip.ParsePrefix(text)
		if addr, err2 := netip.ParseAddr(text); err != nil && err2 == nil && addr.Zone() == "" {
			p, err = addr.Prefix(addr.BitLen())
			if err != nil {
				return nil, fmt.Errorf("--webhook-allow %q: %w", text, err)
			}
		} else if err != nil {
			return nil, fmt.Errorf("--webhook-allow %q: give networks like 10.1.0.0/16, or addresses, with commas between them", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// webhooks sends events to the webhooks of organizations, and notices to their channels.
func (d *duties) webhooks(ctx context.Context, lead *cluster.Lead) error {
	allow, err := d.cfg.Audit.networks()
	if err != nil {
		return err
	}
	sender := webhook.NewSender(allow)
	defer sender.Close()
	letters, err := d.cfg.Login.mail()
	if err != nil {
		return err
	}
	var mailer webhook.Mailer
	if letters != nil {
		mailer = letters
	}
	return webhook.New(webhook.Config{Store: lead, Sender: sender, Mail: mailer, Log: d.log.With("part", "webhooks", "term", lead.Term)}).Run(ctx)
}

// How often logs are compressed, and what is too old or too much is dropped: at the latest, and while much is written. What
// waits lies in memory, and each snapshot holds it.
const (
	tidyLogsEvery = 5 * time.Minute
	tidyLogsCheck = 5 * time.Second
	tidyLogsFrom  = 128 // chunks that are not compressed, of 32 KiB each
)

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
		if err := untilUntidy(ctx, lead); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// untilUntidy waits until it is time to tidy.
func untilUntidy(ctx context.Context, lead *cluster.Lead) error {
	tick := time.NewTicker(tidyLogsCheck)
	defer tick.Stop()
	for range tidyLogsEvery / tidyLogsCheck {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		view, err := lead.View(ctx)
		if err != nil || state.PlainChunks(view) >= tidyLogsFrom {
			return err
		}
	}
	return nil
}
