package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/spec"
)

func TestEventsCommand(t *testing.T) {
	sh := newShell(t).furnish()
	out := sh.ok("events")
	if !strings.Contains(out, "CURSOR") || !strings.Contains(out, "host.created") || !strings.Contains(out, "admin") {
		t.Errorf("the table is\n%s", out)
	}
	var all []spec.Event
	if err := json.Unmarshal([]byte(sh.ok("events -o json")), &all); err != nil || len(all) < 3 {
		t.Fatalf("%v, %v", all, err)
	}
	var rest []spec.Event
	if err := json.Unmarshal([]byte(sh.ok("events -o json --after "+all[1].Cursor)), &rest); err != nil || len(rest) != len(all)-2 {
		t.Errorf("after the second of %d come %d, %v", len(all), len(rest), err)
	}
	for line, code := range map[string]int{
		"events --after 7-7": exitFailed, "events --after x": exitFailed, "events -O nope": exitFailed, "events extra": exitUsage, "events --follow -o yaml": exitUsage,
	} {
		if _, errs, got := sh.run(line); got != code {
			t.Errorf("muster %s: %d, %s", line, got, errs)
		}
	}
}

// A follower prints what there is and what comes, a line each, until it is stopped.
func TestEventsFollow(t *testing.T) {
	sh := newShell(t).furnish()
	root := &cobra.Command{Use: "muster", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newNouns(func(k string) string { return sh.env[k] })...)
	var out, errs output
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs([]string{"events", "--follow", "-o", "json"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	eventually(t, "the events that there are", func() bool { return strings.Contains(out.String(), "host.created") })
	sh.ok("environment create Late")
	eventually(t, "the event that came", func() bool { return strings.Count(out.String(), "environment.created") == 2 })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped by hand: %v, %s", err, errs.String())
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		var e spec.Event
		if err := json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&e); err != nil || seen[e.Cursor] {
			t.Errorf("the line %q: %v, seen %v", line, err, seen[e.Cursor])
		}
		seen[e.Cursor] = true
	}
}
