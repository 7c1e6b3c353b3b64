package orchestrate

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// An import makes an organization in many commits. Meanwhile it has a name that nobody asks for, and is in no list;
// the last commit gives it its name. One that stopped is deleted in pieces, by who runs it or by a duty of the leader.
const (
	importQuiet  = 30 * time.Second // how often an import says that it goes on
	importLost   = 10 * time.Minute // without a word, an import is given up
	importDrops  = 400              // rows and ranges that a commit of a clean-up looks at
	importsEvery = time.Minute
)

// BeginImport makes the organization of an import, invisible until FinishImport. Errors: Invalid, Conflict (the name is
// taken).
func BeginImport(tx *state.Tx, doc model.Organization, by string) (*model.OrganizationRow, error) {
	if err := importName(tx, doc.Name); err != nil {
		return nil, err
	}
	name := doc.Name
	doc.Name = "import " + newID()
	o, err := CreateOrganization(tx, doc, "", false)
	if err != nil {
		return nil, err
	}
	o, _ = state.Edit[model.OrganizationRow](tx, o.ID)
	o.Importing = &model.Importing{Name: name, By: by, Seen: tx.Now()}
	return o, state.Put(tx, o)
}

func importName(r state.Reader, name string) error {
	if err := model.CheckName("organization", name); err != nil {
		return err
	}
	if _, taken := state.Find[model.OrganizationRow](r, model.OrganizationNamed(name)); taken {
		return taken409("organization", name)
	}
	return nil
}

// ContinueImport looks that an import is still wanted, and says now and then that it goes on. Error: Conflict (it was
// given up and deleted).
func ContinueImport(tx *state.Tx, orgID string) error {
	o, ok := state.Get[model.OrganizationRow](tx, orgID)
	if !ok || o.Importing == nil {
		return model.Errorf(model.Conflict, "the import took too long and was given up: start it again")
	}
	if tx.Now().Sub(o.Importing.Seen) < importQuiet {
		return nil
	}
	o, _ = state.Edit[model.OrganizationRow](tx, orgID)
	o.Importing = &model.Importing{Name: o.Importing.Name, By: o.Importing.By, Seen: tx.Now()}
	return state.Put(tx, o)
}

// FinishImport gives an imported organization its name. adminID becomes an administrator where nobody is one: else
// nobody could enter it. Errors: Conflict (the name was taken meanwhile, or the import was given up).
func FinishImport(tx *state.Tx, orgID, adminID string) (*model.OrganizationRow, error) {
	if err := ContinueImport(tx, orgID); err != nil {
		return nil, err
	}
	o, _ := state.Edit[model.OrganizationRow](tx, orgID)
	if err := importName(tx, o.Importing.Name); err != nil {
		return nil, err
	}
	o.Name, o.Importing = o.Importing.Name, nil
	if err := state.Put(tx, o); err != nil {
		return nil, err
	}
	g, ok := state.Edit[model.GroupRow](tx, model.GroupKey(o.ID, model.GroupAdmin))
	switch {
	case ok && len(g.Users) > 0:
		return o, nil
	case !ok:
		g = &model.GroupRow{Owner: OwnerOfOrganization(o), Name: model.GroupAdmin, Version: 1}
	}
	g.Users = []string{adminID}
	return o, state.Put(tx, g)
}

// DropImport deletes a piece of an organization that was not imported to its end; more tells that there is more.
func DropImport(tx *state.Tx, orgID string) (more bool, err error) {
	o, ok := state.Get[model.OrganizationRow](tx, orgID)
	if !ok || o.Importing == nil {
		return false, nil
	}
	d := &drops{tx: tx, left: importDrops}
	d.organization(orgID)
	return d.stopped(), nil
}

// DropImports deletes all imports that stopped without a word, and tells when to look again.
func DropImports(ctx context.Context, s RequestStore) (dropped int, next time.Duration, err error) {
	view, err := s.View(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, o := range state.List[model.OrganizationRow](view, model.AllOrganizations) {
		if o.Importing == nil || view.Now().Sub(o.Importing.Seen) < importLost {
			continue
		}
		for more := true; more; {
			err := s.Update(ctx, func(tx *state.Tx) error {
				tx.SetActor("system")
				var err error
				more, err = DropImport(tx, o.ID)
				return err
			})
			if err != nil {
				return dropped, 0, fmt.Errorf("delete what is left of an import: %w", err)
			}
		}
		dropped++
	}
	return dropped, importsEvery, nil
}
