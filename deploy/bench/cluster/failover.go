package main

import (
	"context"
	"errors"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	rowFailover      = "failover, median (ms) against etcd's median"
	rowFailoverWorst = "failover, our worst (ms) against etcd's median"
)

func failoverSection() section {
	return section{name: "failover", budget: 6 * time.Minute, run: measureFailover, rows: []want{
		{name: rowFailover, bar: report.AtMost(0.5)},
		{name: rowFailoverWorst, bar: report.AtMost(1)},
	}}
}

func measureFailover(context.Context, *run) error { return errors.New("not written yet") }
