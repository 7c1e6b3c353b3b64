package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

// changesConfig says how long changes wait, and stay. The leader's word counts, so all nodes should have the same.
type changesConfig struct {
	Expiry time.Duration `yaml:"change-expiry"`
	Age    time.Duration `yaml:"change-age"`
	Most   int           `yaml:"change-most"`
}

// The bounds of what is kept.
const (
	leastExpiry     = time.Minute
	leastChangeMost = 20
)

func (c *changesConfig) flags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.Expiry, "change-expiry", 7*day, "how long a change waits for a host whose agent is away; then it ends as failed (1m or more)")
	fs.DurationVar(&c.Age, "change-age", 90*day, "how long processed changes are kept (24h or more); the last 20 of a host stay")
	fs.IntVar(&c.Most, "change-most", 1000, "how many processed changes of a host are kept (20 or more)")
}

func (c changesConfig) validate() (errs []error) {
	if c.Expiry < leastExpiry {
		errs = append(errs, fmt.Errorf("--change-expiry %s: give 1m or more", c.Expiry))
	}
	if c.Age < day {
		errs = append(errs, fmt.Errorf("--change-age %s: give 24h or more", c.Age))
	}
	if c.Most < leastChangeMost {
		errs = append(errs, fmt.Errorf("--change-most %d: give %d or more", c.Most, leastChangeMost))
	}
	return errs
}

// How often changes are looked through for those that expire, and for those that are old.
const (
	expireEvery = 30 * time.Second
	dropEvery   = 120 // times expireEvery
)

// upkeep ends changes of hosts that stay away, and drops old ones.
func (d *duties) upkeep(ctx context.Context, lead *cluster.Lead) error {
	c := d.cfg.Changes
	work := orchestrate.NewUpkeep(lead, orchestrate.ChangesKept{Expiry: c.Expiry, Age: c.Age, Most: c.Most}, nil)
	for n := 0; ; n++ {
		expired, err := work.Expire(ctx)
		if err != nil {
			return err
		}
		if expired > 0 {
			d.log.Warn("changes expired: the agents of their hosts are away", "number", expired)
		}
		if n%dropEvery == 0 {
			dropped, err := work.Drop(ctx)
			if err != nil {
				return err
			}
			if dropped > 0 {
				d.log.Info("dropped old changes", "number", dropped)
			}
		}
		select {
		case <-time.After(min(expireEvery, c.Expiry)):
		case <-ctx.Done():
			return nil
		}
	}
}
