package orchestrate

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/schema"
	"github.com/muster-hq/muster/fsm/state"
)

// checkValue refuses a value that its schema does not accept: the one that it was given with, and that of the parameter
// which it stands for. Where it may stand for parameters of several applications, platforms or distributions, one that
// accepts it is enough. The texts of errors show nothing of the value. A secret that is kept is held against no schema: the
// answer would tell of it. Error: Invalid.
func (p *settingPlace) checkValue(doc *model.Setting, kept bool) error {
	own, err := schema.Compile(doc.Schema)
	if err != nil {
		return model.Errorf(model.Invalid, "setting %q: %s", doc.Key, inSchema(err))
	}
	if doc.Kind() == model.SettingProperty || len(doc.Value) == 0 || kept {
		return nil
	}
	if err := own.Check(doc.Value); err != nil {
		return model.Errorf(model.Invalid, "setting %q: the value does not fit its schema: %v", doc.Key, err)
	}
	var first error
	for _, k := range p.kits() {
		param := model.ParameterFor(k, doc.Key)
		if param == nil {
			continue
		}
		s, err := schema.Compile(param.Schema)
		if err == nil {
			err = s.Check(doc.Value)
		} else {
			err = nil // it was stored before schemas were checked: no fault of the value
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = model.Errorf(model.Invalid, "setting %q: the value does not fit parameter %q of %s %q: %v", doc.Key, param.Name, k.Table(), k.Base().Name, err)
		}
	}
	return first
}

// checkParameter refuses a parameter whose schema is none, or does not accept its default. Error: Invalid.
func checkParameter(p *model.Parameter) error {
	s, err := schema.Compile(p.Schema)
	if err != nil {
		return model.Errorf(model.Invalid, "parameter %q: %s", p.Name, inSchema(err))
	}
	if err := s.Check(p.Value); err != nil {
		return model.Errorf(model.Invalid, "parameter %q: the value does not fit the schema: %v", p.Name, err)
	}
	return nil
}

// checkParameters is checkParameter for all of a new thing.
func checkParameters(list []model.Parameter) error {
	for i := range list {
		if err := checkParameter(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// refuseCircle refuses a link that leads round and round, or over more links than are followed. It is asked once all is
// written: what a link leads to may come with it. Error: Invalid, naming the circle.
func refuseCircle(r state.Reader, row *model.SettingRow) error {
	var way []*model.SettingRow
	for at := row; at != nil && at.Kind() == model.SettingLink; {
		if i := slices.IndexFunc(way, func(o *model.SettingRow) bool { return o.Key() == at.Key() }); i >= 0 {
			var names []string
			for _, o := range append(way[i:], at) {
				names = append(names, ownerPath(r, o.Owner)+"/settings/"+o.Name)
			}
			return model.Errorf(model.Invalid, "setting %q: its link leads in a circle: %s: let one of them link elsewhere", row.Name, strings.Join(names, " -> "))
		}
		if way = append(way, at); len(way) > maxLinks {
			return model.Errorf(model.Invalid, "setting %q: its link leads on over more than %d links: let it link to where the value stands", row.Name, maxLinks)
		}
		t, err := model.ParseLink(at.Link)
		if err != nil {
			return nil
		}
		o, ok := ownerAt(r, t)
		if !ok || o.OrgID != at.Owner.OrgID {
			return nil
		}
		at = nearest(r, chainOf(r, o), t.Key)
	}
	return nil
}

// refuseCircles is refuseCircle for settings of an owner.
func refuseCircles(r state.Reader, o model.Owner, docs []model.Setting) error {
	for i := range docs {
		if docs[i].Kind() != model.SettingLink {
			continue
		}
		if row, ok := state.Get[model.SettingRow](r, model.SettingKey(o.ID, docs[i].Key)); ok {
			if err := refuseCircle(r, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// isFinal says whether a schema forbids settings nearer than the one that it is of.
func isFinal(raw json.RawMessage) bool {
	s, err := model.ParseSchema(raw)
	return err == nil && s.Final
}

// finalOf says whether a setting cannot be overridden: by its own schema, or by that of the parameter which it stands for.
func finalOf(row *model.SettingRow, of model.Furnished) bool {
	if len(row.Schema) > 0 {
		return isFinal(row.Schema)
	}
	if of == nil {
		return false
	}
	p := model.ParameterFor(of, row.Name)
	return p != nil && isFinal(p.Schema)
}

// inSchema is an error of a schema with the word in front, with which most begin already.
func inSchema(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "schema") {
		return text
	}
	return "schema: " + err.Error()
}
