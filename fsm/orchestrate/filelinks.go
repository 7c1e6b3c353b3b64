package orchestrate

import (
	"cmp"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// FileLinkLife is how long a one-time address of a rendered file can be used.
const FileLinkLife = time.Hour

// maxFileLinks is how many unused addresses a host has; the oldest goes for a further one.
const maxFileLinks = 64

// MakeFileLink stores a one-time address of a file of a context, which must be there now, and gives when it ends. digest
// is model.HashSecret of the token in the address: the token itself is kept nowhere. Errors: NotFound.
func MakeFileLink(tx *state.Tx, orgID, hostID string, owner model.Owner, file, digest string) (time.Time, error) {
	k := kitOfOwner(tx, owner)
	if k == nil || owner.OrgID != orgID {
		return time.Time{}, model.Errorf(model.NotFound, "context not found")
	}
	if _, err := findFile(k, file); err != nil {
		return time.Time{}, err
	}
	trimFileLinks(tx, hostID)
	l := &model.FileLinkRow{
		Digest: digest, OrgID: orgID, HostID: hostID, Owner: owner, File: file,
		Made: tx.Now(), Expires: tx.Now().Add(FileLinkLife), Actor: tx.Actor(),
	}
	return l.Expires, state.Put(tx, l)
}

// trimFileLinks deletes the addresses of a host that are too old, and makes room for one.
func trimFileLinks(tx *state.Tx, hostID string) {
	links := slices.Clone(state.List[model.FileLinkRow](tx, model.FileLinksOf(hostID)))
	slices.SortFunc(links, func(a, b *model.FileLinkRow) int {
		return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.Digest, b.Digest))
	})
	for i, l := range links {
		if !l.Expires.After(tx.Now()) || i <= len(links)-maxFileLinks {
			state.Delete[model.FileLinkRow](tx, l.Digest)
		}
	}
}

// errNoFileLink is the same for an address that never was, that was used, and that is too old.
func errNoFileLink() error {
	return model.Errorf(model.NotFound, "this address was used already, is too old, or never was: ask for another")
}

// PeekFileLink says whether a one-time address can be used. Error: NotFound.
func PeekFileLink(r state.Reader, digest string) (*model.FileLinkRow, error) {
	l, ok := state.Get[model.FileLinkRow](r, digest)
	if !ok || !l.Expires.After(r.Now()) {
		return nil, errNoFileLink()
	}
	return l, nil
}

// UseFileLink renders the file of a one-time address and deletes the address: of two who use it at once one gets it. An
// error leaves the address as it is. Errors: NotFound, Invalid (the template's error).
func UseFileLink(tx *state.Tx, digest string) ([]byte, error) {
	l, err := PeekFileLink(tx, digest)
	if err != nil {
		return nil, err
	}
	k := kitOfOwner(tx, l.Owner)
	if k == nil {
		return nil, errNoFileLink()
	}
	content, err := renderFor(tx, k, l.Owner, l.HostID, l.File)
	if err != nil {
		return nil, err
	}
	state.Delete[model.FileLinkRow](tx, digest)
	return content, nil
}
