package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// Stream does an operation whose body or answer is too large to be held in memory: it sends size bytes of body, nil
// for none, and writes the answer to w. It may take as long as ctx lets it. After an error part of the answer may be
// written. Errors are those of Call.
func (c *Client) Stream(ctx context.Context, op Op, body io.Reader, size int64, w io.Writer) error {
	route, ok := c.routes[routeKey{op.Name, op.Level}]
	if !ok {
		return model.Errorf(model.Invalid, "the API has no operation %s at level %q", op.Name, op.Level)
	}
	if c.cfg.DryRun && changes(route) && !op.harmless {
		return model.Errorf(model.Invalid, "%s cannot be tried without being done: leave the dry run out, or do not do it", op.Name)
	}
	path := spec.Path(route.Pattern, op.Params)
	if q := op.Query.Encode(); q != "" {
		path += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, route.Method, c.base+path, body)
	if err != nil {
		return model.Errorf(model.Invalid, "the address %s cannot be asked: %s", c.base+path, err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	for name, values := range op.header {
		req.Header[name] = values
	}
	c.authorize(req)
	patient := *c.cfg.HTTP
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, context.Cause(ctx))
		}
		return &UnreachableError{c.base, err}
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode/100 != 2 {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return &UnreachableError{c.base, fmt.Errorf("the answer broke off: %w", err)}
		}
		return answered(resp, b)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, context.Cause(ctx))
		}
		return &UnreachableError{c.base, fmt.Errorf("the answer broke off: %w", err)}
	}
	return nil
}
