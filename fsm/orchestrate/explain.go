package orchestrate

import (
	"encoding/json"
	"strconv"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Explain tells why a key has the value that it has at an owner: all settings that may count, the nearest first, which one
// does, and where its link leads. What stands at an owner that see answers false to is told without its value. Error:
// NotFound (the owner; the key, which has neither a setting nor a default there).
func Explain(r state.Reader, o model.Owner, key string, see func(model.Owner) bool) (model.Explanation, error) {
	if err := ownerExists(r, o); err != nil {
		return model.Explanation{}, err
	}
	c := chainOf(r, o)
	e, ok := resolveKey(r, c, key, nil)
	out := model.Explanation{Key: key, Value: e.Value, Schema: e.Schema, Candidates: []model.Candidate{}, Way: []string{}}
	declared := parameterSchema(r, o, key)
	out.Secret = e.Secret || isSecret(declared) || leadsToSecret(r, c, key, nil)
	if ok {
		out.From = e.From
	}
	chosen := nearest(r, c, key)
	for _, owner := range c.owners {
		row, has := state.Get[model.SettingRow](r, model.SettingKey(owner.ID, key))
		if !has {
			continue
		}
		out.Secret = out.Secret || isSecret(row.Schema)
		out.Candidates = append(out.Candidates, candidate(r, c, row, row.Key() == chosen.Key(), see))
	}
	if c.of != nil {
		if p := model.ParameterFor(c.of, key); p != nil && len(p.Value) > 0 {
			d := model.Candidate{From: parameterPath(r, c.of, p), Kind: "default", Value: p.Value, Final: isFinal(p.Schema), Counts: chosen == nil}
			if chosen != nil {
				d.Why = "there is a setting"
			}
			out.Candidates = append(out.Candidates, d)
		}
	}
	if len(out.Candidates) == 0 {
		return out, model.Errorf(model.NotFound, "setting %q is neither set nor declared here", key)
	}
	out.Way = wayOf(r, chosen)
	if chosen != nil && !see(chosen.Owner) && chosen.Kind() != model.SettingProperty {
		out.Hidden, out.Value = true, nil
	}
	return out, nil
}

// candidate tells of a setting that may count.
func candidate(r state.Reader, c chain, row *model.SettingRow, counts bool, see func(model.Owner) bool) model.Candidate {
	d := model.Candidate{
		From: ownerPath(r, row.Owner) + "/settings/" + row.Name, Kind: string(row.Kind()), Value: row.Value, Link: row.Link, Property: row.Property,
		Final: finalOf(row, c.of), Counts: counts,
	}
	if !counts {
		d.Why = "a nearer one counts"
		if chosen := nearest(r, c, row.Name); chosen != nil && finalOf(chosen, c.of) {
			d.Why = "the one at " + ownerPath(r, chosen.Owner) + " is final"
		}
	}
	if !see(row.Owner) {
		d.Value, d.Link, d.Property, d.Hidden = nil, "", "", true
	}
	return d
}

// wayOf are the addresses that a link leads through, the last one is where the value stands.
func wayOf(r state.Reader, row *model.SettingRow) []string {
	way, seen := []string{}, map[string]bool{}
	for row != nil && row.Kind() == model.SettingLink && !seen[row.Key()] {
		if len(seen) >= maxLinks {
			way = append(way, "no more than "+strconv.Itoa(maxLinks)+" links are followed, so the last one's own value counts")
			break
		}
		seen[row.Key()] = true
		t, err := model.ParseLink(row.Link)
		if err != nil {
			break
		}
		o, ok := ownerAt(r, t)
		if !ok || o.OrgID != row.Owner.OrgID {
			way = append(way, row.Link+": there is nothing, so the link's own value counts")
			break
		}
		row = nearest(r, chainOf(r, o), t.Key)
		if row == nil {
			way = append(way, t.String()+": it is not set there")
			break
		}
		way = append(way, ownerPath(r, row.Owner)+"/settings/"+row.Name)
	}
	return way
}

func parameterPath(r state.Reader, of model.Furnished, p *model.Parameter) string {
	return "organizations/" + organizationName(r, of.Base().OrgID) + "/" + of.Table() + "s/" + of.Base().Name + "/parameters/" + p.Name
}

// Masked is an explanation for who may not see the secret.
func Masked(e model.Explanation) model.Explanation {
	hide := func(v json.RawMessage) json.RawMessage {
		if len(v) == 0 {
			return v
		}
		return json.RawMessage(mask)
	}
	e.Value = hide(e.Value)
	for i := range e.Candidates {
		e.Candidates[i].Value = hide(e.Candidates[i].Value)
	}
	return e
}
