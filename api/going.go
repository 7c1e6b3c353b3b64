package api

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// firstParts and leastParts are how many hosts one commit deletes: fewer where they hold so much that it does not fit.
const (
	firstParts = 150
	leastParts = 1
)

// deleteHosts deletes in commits of a bounded size the hosts of an environment or organization that has more of them than one
// commit can hold, but for the last. What is deleted stays deleted if it is cut off; the same request goes on. Nobody may
// delete hosts so who may not delete what they are in, and nothing is deleted while one has an instance.
func (c *call) deleteHosts(end endpoint) error {
	for most, more := firstParts, true; more; {
		err := c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
			more = false
			tx.SetActor(c.caller.name)
			if err := c.caller.still(tx); err != nil {
				return err
			}
			at, err := c.scope(tx, end)
			if model.CodeOf(err) == model.NotFound {
				return nil // the write itself says so, or answers what was done under its key
			}
			if err != nil {
				return err
			}
			envID := ""
			if at.env != nil {
				envID = at.env.ID
			}
			if !orchestrate.ManyHosts(tx.Before(), at.org.ID, envID) {
				return nil
			}
			if err := c.matches(tx); err != nil {
				return err
			}
			if _, err := orchestrate.DropHosts(tx, at.org.ID, envID, most); err != nil {
				return c.namingHosts(tx, at, err)
			}
			more = true
			return c.audit(tx, at, reply{})
		})
		if model.CodeOf(err) == model.TooLarge && most > leastParts {
			most, more = most/2, true
			continue
		}
		if err != nil {
			return err
		}
		if more {
			c.req.Header.Del("If-Match") // it was compared, and is another now
		}
	}
	return nil
}
