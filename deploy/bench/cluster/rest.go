package main

import (
	"context"
	"errors"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	rowPut64   = "REST PUT of a setting of 1 KiB at 64 clients against etcd 3.4 put"
	rowPut256  = "REST PUT of a setting of 1 KiB at 256 clients against etcd 3.4 put"
	rowGet     = "linearizable REST GET at 64 clients against etcd's linearizable range"
	rowGetOurs = "linearizable REST GET at 64 clients against stale"
)

func restSection() section {
	return section{name: "rest", budget: 8 * time.Minute, run: measureREST, rows: []want{
		{name: rowPut64, bar: report.AtLeast(0.9)},
		{name: rowPut256, bar: report.AtLeast(1)},
		{name: rowGet, bar: report.AtLeast(1.5)},
		{name: rowGetOurs, bar: report.AtLeast(0.6)},
	}}
}

func measureREST(context.Context, *run) error { return errors.New("not written yet") }
