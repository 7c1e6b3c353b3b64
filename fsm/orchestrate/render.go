package orchestrate

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/template"
)

// renderer renders the files of one application, platform or distribution for one host; the settings are resolved once.
type renderer struct {
	r    state.Reader
	data *template.Value
	err  error
}

func newRenderer(r state.Reader, host *model.HostRow, owner model.Owner) *renderer {
	return newRendererFor(r, host, owner, veil{})
}

// veil says what a rendering has a mask for.
type veil struct {
	secrets bool                   // the values of secret settings
	see     func(model.Owner) bool // nil: all is seen, whoever owns it
}

// newRendererFor has a mask in place of what the veil says.
func newRendererFor(r state.Reader, host *model.HostRow, owner model.Owner, v veil) *renderer {
	out := &renderer{r: r}
	vars := map[string]json.RawMessage{}
	for _, e := range resolveOwner(r, owner) {
		vars[e.Key] = e.Value
	}
	if v.secrets {
		maskSecrets(r, owner, vars)
	}
	if v.see != nil {
		maskUnseen(r, owner, vars, v.see)
	}
	about := map[string]string{"name": host.Name, "description": host.Description, "organization": organizationName(r, host.OrgID)}
	if env, ok := state.Get[model.EnvironmentRow](r, host.EnvID); ok {
		about["environment"] = env.Name
	}
	vars["_host"] = toJSON(about)
	out.data, out.err = template.DecodeJSON(toJSON(vars))
	return out
}

// maskSecrets puts the mask in place of what is a secret at an owner: by its own schema, by that of a parameter of the
// organization with its key, or of what it links to.
func maskSecrets(r state.Reader, owner model.Owner, vars map[string]json.RawMessage) {
	c, declared := chainOf(r, owner), parameterSchemas(r, ownerOfOrganizationID(owner.OrgID))
	for key := range vars {
		e, _ := resolveKey(r, c, key, nil)
		if e.Secret || isSecret(declared[key]) || leadsToSecret(r, c, key, nil) {
			vars[key] = json.RawMessage(mask)
		}
	}
}

// maskUnseen puts the mask in place of what stands at an owner that see answers false to.
func maskUnseen(r state.Reader, owner model.Owner, vars map[string]json.RawMessage, see func(model.Owner) bool) {
	c := chainOf(r, owner)
	for key := range vars {
		if row := nearest(r, c, key); row != nil && !see(row.Owner) {
			vars[key] = json.RawMessage(mask)
		}
	}
}

// file renders a file; a content that is no text is given as it is. The texts of errors name no values.
func (re *renderer) file(k model.Furnished, f *model.File) ([]byte, error) {
	content := storedContent(re.r, k, f.Name)
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
func storedContent(r state.Reader, k model.Furnished, name string) []byte {
	digest := k.Base().Files[name].Content
	if digest == "" {
		return nil
	}
	content, _ := state.Content(r, k.Base().OrgID, digest)
	return content
}

// RenderHostFile renders a file of an application for a host. Errors: NotFound, Invalid (the template's error,
// with line and column).
func RenderHostFile(r state.Reader, orgID, hostID, appName, file string) ([]byte, error) {
	ctx, app, err := ContextByName(r, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	return renderFor(r, app, OwnerOfContext(ctx), hostID, file)
}

// RenderPlatformFile renders a file of a host's platform for it. Errors: as of RenderHostFile.
func RenderPlatformFile(r state.Reader, orgID, hostID, file string) ([]byte, error) {
	ctx, p, err := PlatformOf(r, orgID, hostID)
	if err != nil {
		return nil, err
	}
	return renderFor(r, p, OwnerOfPlatformContext(ctx), hostID, file)
}

// RenderDistributionFile renders a file of a host's distribution for it. Errors: as of RenderHostFile.
func RenderDistributionFile(r state.Reader, orgID, hostID, file string) ([]byte, error) {
	ctx, d, err := DistributionOf(r, orgID, hostID)
	if err != nil {
		return nil, err
	}
	return renderFor(r, d, OwnerOfDistributionContext(ctx), hostID, file)
}

// renderFor renders a file of what a context is of.
func renderFor(r state.Reader, k model.Furnished, owner model.Owner, hostID, file string) ([]byte, error) {
	f, err := findFile(k, file)
	if err != nil {
		return nil, err
	}
	host, err := HostByID(r, owner.OrgID, hostID)
	if err != nil {
		return nil, err
	}
	content, err := newRenderer(r, host, owner).file(k, f)
	var fault *template.Error
	if errors.As(err, &fault) {
		return nil, model.Errorf(model.Invalid, "file %q: %v", file, fault)
	}
	return content, err
}
