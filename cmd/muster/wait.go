package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// pollInterval is how often a wait reads the changes of a host.
const pollInterval = 500 * time.Millisecond

// waiting adds --wait and --timeout.
func (c *cli) waiting(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.wait, "wait", false, "wait until the changes that this makes on hosts are done")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 10*time.Minute, "how long to wait")
}

// waitingForAll is waiting for a command whose writes may concern any number of hosts.
func (c *cli) waitingForAll(cmd *cobra.Command) *cobra.Command {
	c.waiting(cmd)
	do := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.many = true
		return do(cmd, args)
	}
	return cmd
}

// before remembers the newest change of the host, so that follow knows which ones came after. Without --wait it does
// nothing. Where p names no host, the changes are those of many, and are followed when the command is done.
func (c *cli) before(ctx context.Context, cl *client.Client, p map[string]string) (after int, host map[string]string, err error) {
	if !c.wait {
		return 0, nil, nil
	}
	if p["host"] == "" {
		c.many = true
		return 0, nil, nil
	}
	host = clonedParams(p)
	after, err = cl.LastChange(ctx, host)
	return after, host, err
}

// follow waits for the changes of host after number `after`, showing tasks as they end on a terminal.
func (c *cli) follow(ctx context.Context, cl *client.Client, cmd *cobra.Command, host map[string]string, after int) error {
	if !c.wait || host == nil {
		return nil
	}
	parent := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, &waitError{c.timeout})
	defer cancel()
	var tell func([]client.Change)
	if isTerminal(cmd.ErrOrStderr()) {
		p := progress{cmd: cmd, told: map[string]bool{}}
		tell = p.tell
	}
	changes, err := cl.WaitChanges(ctx, host, after, pollInterval, tell)
	if err != nil {
		return whenInterrupted(parent, err)
	}
	failed := 0
	for _, ch := range changes {
		for _, t := range ch.Tasks {
			if t.Status == model.TaskError {
				failed++
				cmd.PrintErrln(oneLine(fmt.Sprintf("change %d, task %d, %s: %s", ch.OrderNum, t.OrderNum, t.Description, t.Error)))
			}
		}
	}
	if failed > 0 {
		return &tasksError{failed}
	}
	return nil
}

// judge waits for the changes that the writes of a command have caused, on all hosts that the caller may read, and tells how
// they ended.
func (c *cli) judge(ctx context.Context, cmd *cobra.Command) error {
	parent := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, &waitError{c.timeout})
	defer cancel()
	var tell func(model.PlanProgress)
	if isTerminal(cmd.ErrOrStderr()) {
		last := ""
		tell = func(p model.PlanProgress) {
			if line := progressLine(p); line != last {
				last = line
				cmd.PrintErrln(line)
			}
		}
	}
	end, err := c.caused.Wait(ctx, pollInterval, tell)
	for _, f := range end.Failures {
		cmd.PrintErrln(oneLine(fmt.Sprintf("%s/%s, change %d, %s: %s", f.Environment, f.Host, f.OrderNum, f.Description, f.Error)))
	}
	if more := end.Failed - len(end.Failures); more > 0 {
		cmd.PrintErrf("and %d more changes failed\n", more)
	}
	if err == nil && end.Failed > 0 {
		return &changesError{end.Failed}
	}
	return whenInterrupted(parent, err)
}

// whenInterrupted is what a wait ended with, or where a signal ended it, that the work goes on.
func whenInterrupted(parent context.Context, err error) error {
	if err == nil || parent.Err() == nil {
		return err
	}
	return errors.New("interrupted while waiting; the work goes on: see muster change list")
}

// progressLine tells how far changes are.
func progressLine(p model.PlanProgress) string {
	return fmt.Sprintf("%d changes processed, %d of them failed, %d pending", p.Processed, p.Failed, p.Pending)
}

// progress tells each task once, when it ends.
type progress struct {
	cmd  *cobra.Command
	told map[string]bool
}

func (p *progress) tell(changes []client.Change) {
	for _, ch := range changes {
		for _, t := range ch.Tasks {
			id := fmt.Sprintf("%d/%d", ch.OrderNum, t.OrderNum)
			if t.Status != model.TaskOK || p.told[id] {
				continue // failed ones are told at the end, with their text
			}
			p.told[id] = true
			p.cmd.PrintErrln(oneLine(fmt.Sprintf("%s  %s", t.Status, t.Description)))
		}
	}
}

// onHost makes a verb that does one thing to a host and may wait for what comes of it.
func (c *cli) onHost(use, short string, names []string, op func(p map[string]string, args []string) client.Op) *cobra.Command {
	cmd := c.verb(use, short, exactly(names...), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		c.host = args[0]
		p, err := c.params("host")
		if err != nil {
			return err
		}
		after, host, err := c.before(ctx, cl, p)
		if err != nil {
			return err
		}
		if err := cl.Call(ctx, op(p, args), nil); err != nil {
			return err
		}
		return c.follow(ctx, cl, cmd, host, after)
	})
	c.waiting(cmd)
	return cmd
}
