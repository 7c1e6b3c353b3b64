package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// PlanError ends a write that was only tried: nothing was done. It tells what would be.
type PlanError struct {
	Plan model.Plan
	Raw  json.RawMessage // the plan as it was answered
}

// Error says that nothing was done.
func (e *PlanError) Error() string {
	return fmt.Sprintf("nothing was done: it was only tried; %d hosts would get changes", e.Plan.Count)
}

// changes says whether an operation may change something. A preview renders only, and what asks for a one-time address
// makes one.
func changes(r spec.Route) bool {
	if r.Method == http.MethodGet {
		return strings.HasSuffix(r.Name, ".link.show")
	}
	return r.Name != "host.preview"
}

// tryOnly sends a write as one that is only tried.
func (c *Client) tryOnly(ctx context.Context, method, path string, body []byte, contentType string, op Op) attempt {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	a := c.once(ctx, method, path+mark+"dry_run=true", body, contentType, "", op)
	if a.err != nil {
		return a
	}
	var e PlanError
	if err := json.Unmarshal(a.body, &e.Plan); err != nil || !e.Plan.DryRun {
		// A server that does not know the parameter has done it.
		return attempt{err: model.Errorf(model.Internal, "the server does not know dry runs: it was done")}
	}
	e.Raw = a.body
	return attempt{err: &e}
}
