package orchestrate

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/template"
)

// renderer renders the files of one application for one host; the settings are resolved once.
type renderer struct {
	r    state.Reader
	data *template.Value
	err  error
}

func newRenderer(r state.Reader, host *model.HostRow, ctx *model.ContextRow) *renderer {
	out := &renderer{r: r}
	vars := map[string]json.RawMessage{}
	for _, e := range resolveContext(r, ctx) {
		vars[e.Key] = e.Value
	}
	about := map[string]string{"name": host.Name, "description": host.Description, "organization": organizationName(r, host.OrgID)}
	if env, ok := state.Get[model.EnvironmentRow](r, host.EnvID); ok {
		about["environment"] = env.Name
	}
	vars["_host"] = toJSON(about)
	out.data, out.err = template.DecodeJSON(toJSON(vars))
	return out
}

// file renders a file; a content that is no text is given as it is. The texts of errors name no values.
func (re *renderer) file(app *model.ApplicationRow, f *model.File) ([]byte, error) {
	content := storedContent(re.r, app, f.Name)
	if !isText(content) {
		return content, nil
	}
	t, err := parseTemplate(f, content)
	if err != nil {
		return nil, err
	}
	if re.err != nil {
		return nil, re.err
	}
	text, err := t.Render(context.Background(), re.data)
	return []byte(text), err
}

func parseTemplate(f *model.File, content []byte) (*template.Template, error) {
	start, end := f.Marks()
	return template.Parse(f.Name, string(content), template.Options{Start: start, End: end})
}

// checkTemplate refuses a content that could never be rendered. Error: Invalid, with line and column.
func checkTemplate(f *model.File, content []byte) error {
	if !isText(content) {
		return nil
	}
	if _, err := parseTemplate(f, content); err != nil {
		return model.Errorf(model.Invalid, "file %q: template: %v", f.Name, err)
	}
	return nil
}

// storedContent is what was uploaded for a file; nil before that.
func storedContent(r state.Reader, app *model.ApplicationRow, name string) []byte {
	digest := app.Files[name].Content
	if digest == "" {
		return nil
	}
	content, _ := state.Content(r, digest)
	return content
}

// RenderHostFile renders a file of an application for a host. Errors: NotFound, Invalid (the template's error,
// with line and column).
func RenderHostFile(r state.Reader, orgID, hostID, appName, file string) ([]byte, error) {
	ctx, app, err := ContextByName(r, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	f := app.Document.File(file)
	if f == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no file %q", appName, file)
	}
	host, err := HostByID(r, orgID, hostID)
	if err != nil {
		return nil, err
	}
	content, err := newRenderer(r, host, ctx).file(app, f)
	var fault *template.Error
	if errors.As(err, &fault) {
		return nil, model.Errorf(model.Invalid, "file %q: %v", file, fault)
	}
	return content, err
}
