package api

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// runWrite runs a writing endpoint in a transaction, and its stage before it.
func (c *call) runWrite(view *state.View, end endpoint, wait time.Duration) (reply, error) {
	key, err := c.keyed()
	if err != nil {
		return reply{}, err
	}
	if key != nil && end.result != nil {
		return reply{}, model.Errorf(model.Invalid, "%s: what this does is outside of the cluster, and cannot be remembered under a key: leave the header out", spec.HeaderIdempotencyKey)
	}
	// A caller who may not do it does not get to send a body either, unless it was done already under its key.
	if err := c.mayTry(view, end, key); err != nil {
		return reply{}, err
	}
	if err := c.readBody(end.body); err != nil {
		return reply{}, err
	}
	key.digest(c)
	if end.stage != nil {
		if err := end.stage(c); err != nil {
			return reply{}, err
		}
	}
	var answer reply
	var epoch uint64
	once := func(tx *state.Tx) error {
		tx.SetActor(c.caller.name)
		epoch = tx.Epoch()
		if err := c.caller.still(tx); err != nil {
			return err
		}
		var err error
		answer, err = c.writeOnce(tx, end, key)
		return err
	}
	index, err := c.srv.cfg.Store.UpdateIndex(c.req.Context(), once)
	if model.CodeOf(err) == model.TooLarge && end.leave != nil && !end.large {
		end.large = true
		index, err = c.srv.cfg.Store.UpdateIndex(c.req.Context(), once)
	}
	if err != nil {
		return reply{}, err
	}
	c.stamp(epoch, index)
	if key != nil && key.replayed {
		c.header.Set(spec.HeaderReplayed, "true")
		c.waitAgain(end, key.caused, index, wait)
		return answer, nil
	}
	c.tellPlan(c.caused.Token())
	return c.behind(end, answer, index, wait)
}

// behind does what comes behind a write: what its answer waits for.
func (c *call) behind(end endpoint, answer reply, index uint64, wait time.Duration) (reply, error) {
	if end.leave != nil {
		c.untilGone()
	}
	if end.after != nil {
		return answer, end.after(c)
	}
	if wait > 0 {
		c.awaitCaused(end, index, wait)
	}
	if end.result != nil {
		value, err := end.result(c)
		if err != nil {
			return reply{}, err
		}
		return c.encode(value)
	}
	return answer, nil
}

// mayTry looks whether the caller may do it, first in what this node has, then in the newest state.
func (c *call) mayTry(view *state.View, end endpoint, key *idempotency) error {
	for _, newest := range []bool{false, true} {
		if newest {
			var err error
			if view, err = c.srv.cfg.Store.View(c.req.Context()); err != nil {
				return err
			}
		}
		_, err := c.scope(view, end)
		if code := model.CodeOf(err); err == nil || key.known(view) {
			return nil
		} else if newest || code != model.NotFound && code != model.Forbidden {
			return err
		}
	}
	return nil
}

// writeOnce is one run of the transaction.
func (c *call) writeOnce(tx *state.Tx, end endpoint, key *idempotency) (reply, error) {
	hear := func(row *model.RequestRow) error { return c.mayHear(tx, end, key, row) }
	if answer, done, err := key.recall(tx, hear); done || err != nil {
		return answer, err
	}
	at, err := c.scope(tx, end)
	if err != nil {
		return reply{}, err
	}
	if err := c.matches(tx); err != nil {
		return reply{}, err
	}
	c.clear = false
	value, err := c.writeOrLeave(tx, end, at)
	if err != nil {
		return reply{}, c.namingHosts(tx, at, err)
	}
	if err := c.keepsSecrets(tx, at); err != nil {
		return reply{}, err
	}
	if err := orchestrate.WithinQuota(tx); err != nil {
		return reply{}, err
	}
	if c.caused, err = orchestrate.Cause(tx); err != nil {
		return reply{}, err
	}
	answer, err := c.encode(value)
	if err != nil {
		return reply{}, err
	}
	if err := c.audit(tx, at, answer); err != nil {
		return reply{}, err
	}
	return answer, key.keep(tx, answer, c, at)
}

// maxNamed is how many hosts an error names.
const maxNamed = 50

// namingHosts adds to a refusal because hosts are in the way those that the caller may read, as ENVIRONMENT/HOST.
func (c *call) namingHosts(r state.Reader, at scope, err error) error {
	var used *orchestrate.InUse
	if !errors.As(err, &used) || at.org == nil {
		return err
	}
	out, more := &model.Error{Code: used.Refused.Code, Messages: slices.Clone(used.Refused.Messages), Err: used.Refused.Err}, 0
	may := c.mayRead(r, at)
	for _, h := range used.Hosts {
		if !may(h) || len(out.Messages) > maxNamed {
			more++
			continue
		}
		env := ""
		if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
			env = e.Name
		}
		out.Messages = append(out.Messages, env+"/"+h.Name)
	}
	if more > 0 && len(out.Messages) > 1 {
		out.Messages = append(out.Messages, strconv.Itoa(more)+" more")
	}
	return out
}
