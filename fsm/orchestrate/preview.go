package orchestrate

import (
	"context"
	"errors"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/template"
)

// Preview renders the text of a template for a host, with the settings that hold for an application on it, or, with no
// application, for the host itself. Masked puts a mask in place of each secret value, whatever its type, and in place of
// what stands at an owner that see answers false to. The rendering ends with ctx. Errors: NotFound; Invalid, the template's error with line and column, which names no values.
func Preview(ctx context.Context, r state.Reader, orgID, hostID, app, text string, o template.Options, masked bool, see func(model.Owner) bool) ([]byte, error) {
	host, err := HostByID(r, orgID, hostID)
	if err != nil {
		return nil, err
	}
	owner := OwnerOfHost(host)
	if app != "" {
		row, _, err := ContextByName(r, orgID, hostID, app)
		if err != nil {
			return nil, err
		}
		owner = OwnerOfContext(row)
	}
	out, err := renderPreview(ctx, newRendererFor(r, host, owner, veil{secrets: masked, see: see}), text, o)
	var fault *template.Error
	if errors.As(err, &fault) {
		return nil, model.Errorf(model.Invalid, "template: %v", fault)
	}
	return []byte(out), err
}

func renderPreview(ctx context.Context, re *renderer, text string, o template.Options) (string, error) {
	t, err := template.Parse("template", text, o)
	if err != nil {
		return "", err
	}
	if re.err != nil {
		return "", re.err
	}
	return t.Render(ctx, re.data)
}
