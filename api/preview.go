package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/template"
)

func previewEndpoints() map[string]endpoint {
	return map[string]endpoint{"host.preview": {need: auth.Read, live: previewTemplate, harmless: true}}
}

// previewTemplate renders a template for a host and writes nothing. Who may not see secrets sees a mask in their place,
// in conditions and lists, too.
func previewTemplate(c *call, view *state.View, end endpoint) (reply, error) {
	if _, err := c.scope(view, end); err != nil {
		return reply{}, err // who may not look does not get to send a body either
	}
	if err := c.readBody(objectBody); err != nil {
		return reply{}, err
	}
	end.read = func(c *call, r state.Reader, at scope) (any, error) {
		doc, err := model.Decode[spec.Preview](c.body)
		if err != nil {
			return nil, err
		}
		o := template.Options{}
		if doc.Delimiter != nil {
			o = template.Options{Start: doc.Delimiter.Start, End: doc.Delimiter.End}
		}
		masked := c.masked || !at.role.May(auth.ReadSecret)
		b, err := orchestrate.Preview(c.req.Context(), r, at.org.ID, at.host.ID, doc.Application, doc.Template, o, masked, c.seesOwner(r, at))
		c.clear = !masked
		return raw(b), err
	}
	answer, err := c.readRecorded(view, end, 0)
	answer.tag = "" // it is the answer to this body only
	return answer, err
}
