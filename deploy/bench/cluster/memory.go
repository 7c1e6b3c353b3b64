package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	rowBytes    = "bytes a row with three indexes against go-memdb's own"
	rowSnapshot = "snapshot of a million rows (one node), s, against iterate + encode + fsync"
	rowRestart  = "restart from it, s, against insert time"
	rowP99      = "commits' p99 (ms) while that snapshot is written against p99 before"
)

func memorySection() section {
	return section{name: "memory", budget: 3 * time.Minute, run: measureMemory, rows: []want{
		{name: rowBytes, bar: report.AtMost(1.5)},
		{name: rowSnapshot, bar: report.AtMost(1.5)},
		{name: rowRestart, bar: report.AtMost(2)},
		{name: rowP99, bar: report.AtMost(2)},
	}}
}

func measureMemory(context.Context, *run) error { return errors.New("not written yet") }

func newMillion(context.Context, json.RawMessage) (part, error) {
	return nil, errors.New("not written yet")
}
