package orchestrate

import (
	"reflect"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// definitionRow is a row of a table of definitions.
type definitionRow[T any] interface {
	row[T]
	Base() *model.Definition
}

// Kind says how the things of one table of definitions are kept and shown: webhooks, channels, modules, repositories.
type Kind[T, D any, P definitionRow[T]] struct {
	Word string                            // for people
	App  bool                              // they belong to applications, else to organizations
	doc  func(*T) *D                       // the document in the row
	name func(*D) string                   // its name
	fill func(*D)                          // completes and clears a document that was given; server fields too
	ok   func(*D) error                    // validates
	hide func(*D)                          // masks what is secret
	keep func(was, is *D, p patched) error // puts back what was sent back masked
	show func(d *D, id, org string, v int) // what the server sets
	made func(tx *state.Tx, row *T) error  // does what else is due before the row is put; nil: nothing
}

// Webhooks are the webhooks of organizations.
func Webhooks() Kind[model.WebhookRow, model.Webhook, *model.WebhookRow] {
	return Kind[model.WebhookRow, model.Webhook, *model.WebhookRow]{
		Word: "webhook",
		doc:  func(r *model.WebhookRow) *model.Webhook { return &r.Document },
		name: func(d *model.Webhook) string { return d.Name },
		fill: func(d *model.Webhook) { d.UUID, d.Version, d.Organization = "", 0, ""; d.Normalize() },
		ok:   (*model.Webhook).Validate,
		hide: func(d *model.Webhook) {
			d.Token, d.Headers, d.Parameters = masked(d.Token), maskedPairs(d.Headers), maskedPairs(d.Parameters)
			d.SigningSecret = masked(d.SigningSecret)
		},
		keep: keepWebhook,
		show: func(d *model.Webhook, id, org string, v int) { d.UUID, d.Organization, d.Version = id, org, v },
		made: webhookMade,
	}
}

// NotificationChannels are the notification channels of organizations.
func NotificationChannels() Kind[model.NotificationRow, model.NotificationChannel, *model.NotificationRow] {
	return Kind[model.NotificationRow, model.NotificationChannel, *model.NotificationRow]{
		Word: "notification channel",
		doc:  func(r *model.NotificationRow) *model.NotificationChannel { return &r.Document },
		name: func(d *model.NotificationChannel) string { return d.Name },
		fill: func(d *model.NotificationChannel) { d.UUID, d.Version, d.Organization = "", 0, ""; d.Normalize() },
		ok:   (*model.NotificationChannel).Validate,
		hide: func(d *model.NotificationChannel) { d.Value = masked(d.Value) },
		keep: func(was, is *model.NotificationChannel, _ patched) error {
			is.Value = kept(was.Value, is.Value)
			return nil
		},
		show: func(d *model.NotificationChannel, id, org string, v int) {
			d.UUID, d.Organization, d.Version = id, org, v
		},
		made: channelMade,
	}
}

// RpmModules are the modules of applications.
func RpmModules() Kind[model.RpmModuleRow, model.RpmModule, *model.RpmModuleRow] {
	return Kind[model.RpmModuleRow, model.RpmModule, *model.RpmModuleRow]{
		Word: "rpm module", App: true,
		doc:  func(r *model.RpmModuleRow) *model.RpmModule { return &r.Document },
		name: func(d *model.RpmModule) string { return d.Name },
		fill: func(d *model.RpmModule) { d.UUID, d.Version = "", 0 },
		ok:   (*model.RpmModule).Validate,
		hide: func(*model.RpmModule) {},
		keep: func(_, _ *model.RpmModule, _ patched) error { return nil },
		show: func(d *model.RpmModule, id, _ string, v int) { d.UUID, d.Version = id, v },
	}
}

// Gits are the git repositories of applications.
func Gits() Kind[model.GitRow, model.Git, *model.GitRow] {
	return Kind[model.GitRow, model.Git, *model.GitRow]{
		Word: "git repository", App: true,
		doc:  func(r *model.GitRow) *model.Git { return &r.Document },
		name: func(d *model.Git) string { return d.Name },
		fill: func(d *model.Git) { d.UUID, d.Version = "", 0 },
		ok:   (*model.Git).Validate,
		hide: func(d *model.Git) { d.Token, d.Endpoint = masked(d.Token), model.MaskedAddresses(d.Endpoint, maskText) },
		keep: func(was, is *model.Git, p patched) error {
			if is.Endpoint == model.MaskedAddresses(was.Endpoint, maskText) {
				is.Endpoint = was.Endpoint
			}
			if was.Endpoint != is.Endpoint && was.Token != "" && p.keeps("token", is.Token) {
				return p.elsewhere("git repository", was.Name)
			}
			is.Token = kept(was.Token, is.Token)
			return nil
		},
		show: func(d *model.Git, id, _ string, v int) { d.UUID, d.Version = id, v },
	}
}

// maskText stands for a secret text.
const maskText = "********"

func masked(text string) string {
	if text == "" {
		return ""
	}
	return maskText
}

// kept is what is meant by a text that was shown masked: the mask leaves it as it was.
func kept(was, is string) string {
	if is == maskText {
		return was
	}
	return is
}

func maskedPairs(pairs []model.Pair) []model.Pair {
	out := make([]model.Pair, len(pairs))
	for i, p := range pairs {
		if p.Hidden() {
			p.Value = masked(p.Value)
		}
		out[i] = p
	}
	return out
}

// keepPairs puts back the values of secret pairs that were sent back masked, and tells whether there are any. Error:
// Invalid (one is to be no secret any more).
func keepPairs(was, is []model.Pair) (any bool, err error) {
	for i := range is {
		for _, w := range was {
			if w.Name != is[i].Name || !w.Hidden() || w.Value == "" || is[i].Value != maskText {
				continue
			}
			if !is[i].Hidden() {
				return false, model.Errorf(model.Invalid, "%q is secret: give its value, or another, to make it public", w.Name)
			}
			is[i].Value, any = w.Value, true
		}
	}
	return any, nil
}

// patched is a change of a document by somebody who may see its secrets, or may not.
type patched struct {
	body []byte
	sees bool
}

// keeps tells whether a secret field stays as it is for somebody who may not see it.
func (p patched) keeps(field, value string) bool {
	return !p.sees && (value == maskText || !model.Sends(p.body, field))
}

// elsewhere refuses to send secrets to another address, where who may not see them would get them.
func (p patched) elsewhere(word, name string) error {
	return model.Errorf(model.Forbidden, "%s %q: another address would get secrets that you may not see: give them again, empty or others, or ask who may see them", word, name)
}

// keepWebhook puts back what was sent back masked. Errors: Invalid; Forbidden (secrets would go to another server).
func keepWebhook(was, is *model.Webhook, p patched) error {
	secrets := was.Token != "" && p.keeps("token", is.Token)
	is.Token = kept(was.Token, is.Token)
	is.SigningSecret = kept(was.SigningSecret, is.SigningSecret)
	for field, pairs := range map[string][2][]model.Pair{"headers": {was.Headers, is.Headers}, "parameters": {was.Parameters, is.Parameters}} {
		masked, err := keepPairs(pairs[0], pairs[1])
		if err != nil {
			return err
		}
		unsent := !model.Sends(p.body, field) && slices.ContainsFunc(pairs[0], func(w model.Pair) bool { return w.Hidden() && w.Value != "" })
		secrets = secrets || !p.sees && (masked || unsent)
	}
	samePort := was.Port == is.Port || was.Port != nil && is.Port != nil && *was.Port == *is.Port
	if secrets && (was.Protocol != is.Protocol || was.ServerName != is.ServerName || !samePort) {
		return p.elsewhere("webhook", was.Name)
	}
	return nil
}

// owner refuses an owner that is not of the organization. A locked application refuses changes. Errors: NotFound, Conflict.
func (k Kind[T, D, P]) owner(r state.Reader, orgID, ownerID string, change bool) error {
	if !k.App {
		if orgID != ownerID {
			return model.Errorf(model.NotFound, "organization not found")
		}
		_, err := OrganizationByID(r, orgID)
		return err
	}
	a, err := applicationByID(r, orgID, ownerID)
	if err != nil || !change {
		return err
	}
	return unlocked(a)
}

// List gives the documents of an owner by name. secret says whether secrets are shown, else they are masked. Error:
// NotFound (the owner).
func (k Kind[T, D, P]) List(r state.Reader, orgID, ownerID string, secret bool) ([]D, error) {
	if err := k.owner(r, orgID, ownerID, false); err != nil {
		return nil, err
	}
	out := []D{}
	for _, row := range byName(state.List[T, P](r, model.DefinitionsOf(ownerID)), func(t *T) string { return P(t).Base().Name }) {
		out = append(out, k.shown(r, row, secret))
	}
	return out, nil
}

func (k Kind[T, D, P]) shown(r state.Reader, row *T, secret bool) D {
	base, doc := P(row).Base(), *k.doc(row)
	k.show(&doc, base.ID, organizationName(r, base.OrgID), base.Version)
	if !secret {
		k.hide(&doc)
	}
	return doc
}

// Bare says whether a document shows a secret in clear.
func (k Kind[T, D, P]) Bare(doc D) bool {
	hidden := doc
	k.hide(&hidden)
	return !reflect.DeepEqual(hidden, doc)
}

func (k Kind[T, D, P]) find(r state.Reader, orgID, ownerID, name string) (*T, error) {
	if row, ok := state.Find[T, P](r, model.DefinitionNamed(ownerID, name)); ok && P(row).Base().OrgID == orgID {
		return row, nil
	}
	return nil, model.Errorf(model.NotFound, "%s %q not found", k.Word, name)
}

// Get is one document. Error: NotFound.
func (k Kind[T, D, P]) Get(r state.Reader, orgID, ownerID, name string, secret bool) (D, error) {
	var none D
	if err := k.owner(r, orgID, ownerID, false); err != nil {
		return none, err
	}
	row, err := k.find(r, orgID, ownerID, name)
	if err != nil {
		return none, err
	}
	return k.shown(r, row, secret), nil
}

// Create stores a document. Errors: NotFound (the owner), Invalid, Conflict (the name is taken, the application is
// locked).
func (k Kind[T, D, P]) Create(tx *state.Tx, orgID, ownerID string, doc D, secret bool) (D, error) {
	if err := k.owner(tx, orgID, ownerID, true); err != nil {
		return doc, err
	}
	row := new(T)
	*P(row).Base() = model.Definition{ID: newID(), OrgID: orgID, OwnerID: ownerID}
	return k.put(tx, row, doc, secret)
}

// put validates and writes a document into its row.
func (k Kind[T, D, P]) put(tx *state.Tx, row *T, doc D, secret bool) (D, error) {
	base := P(row).Base()
	k.fill(&doc)
	if err := k.ok(&doc); err != nil {
		return doc, err
	}
	name := k.name(&doc)
	if name != base.Name {
		if _, taken := state.Find[T, P](tx, model.DefinitionNamed(base.OwnerID, name)); taken {
			return doc, taken409(k.Word, name)
		}
	}
	base.Name = name
	base.Version++
	*k.doc(row) = doc
	if k.made != nil {
		if err := k.made(tx, row); err != nil {
			return doc, err
		}
	}
	if err := state.Put[T, P](tx, row); err != nil {
		return doc, err
	}
	return k.shown(tx, row, secret), nil
}

// Update changes a document. A secret that is sent as it is masked stays. Errors: NotFound, Invalid, Conflict (the name
// is taken, the application is locked).
func (k Kind[T, D, P]) Update(tx *state.Tx, orgID, ownerID, name string, patch []byte, secret bool) (D, error) {
	var none D
	if err := k.owner(tx, orgID, ownerID, true); err != nil {
		return none, err
	}
	found, err := k.find(tx, orgID, ownerID, name)
	if err != nil {
		return none, err
	}
	row, _ := state.Edit[T, P](tx, P(found).Key())
	was := *k.doc(row)
	doc, err := model.Merge(was, patch)
	if err != nil {
		return none, err
	}
	if err := k.keep(&was, &doc, patched{body: patch, sees: secret}); err != nil {
		return none, err
	}
	return k.put(tx, row, doc, secret)
}

// Delete removes a document. Errors: NotFound, Conflict (the application is locked).
func (k Kind[T, D, P]) Delete(tx *state.Tx, orgID, ownerID, name string) error {
	if err := k.owner(tx, orgID, ownerID, true); err != nil {
		return err
	}
	row, err := k.find(tx, orgID, ownerID, name)
	if err != nil {
		return err
	}
	state.Delete[T, P](tx, P(row).Key())
	return nil
}

// copyTo copies all of an owner to another of the same organization.
func (k Kind[T, D, P]) copyTo(tx *state.Tx, from, to string) error {
	for _, id := range state.Keys[T, P](tx, model.DefinitionsOf(from)) {
		row, ok := state.Edit[T, P](tx, id)
		if !ok {
			continue
		}
		base := P(row).Base()
		base.ID, base.OwnerID, base.Version = newID(), to, 1
		if err := state.Put[T, P](tx, row); err != nil {
			return err
		}
	}
	return nil
}

// copyDefinitions gives a clone of an application its modules and repositories.
func copyDefinitions(tx *state.Tx, from, to string) error {
	if err := RpmModules().copyTo(tx, from, to); err != nil {
		return err
	}
	return Gits().copyTo(tx, from, to)
}
