package orchestrate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// mask stands for the value of a secret setting (contract section 1.3, obfuscate).
const mask = `"********"`

// settingRows are the settings of an owner by key.
func settingRows(r state.Reader, ownerID string) []*model.SettingRow {
	return byName(state.List[model.SettingRow](r, model.SettingsOf(ownerID)), func(s *model.SettingRow) string { return s.Name })
}

// ownSettings are the settings of an owner as they were given, secrets included: for copies.
func ownSettings(r state.Reader, o model.Owner) []model.Setting {
	out := []model.Setting{}
	for _, s := range settingRows(r, o.ID) {
		out = append(out, settingDoc(s))
	}
	return out
}

func settingDoc(s *model.SettingRow) model.Setting {
	return model.Setting{
		UUID: s.ID, Version: s.Version, Key: s.Name, Value: s.Value, Link: s.Link, Property: s.Property, Schema: s.Schema,
	}
}

// Settings lists the settings of an owner by key, as show says. A setting without a schema of its own shows
// that of the parameter with the same key.
func Settings(r state.Reader, o model.Owner, show Show) []model.Setting {
	out := []model.Setting{}
	rows := settingRows(r, o.ID)
	if len(rows) == 0 {
		return out
	}
	schemas := parameterSchemas(r, o)
	for _, row := range rows {
		if row.Owner.OrgID != o.OrgID || show.Key != "" && show.Key != row.Name {
			continue
		}
		if s, ok := showSetting(row, schemas[row.Name], show); ok {
			out = append(out, s)
		}
	}
	return out
}

// showSetting shows a setting, of which declared is the schema of the parameter that it stands for.
func showSetting(row *model.SettingRow, declared json.RawMessage, show Show) (model.Setting, bool) {
	s := settingDoc(row)
	if len(s.Schema) == 0 {
		s.Schema = declared
	}
	secret := isSecret(s.Schema) || isSecret(declared)
	if show.SecretOnly && !secret || show.NoSecret && secret {
		return s, false
	}
	if secret && len(s.Value) > 0 {
		if show.Obfuscate {
			s.Value = json.RawMessage(mask)
		} else {
			show.clear()
		}
	}
	return s, true
}

func isSecret(schema json.RawMessage) bool {
	s, err := model.ParseSchema(schema)
	return err == nil && s.Secret
}

// parameterSchemas gives the schemas of the parameters that settings of the owner may stand for: those of what the
// context is of, else of all applications, platforms and distributions of the organization, where a secret one wins.
func parameterSchemas(r state.Reader, o model.Owner) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, k := range kitsFor(r, o) {
		for _, p := range *k.ParameterList() {
			if had, ok := out[p.Key]; ok && (isSecret(had) || !isSecret(p.Schema)) {
				continue
			}
			out[p.Key] = p.Schema
		}
	}
	return out
}

// parameterSchema is parameterSchemas for one key.
func parameterSchema(r state.Reader, o model.Owner, key string) (schema json.RawMessage) {
	found := false
	for _, k := range kitsFor(r, o) {
		for _, p := range *k.ParameterList() {
			if p.Key != key || found && (isSecret(schema) || !isSecret(p.Schema)) {
				continue
			}
			schema, found = p.Schema, true
		}
	}
	return schema
}

// kitsFor are those whose parameters settings of the owner may stand for.
func kitsFor(r state.Reader, o model.Owner) []model.Furnished {
	var kits []model.Furnished
	if ownsForOne(o) {
		if k := kitOfOwner(r, o); k != nil {
			kits = append(kits, k)
		}
		return kits
	}
	for _, a := range Applications(r, o.OrgID) {
		kits = append(kits, a)
	}
	for _, p := range Platforms(r, o.OrgID) {
		kits = append(kits, p)
	}
	for _, d := range Distributions(r, o.OrgID) {
		kits = append(kits, d)
	}
	return kits
}

// GetSetting is one setting of an owner. Error: NotFound.
func GetSetting(r state.Reader, o model.Owner, key string, show Show) (model.Setting, error) {
	row, ok := state.Get[model.SettingRow](r, model.SettingKey(o.ID, key))
	if ok && row.Owner.OrgID == o.OrgID {
		if s, ok := showSetting(row, parameterSchema(r, o, key), show); ok {
			return s, nil
		}
	}
	return model.Setting{}, model.Errorf(model.NotFound, "setting %q not found", key)
}

// createSettings puts the embedded settings of a new owner; nothing is set off, since nothing is below it yet.
func createSettings(tx *state.Tx, o model.Owner, docs []model.Setting) error {
	seen, at := map[string]bool{}, placeSettings(tx, o)
	for _, doc := range docs {
		if seen[doc.Key] {
			return model.Errorf(model.Invalid, "setting %q is there twice: keep one", doc.Key)
		}
		seen[doc.Key] = true
		if _, err := at.put(tx, doc, nil); err != nil {
			return err
		}
	}
	return refuseCircles(tx, o, docs)
}

// settingPlace is where settings are put: what each of them is held against there. It holds for a transaction as long as
// only settings are written.
type settingPlace struct {
	owner model.Owner
	chain chain
	kits  func() []model.Furnished // read when first a value is checked
}

func placeSettings(r state.Reader, o model.Owner) settingPlace {
	return settingPlace{owner: o, chain: chainOf(r, o), kits: sync.OnceValue(func() []model.Furnished { return kitsFor(r, o) })}
}

// put creates a setting, or replaces old. It gives the row.
func (p *settingPlace) put(tx *state.Tx, doc model.Setting, old *model.SettingRow) (*model.SettingRow, error) {
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	kept := false
	if old != nil && string(doc.Value) == mask {
		var err error
		if kept, err = p.keepSecret(tx, &doc, old); err != nil {
			return nil, err
		}
	}
	if err := p.refuseFinal(tx, doc.Key); err != nil {
		return nil, err
	}
	if err := p.checkValue(&doc, kept); err != nil {
		return nil, err
	}
	row := &model.SettingRow{
		Owner: p.owner, Name: doc.Key, Version: 1, Value: doc.Value, Link: doc.Link, Property: doc.Property, Schema: doc.Schema,
	}
	if string(row.Schema) == "null" {
		row.Schema = nil
	}
	if old != nil {
		row.ID, row.Version = old.ID, old.Version+1
	} else {
		row.ID = newID()
	}
	return row, state.Put(tx, row)
}

// keepSecret leaves a secret value for which doc has the mask, and tells whether there was one. With it goes that it is a
// secret: who does not send the value may not see it, and must not get to by another schema. Error: Invalid.
func (p *settingPlace) keepSecret(r state.Reader, doc *model.Setting, old *model.SettingRow) (bool, error) {
	declared := isSecret(parameterSchema(r, p.owner, old.Name))
	if !declared && !isSecret(old.Schema) {
		return false, nil
	}
	if len(doc.Schema) == 0 {
		doc.Schema = old.Schema
	}
	if !declared && !isSecret(doc.Schema) {
		return false, model.Errorf(model.Invalid, "setting %q is secret: give its value, another one or none, with a schema that is not", doc.Key)
	}
	doc.Value = old.Value
	return true, nil
}

// replaceSetting puts a setting, sets off what that means, and shows what was put.
func replaceSetting(tx *state.Tx, o model.Owner, doc model.Setting, old *model.SettingRow, t Trigger) (model.Setting, error) {
	var row *model.SettingRow
	err := withHandlers(tx, o, []string{doc.Key}, t, func() (err error) {
		at := placeSettings(tx, o)
		if row, err = at.put(tx, doc, old); err != nil {
			return err
		}
		return refuseCircle(tx, row)
	})
	if err != nil {
		return model.Setting{}, err
	}
	made, _ := showSetting(row, parameterSchema(tx, o, row.Name), Show{}) // nothing is hidden: the caller knows what was sent
	return made, nil
}

// refuseFinal refuses a setting that one above says cannot be overridden (contract section 4.3).
func (p *settingPlace) refuseFinal(r state.Reader, key string) error {
	for _, above := range p.chain.owners {
		if above.ID == p.owner.ID {
			continue
		}
		row, ok := state.Get[model.SettingRow](r, model.SettingKey(above.ID, key))
		if !ok {
			continue
		}
		if finalOf(row, p.chain.of) {
			return model.Errorf(model.Conflict, "setting %q is final at %s: it cannot be overridden below", key, ownerPath(r, above))
		}
	}
	return nil
}

// CreateSetting creates a setting and queues the changes of the handlers that it concerns.
// Errors: NotFound (the owner), Invalid, Conflict (it exists, one above is final, the owner is locked).
func CreateSetting(tx *state.Tx, o model.Owner, doc model.Setting, t Trigger) (model.Setting, error) {
	if err := ownerOpen(tx, o); err != nil {
		return model.Setting{}, err
	}
	if _, ok := state.Get[model.SettingRow](tx, model.SettingKey(o.ID, doc.Key)); ok {
		return model.Setting{}, model.Errorf(model.Conflict, "there is a setting %q already: update it instead", doc.Key)
	}
	return replaceSetting(tx, o, doc, nil, t)
}

// UpdateSetting changes a setting and queues the changes of the handlers that it concerns. The key stays; so does a secret
// value for which its mask is sent back. Errors: NotFound, Invalid, Conflict (one above is final, the owner is locked).
func UpdateSetting(tx *state.Tx, o model.Owner, key string, patch []byte, t Trigger) (model.Setting, error) {
	if err := ownerOpen(tx, o); err != nil {
		return model.Setting{}, err
	}
	old, ok := state.Get[model.SettingRow](tx, model.SettingKey(o.ID, key))
	if !ok {
		return model.Setting{}, model.Errorf(model.NotFound, "setting %q not found", key)
	}
	doc, err := model.MergeSetting(settingDoc(old), patch)
	if err != nil {
		return model.Setting{}, err
	}
	if len(old.Value) > 0 && bytes.Equal(doc.Value, old.Value) && !model.Sends(patch, "value") && (isSecret(old.Schema) || isSecret(parameterSchema(tx, o, key))) {
		doc.Value = json.RawMessage(mask) // a secret that is not sent is kept as one whose mask is
	}
	if doc.Key != key {
		return model.Setting{}, model.Errorf(model.Invalid, "the key of a setting cannot change: delete %q and create %q", key, doc.Key)
	}
	return replaceSetting(tx, o, doc, old, t)
}

// DeleteSetting deletes a setting and queues the changes of the handlers that it concerns.
// Errors: NotFound, Conflict (the owner is locked).
func DeleteSetting(tx *state.Tx, o model.Owner, key string, t Trigger) error {
	if err := ownerOpen(tx, o); err != nil {
		return err
	}
	if _, ok := state.Get[model.SettingRow](tx, model.SettingKey(o.ID, key)); !ok {
		return model.Errorf(model.NotFound, "setting %q not found", key)
	}
	return withHandlers(tx, o, []string{key}, t, func() error {
		state.Delete[model.SettingRow](tx, model.SettingKey(o.ID, key))
		return nil
	})
}

// BulkSettings creates and updates the listed settings and deletes the others, unless noDelete. A handler
// that several keys concern runs once. A mask that is sent back for a secret value leaves it.
// Errors: NotFound (the owner), Invalid, Conflict (one above is final, the owner is locked).
func BulkSettings(tx *state.Tx, o model.Owner, docs []model.Setting, noDelete bool, t Trigger) error {
	if err := ownerOpen(tx, o); err != nil {
		return err
	}
	var keys []string
	for _, doc := range docs {
		if slices.Contains(keys, doc.Key) {
			return model.Errorf(model.Invalid, "setting %q is there twice: keep one", doc.Key)
		}
		keys = append(keys, doc.Key)
	}
	var gone []string
	if !noDelete { // else the others are not read: who writes other keys meanwhile is no conflict
		for _, row := range settingRows(tx, o.ID) {
			if !slices.Contains(keys, row.Name) {
				gone = append(gone, row.Name)
			}
		}
	}
	return withHandlers(tx, o, append(slices.Clone(keys), gone...), t, func() error {
		for _, key := range gone {
			state.Delete[model.SettingRow](tx, model.SettingKey(o.ID, key))
		}
		at := placeSettings(tx, o)
		for _, doc := range docs {
			old, _ := state.Get[model.SettingRow](tx, model.SettingKey(o.ID, doc.Key))
			if _, err := at.put(tx, doc, old); err != nil {
				return err
			}
		}
		return refuseCircles(tx, o, docs)
	})
}

// moveLinks rewrites the links of an organization, and the inputs of its jobs, that pass through an address that changes.
func moveLinks(tx *state.Tx, orgID, was, is string) error {
	if err := moveJobs(tx, orgID, was, is); err != nil {
		return err
	}
	for _, key := range state.Keys[model.SettingRow](tx, model.LinksOf(orgID)) {
		row, ok := state.Edit[model.SettingRow](tx, key)
		if !ok || !strings.HasPrefix(row.Link, was+"/") {
			continue
		}
		row.Link = is + strings.TrimPrefix(row.Link, was)
		row.Version++
		if err := state.Put(tx, row); err != nil {
			return err
		}
	}
	return nil
}

// Tree shows all settings of an organization (contract section 3.2). Error: NotFound.
func Tree(r state.Reader, orgID string, show Show) (model.SettingTree, error) {
	o, err := OrganizationByID(r, orgID)
	if err != nil {
		return model.SettingTree{}, err
	}
	t := model.SettingTree{
		Organization: o.Name, Settings: Settings(r, OwnerOfOrganization(o), show),
		Environments: []model.EnvironmentSetting{}, Distributions: []model.DistributionSetting{}, Platforms: []model.PlatformSetting{},
	}
	for _, d := range Distributions(r, orgID) {
		t.Distributions = append(t.Distributions, model.DistributionSetting{Distribution: d.Name, Settings: Settings(r, OwnerOfKit(d), show)})
	}
	for _, p := range Platforms(r, orgID) {
		t.Platforms = append(t.Platforms, model.PlatformSetting{Platform: p.Name, Settings: Settings(r, OwnerOfKit(p), show)})
	}
	for _, e := range Environments(r, orgID) {
		es := model.EnvironmentSetting{Environment: e.Name, Settings: Settings(r, OwnerOfEnvironment(e), show), Hosts: []model.HostSetting{}}
		for _, h := range Hosts(r, orgID, e.ID) {
			hs := model.HostSetting{Host: h.Name, Settings: Settings(r, OwnerOfHost(h), show), Applications: []model.ApplicationSetting{}}
			for _, c := range Contexts(r, orgID, h.ID) {
				hs.Applications = append(hs.Applications, model.ApplicationSetting{
					Application: applicationName(r, c.AppID), Settings: Settings(r, OwnerOfContext(c), show),
				})
			}
			if c, d, err := DistributionOf(r, orgID, h.ID); err == nil {
				hs.Distribution = &model.DistributionSetting{Distribution: d.Name, Settings: Settings(r, OwnerOfDistributionContext(c), show)}
			}
			if c, p, err := PlatformOf(r, orgID, h.ID); err == nil {
				hs.Platform = &model.PlatformSetting{Platform: p.Name, Settings: Settings(r, OwnerOfPlatformContext(c), show)}
			}
			es.Hosts = append(es.Hosts, hs)
		}
		t.Environments = append(t.Environments, es)
	}
	return t, nil
}
