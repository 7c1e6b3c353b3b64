package state

import (
	"fmt"
	"slices"

	"github.com/muster-hq/muster/fsm/seal"
)

// RowName names a row that is to be sealed anew.
type RowName struct {
	Table, Key string
	Clear      bool // it is in clear
}

// Stale are the rows of a view that are to be sealed anew: in clear though their table is a sealed one, or with another
// key of their domain than the newest. Nothing is stale before the cluster has keys. The view is read through.
func Stale(v *View) ([]RowName, error) {
	if v.st.vault.ring == nil || ClusterKeysOf(v).Active == "" {
		return nil, nil
	}
	newest := map[string]string{}
	for _, d := range AllDataKeys(v) {
		newest[d.Domain] = d.newest().ID
	}
	var out []RowName
	err := v.pub.each(func(rec *record) error {
		if !seal.Sealed(rec.value) {
			if def := v.st.tables.defs[rec.table]; def != nil && def.domain != nil {
				out = append(out, RowName{rec.table, rec.key, true})
			}
			return nil
		}
		if rec.anyBytes() {
			return nil
		}
		h, err := seal.ParseHead(rec.value)
		if err != nil {
			return fmt.Errorf("row %s %q: %w", rec.table, rec.key, err)
		}
		if id, ok := newest[h.Domain]; ok && id != h.KeyID { // without keys, the domain was deleted: nothing opens it
			out = append(out, RowName{Table: rec.table, Key: rec.key})
		}
		return nil
	})
	return out, err
}

// maxReseal bounds the values of one commit of Reseal, in bytes.
const maxReseal = 64 << 10

// Reseal seals rows with the newest keys of their domains; those that are gone or well by now are passed over. It takes
// as many as fit a small commit, one at least, and says how many that were. Nothing else of the rows changes, and no
// event tells of it.
func Reseal(tx *Tx, rows []RowName) (int, error) {
	size := 0
	for i, name := range rows {
		rec := tx.row(name.Table, name.Key)
		if rec == nil {
			continue
		}
		if size += len(rec.value); i > 0 && size > maxReseal {
			return i, nil
		}
		value, err := opened(tx, rec)
		if err != nil {
			return 0, unreadable(err)
		}
		domain, err := tx.domainOf(rec, value)
		if err != nil || domain == "" {
			return 0, err
		}
		p := tx.pending(name.Table, name.Key)
		p.rec = &record{table: rec.table, key: rec.key, ranges: rec.ranges, value: slices.Clone(value), version: rec.version}
		p.domain = domain
	}
	return len(rows), nil
}

// domainOf is the domain of a stored row, "" when it is one in clear of a table that is not known here.
func (tx *Tx) domainOf(rec *record, value []byte) (string, error) {
	if seal.Sealed(rec.value) {
		h, err := seal.ParseHead(rec.value)
		return h.Domain, err
	}
	def := tx.base.st.tables.defs[rec.table]
	if def == nil || def.domain == nil {
		return "", nil
	}
	return def.domainOf(quiet{tx}, rec, value)
}

// DropOldDataKeys forgets the keys of a domain but the newest, once no row of the view is sealed with an older one. The
// view must be one of after the newest came. It is for a duty that has found nothing stale in it.
func DropOldDataKeys(tx *Tx, v *View, domain string) error {
	then, ok1 := DataKeysOf(v, domain)
	d, ok2 := DataKeysOf(tx, domain)
	if !ok1 || !ok2 || len(d.Versions) < 2 || then.newest().ID != d.newest().ID {
		return nil
	}
	return putJSON(tx, tableDataKeys, domain, &DataKeys{Domain: domain, Versions: d.Versions[len(d.Versions)-1:], Names: d.Names}, []string{everyDataKey})
}
