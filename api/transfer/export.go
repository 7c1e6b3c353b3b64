package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Export writes an organization as it is in a view, which is of one index, while others go on. Errors: NotFound, Invalid
// (of the seal), TooLarge, and those of w and ctx.
func Export(ctx context.Context, view *state.View, orgID string, seal Seal, w io.Writer) error {
	if err := seal.Check(); err != nil {
		return err
	}
	org, err := orchestrate.OrganizationByID(view, orgID)
	if err != nil {
		return err
	}
	out, err := newWriter(w)
	if err != nil {
		return err
	}
	head := Header{Format: Format, Version: Version, Organization: org.Name, Epoch: view.Epoch(), Index: view.Index(), Time: model.FormatTime(view.Now()), Sealed: seal.on()}
	if err := out.writeDoc(Record{Kind: KindHeader}, head); err != nil {
		return err
	}
	e := &exporter{ctx: ctx, r: view, org: org}
	if seal.on() { // secrets go first, so that who reads has them when they are needed
		e.emit = func(*Record) error { return nil }
		if err := e.all(); err != nil {
			return err
		}
		if err := out.sealed(seal, e.secrets); err != nil {
			return err
		}
	}
	found := len(e.secrets)
	e.secrets, e.emit = nil, out.write
	if err := e.all(); err != nil {
		return err
	}
	if seal.on() && found != len(e.secrets) {
		return fmt.Errorf("the organization had %d secrets, and then %d", found, len(e.secrets))
	}
	return out.end(len(e.secrets))
}

// sealed writes the secrets in parts.
func (w *writer) sealed(seal Seal, secrets []json.RawMessage) error {
	b, err := seal.seal(secrets)
	if err != nil {
		return err
	}
	return w.parts(Record{Kind: KindSealed}, b)
}

// parts writes bytes in as many records as it takes.
func (w *writer) parts(r Record, b []byte) error {
	for _, p := range split(r, b) {
		if err := w.write(&p); err != nil {
			return err
		}
	}
	return nil
}

func split(r Record, b []byte) []Record {
	r.Parts = max((len(b)+partSize-1)/partSize, 1)
	out := make([]Record, 0, r.Parts)
	for r.Part = range r.Parts {
		r.Data = b[r.Part*partSize : min((r.Part+1)*partSize, len(b))]
		out = append(out, r)
	}
	return out
}

// exporter walks an organization, in the order of a file.
type exporter struct {
	ctx     context.Context
	r       *state.View
	org     *model.OrganizationRow
	emit    func(*Record) error
	secrets []json.RawMessage // in the order of their records
	owners  []owned
	kept    []furnished // platforms, distributions, applications
	sealed  int         // bytes of secrets
}

// owned is who has settings and groups.
type owned struct {
	at     Record
	owner  model.Owner
	groups bool
}

// doc emits a record with a document, without what is secret in it.
func (e *exporter) doc(r Record, doc any) error {
	if err := e.ctx.Err(); err != nil {
		return fmt.Errorf("export the organization: %w", err)
	}
	for _, s := range secretsIn(doc) {
		value := s.get()
		if len(value) == 0 {
			continue
		}
		if e.sealed += len(value); e.sealed > maxSealed/2 {
			return model.Errorf(model.TooLarge, "the organization has more than %d bytes of secrets", maxSealed/2)
		}
		e.secrets, r.Secrets = append(e.secrets, slices.Clone(value)), append(r.Secrets, s.name)
		if err := s.set(nil); err != nil {
			return fmt.Errorf("write %s: %w", r.where(), err)
		}
	}
	var err error
	if r.Doc, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("write %s: %w", r.where(), err)
	}
	return e.emit(&r)
}

// named is the document of what has a name and a description.
type named struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// all walks the organization once.
func (e *exporter) all() error {
	e.owners, e.sealed = []owned{{Record{}, orchestrate.OwnerOfOrganization(e.org), true}}, 0
	if err := e.doc(Record{Kind: KindOrganization}, named{e.org.Name, e.org.Description}); err != nil {
		return err
	}
	for _, step := range []func() error{e.kits, e.environments, e.hostgroups, e.definitions, e.jobs, e.settings, e.locks, e.groups, e.quota} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// copied is a document that may be changed: those of rows are shared.
func copied[T any](doc T) (*T, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("copy a document: %w", err)
	}
	out := new(T)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("copy a document: %w", err)
	}
	return out, nil
}

// furnished is a thing with files, and its place.
type furnished struct {
	at  Record
	row model.Furnished
}

// kits are platforms, distributions and applications; then what belongs to them.
func (e *exporter) kits() error {
	var all []furnished
	for _, p := range orchestrate.Platforms(e.r, e.org.ID) {
		doc, err := copied(p.Document)
		if err != nil {
			return err
		}
		doc.ClearServerFields()
		doc.Name, doc.Settings = p.Name, nil
		if err := e.doc(Record{Kind: KindPlatform}, doc); err != nil {
			return err
		}
		all = append(all, furnished{Record{Platform: p.Name}, p})
	}
	for _, d := range orchestrate.Distributions(e.r, e.org.ID) {
		doc, err := copied(d.Document)
		if err != nil {
			return err
		}
		doc.ClearServerFields()
		doc.Name, doc.Settings = d.Name, nil
		if err := e.doc(Record{Kind: KindDistribution}, doc); err != nil {
			return err
		}
		all = append(all, furnished{Record{Distribution: d.Name}, d})
	}
	for _, a := range orchestrate.Applications(e.r, e.org.ID) {
		doc, err := copied(a.Document)
		if err != nil {
			return err
		}
		doc.ClearServerFields()
		doc.Name = a.Name
		if err := e.doc(Record{Kind: KindApplication}, doc); err != nil {
			return err
		}
		all = append(all, furnished{Record{Application: a.Name}, a})
	}
	for _, k := range all {
		if err := e.parts(k); err != nil {
			return err
		}
	}
	e.kept = all
	return nil
}

// locks come after settings: those of a locked distribution cannot be written.
func (e *exporter) locks() error {
	for _, k := range e.kept {
		if k.row.Base().Locked {
			k.at.Kind = KindLock
			if err := e.emit(&k.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// parts are the contents, modules and repositories of a kit.
func (e *exporter) parts(k furnished) error {
	base := k.row.Base()
	if k.row.Table() != "application" {
		e.owners = append(e.owners, owned{k.at, orchestrate.OwnerOfKit(k.row), false})
	}
	at := k.at
	at.Kind = KindContent
	if base.Thumb != "" {
		b, err := orchestrate.Thumb(e.r, base.OrgID, base.ID)
		if err != nil {
			return fmt.Errorf("read the picture of %s: %w", base.Name, err)
		}
		if err := e.content(at, b); err != nil {
			return err
		}
	}
	for _, f := range *k.row.FileList() {
		if base.Files[f.Name].Content == "" {
			continue
		}
		b, err := orchestrate.FileContent(e.r, base.OrgID, base.ID, f.Name)
		if err != nil {
			return fmt.Errorf("read the content of %s of %s: %w", f.Name, base.Name, err)
		}
		at.Name = f.Name
		if err := e.content(at, b); err != nil {
			return err
		}
	}
	if k.row.Table() != "application" {
		return nil
	}
	modules, err := orchestrate.RpmModules().List(e.r, base.OrgID, base.ID, true)
	if err != nil {
		return err
	}
	for _, m := range modules {
		m.UUID, m.Version = "", 0
		if err := e.doc(Record{Kind: KindModule, Application: base.Name}, &m); err != nil {
			return err
		}
	}
	gits, err := orchestrate.Gits().List(e.r, base.OrgID, base.ID, true)
	if err != nil {
		return err
	}
	for _, g := range gits {
		g.UUID, g.Version = "", 0
		if err := e.doc(Record{Kind: KindGit, Application: base.Name}, &g); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) content(at Record, b []byte) error {
	for _, p := range split(at, b) {
		if err := e.emit(&p); err != nil {
			return err
		}
	}
	return nil
}
