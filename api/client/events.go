package client

import (
	"context"
	"net/url"
	"time"

	"github.com/muster-hq/muster/api/spec"
)

// Events reads events after a cursor, oldest first: of one organization, or of all when org is "", which administrators
// may. An empty cursor begins with the oldest that are kept, "now" with the next. Without any it waits, at most for
// wait. The answer's cursor is what to go on from; the error has code model.Gone when the cursor is too old, or from
// before the cluster was restored.
func (c *Client) Events(ctx context.Context, org, after string, wait time.Duration) (spec.EventList, error) {
	op := Op{Name: "events.list", Query: url.Values{}}
	if org != "" {
		op = Op{Name: "organizations.events.list", Params: map[string]string{"org": org}, Query: url.Values{}}
	}
	if after != "" {
		op.Query.Set("after", after)
	}
	if wait > 0 {
		op.Query.Set("wait", wait.String())
	}
	var list spec.EventList
	err := c.Call(ctx, op, &list)
	return list, err
}
