package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
)

// Rows of tables that say so are encrypted with a key of their domain: an organization's, the site's, the cluster's. They
// are sealed when a commit is made and opened when they are read, so log, snapshots and memdb hold ciphertext only. The
// domains' keys are rows, too, wrapped with a key of the cluster, which is in no row.
const (
	tableDataKeys   = "_datakey"
	tableClusterKey = "_clusterkey"
	theClusterKey   = "keys"
	everyDataKey    = "all"

	// DomainSite is the domain of what belongs to no organization, DomainCluster that of what a restore leaves alone.
	DomainSite    = "_site"
	DomainCluster = "_cluster"
)

// ClusterKeys says which key of the cluster wraps the domains' keys. It holds ids only.
type ClusterKeys struct {
	Active string    `json:"active,omitempty"` // "" before there was one
	Next   string    `json:"next,omitempty"`   // what Active will be, once all members have it
	Round  int       `json:"round,omitempty"`  // rotations so far
	Asked  bool      `json:"asked,omitempty"`  // a rotation is to begin
	Since  time.Time `json:"since,omitzero"`   // of Active
	// Form is what all that is stored has been sealed as: 0 before that, then the SealedForm of the leader who did it.
	Form int `json:"form,omitempty"`
	// Sealing says that something was found in clear, and that it is being sealed.
	Sealing bool `json:"sealing,omitempty"`
	// Clear is up to which index entries and snapshots may hold in clear what is sealed in the state by then.
	Clear uint64 `json:"clear,omitempty"`
}

// SealedForm counts what is sealed: a later version that seals more has a greater one, and seals what it finds in clear.
const SealedForm = 2

// DataKeys are the keys of a domain, oldest first: the last one seals.
type DataKeys struct {
	Domain   string        `json:"domain"`
	Versions []DataKeyNote `json:"versions"`
	Names    *DataKeyNote  `json:"names,omitempty"` // makes the names of contents of their digests; from SchemaContents on
}

// Each calls f with each wrapped key, what it is wrapped for, and which cluster key wraps it, until that fails.
func (d *DataKeys) Each(f func(w seal.Wrapped, domain string) error) error {
	for _, n := range d.Versions {
		if err := f(n.Wrapped, d.Domain); err != nil {
			return err
		}
	}
	if d.Names != nil {
		return f(d.Names.Wrapped, namesOf(d.Domain))
	}
	return nil
}

// rewrapped is d with each key wrapped as f says.
func (d *DataKeys) rewrapped(f func(w seal.Wrapped, domain string) (seal.Wrapped, error)) (*DataKeys, error) {
	out := &DataKeys{Domain: d.Domain, Versions: slices.Clone(d.Versions)}
	for i, n := range out.Versions {
		w, err := f(n.Wrapped, d.Domain)
		if err != nil {
			return nil, err
		}
		out.Versions[i].Wrapped = w
	}
	if d.Names != nil {
		w, err := f(d.Names.Wrapped, namesOf(d.Domain))
		if err != nil {
			return nil, err
		}
		out.Names = &DataKeyNote{Wrapped: w, Created: d.Names.Created}
	}
	return out, nil
}

// DataKeyNote is one version of a domain's key.
type DataKeyNote struct {
	seal.Wrapped
	Created time.Time `json:"created"`
}

// newest is the version that seals.
func (d *DataKeys) newest() DataKeyNote { return d.Versions[len(d.Versions)-1] }

// vault has the cluster's keys and remembers the domains' keys that were opened.
type vault struct {
	ring *seal.Keyring
	open sync.Map                     // id -> *seal.DataKey
	last atomic.Pointer[seal.DataKey] // of open, the one that opened a row last: mostly that of the next row, too
}

// dataKey gives an opened key of a domain.
func (v *vault) dataKey(n DataKeyNote, domain string) (*seal.DataKey, error) {
	if k, ok := v.open.Load(n.ID); ok && k.(*seal.DataKey).Domain() == domain {
		return k.(*seal.DataKey), nil
	}
	k, err := v.ring.Unwrap(n.Wrapped, domain)
	if err == nil {
		v.open.Store(n.ID, k)
	}
	return k, err
}

// ClusterKeysOf reads which cluster keys are in use; the zero value before there were any.
func ClusterKeysOf(r Reader) ClusterKeys { return clusterKeys(r.row(tableClusterKey, theClusterKey)) }

func clusterKeys(rec *record) ClusterKeys {
	if rec == nil {
		return ClusterKeys{}
	}
	return *plain[ClusterKeys](rec)
}

// plain is shared for rows that are never sealed.
func plain[T any](rec *record) *T { return shared[T](nil, rec) }

// PutClusterKeys writes which cluster keys are in use. It fails with model.Unavailable while the cluster's schema knows
// no sealed rows.
func PutClusterKeys(tx *Tx, k ClusterKeys) error {
	if tx.base.pub.schema < SchemaSeals {
		return model.Errorf(model.Unavailable, "the cluster seals nothing before all its members run a version that can: update them")
	}
	return putJSON(tx, tableClusterKey, theClusterKey, k, nil)
}

// NoteSealing notes that something was found in clear.
func NoteSealing(tx *Tx) error {
	k := ClusterKeysOf(tx)
	if k.Active == "" || k.Sealing {
		return nil
	}
	k.Sealing = true
	return PutClusterKeys(tx, k)
}

// NoteSealed notes that a view of before the transaction had nothing in clear any more.
func NoteSealed(tx *Tx) error {
	k := ClusterKeysOf(tx)
	if k.Active == "" || k.Form >= SealedForm && !k.Sealing {
		return nil
	}
	if k.Sealing {
		k.Clear = tx.Index()
	}
	k.Form, k.Sealing = max(k.Form, SealedForm), false
	return PutClusterKeys(tx, k)
}

func putJSON(tx *Tx, table, key string, row any, ranges []string) error {
	value, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("write row %s %s as JSON: %w", table, key, err)
	}
	return tx.put(&record{table: table, key: key, ranges: ranges, value: value}, "", "", nil)
}

// DataKeysOf reads the keys of a domain; false when it has none yet.
func DataKeysOf(r Reader, domain string) (*DataKeys, bool) {
	rec := r.row(tableDataKeys, domain)
	if rec == nil {
		return nil, false
	}
	return plain[DataKeys](rec), true
}

// AllDataKeys reads the keys of all domains. The results are shared.
func AllDataKeys(r Reader) []*DataKeys {
	recs := r.members(tableDataKeys, everyDataKey)
	out := make([]*DataKeys, len(recs))
	for i, rec := range recs {
		out[i] = plain[DataKeys](rec)
	}
	return out
}

// KeysIn reads the keys of a domain out of a raw row; false for any other row. Errors wrap ErrDecode.
func KeysIn(r RawRow) (*DataKeys, bool, error) {
	if r.Table != tableDataKeys {
		return nil, false, nil
	}
	d, err := decodeDataKeys(r.Value)
	return d, true, err
}

func decodeDataKeys(value []byte) (*DataKeys, error) {
	d := new(DataKeys)
	if err := json.Unmarshal(value, d); err != nil {
		return nil, fmt.Errorf("%w: the keys of a domain: %w", ErrDecode, err)
	}
	if d.Domain == "" || len(d.Versions) == 0 {
		return nil, fmt.Errorf("%w: the keys of the domain %q: there is none", ErrDecode, d.Domain)
	}
	return d, nil
}

// OwnKeys says whether a row belongs to the keys of the cluster itself, which a restore leaves as they are.
func OwnKeys(table, key string) bool {
	return table == tableClusterKey || table == tableDataKeys && key == DomainCluster
}

// opened gives a record's value as it was before it was sealed. It is shared: nobody may change it.
func opened(r Reader, rec *record) ([]byte, error) {
	if !seal.Sealed(rec.value) || rec.anyBytes() {
		return rec.value, nil
	}
	if c := rec.cache.Load(); c != nil && c.clear != nil {
		return c.clear, nil
	}
	value, err := unseal(r, rec)
	if err != nil {
		return nil, fmt.Errorf("row %s %q: %w", rec.table, rec.key, err)
	}
	return value, nil
}

// anyBytes says that the value of a record in clear may look like a sealed one: it is a part of a content of before these
// were sealed, or of a table of the store's own whose values are of other forms.
func (r *record) anyBytes() bool {
	if r.table[0] != '_' {
		return false
	}
	_, sealed := domainOfContent(r.key)
	return !sealed || r.table != tableChunks && r.table != tableContents
}

// mustOpen is opened for readers, which panic with what cannot be read.
func mustOpen(r Reader, rec *record) []byte {
	value, err := opened(r, rec)
	if err != nil {
		panic(corrupt{err})
	}
	return value
}

// errKeyGone says that the domain was deleted with its keys.
var errKeyGone = errors.New("the key that it was sealed with is gone")

var errNoKeys = errors.New("it is sealed, and this store has no keys")

func unseal(r Reader, rec *record) ([]byte, error) {
	at := seal.Place{Table: rec.table, Key: rec.key}
	if r != nil {
		if k := r.store().vault.last.Load(); k != nil && k.Sealed(rec.value) {
			return k.Open(rec.value, at)
		}
	}
	h, err := seal.ParseHead(rec.value)
	if err != nil {
		return nil, err
	}
	if r == nil || r.store().vault.ring == nil {
		return nil, errNoKeys
	}
	v := &r.store().vault
	k, ok := v.open.Load(h.KeyID)
	if !ok {
		var note DataKeyNote
		if row := r.peek(tableDataKeys, h.Domain); row != nil {
			for _, n := range plain[DataKeys](row).Versions {
				if n.ID == h.KeyID {
					note = n
				}
			}
		}
		if note.ID == "" {
			return nil, fmt.Errorf("%w: %s of %q", errKeyGone, h.KeyID, h.Domain)
		}
		if k, err = v.dataKey(note, h.Domain); err != nil {
			return nil, err
		}
	}
	v.last.Store(k.(*seal.DataKey))
	return k.(*seal.DataKey).Open(rec.value, at)
}

// unreadable is the error for a stored row that cannot be read.
func unreadable(err error) error {
	var missing *seal.MissingKeyError
	if errors.As(err, &missing) {
		return &model.Error{Code: model.Unavailable, Err: err, RetryAfter: time.Second,
			Messages: []string{fmt.Sprintf("this node lacks the cluster key %s and fetches it from the others: ask another node, or try again", missing.ID)}}
	}
	return &model.Error{Code: model.Internal, Messages: []string{"stored data cannot be read"}, Err: err}
}

// Unreadable turns what a read panicked with, recovered, into an error: false when it is none of a read's. Its code is
// model.Unavailable while this node lacks a key, else model.Internal.
func Unreadable(p any) (error, bool) {
	bad, ok := p.(corrupt)
	if !ok {
		return nil, false
	}
	return unreadable(bad.err), true
}

// sealers gives the key of each domain that the transaction writes rows of; nil when nothing is to be sealed. A domain
// without a key gets one, in the same commit. The domain's row counts as read: a commit that seals with an older key, or
// writes in clear, conflicts with the one that brought the newer.
func (tx *Tx) sealers() (map[string]*seal.DataKey, error) {
	if tx.base.st.vault.ring == nil {
		return nil, nil
	}
	var out map[string]*seal.DataKey
	for i := range len(tx.writes.list) { // it may grow
		p := tx.writes.list[i]
		if p.domain == "" || p.rec == nil {
			continue
		}
		if _, ok := out[p.domain]; ok {
			continue
		}
		k, err := tx.sealer(p.domain)
		if err != nil {
			return nil, unreadable(err)
		}
		if out == nil {
			out = map[string]*seal.DataKey{}
		}
		out[p.domain] = k
	}
	return out, nil
}

// sealer is the key that seals for a domain; nil before the cluster has keys.
func (tx *Tx) sealer(domain string) (*seal.DataKey, error) {
	v := &tx.base.st.vault
	if rec := tx.row(tableDataKeys, domain); rec != nil {
		return v.dataKey(plain[DataKeys](rec).newest(), domain)
	}
	active := clusterKeys(tx.peek(tableClusterKey, theClusterKey)).Active
	if active == "" {
		return nil, nil
	}
	return tx.addDataKey(&DataKeys{Domain: domain}, active)
}

// addDataKey gives a domain another key, which seals from now on.
func (tx *Tx) addDataKey(d *DataKeys, active string) (*seal.DataKey, error) {
	k := seal.NewDataKey(d.Domain)
	w, err := tx.base.st.vault.ring.Wrap(k, active)
	if err != nil {
		return nil, err
	}
	next := &DataKeys{Domain: d.Domain, Versions: append(slices.Clone(d.Versions), DataKeyNote{Wrapped: w, Created: tx.Now()}), Names: d.Names}
	return k, putJSON(tx, tableDataKeys, d.Domain, next, []string{everyDataKey})
}

// RotateDataKey gives a domain a new key: rows that are written from now on are sealed with it, and a duty seals those
// anew that there are. Errors: NotFound (nothing was ever sealed for it), Conflict (a rotation is under way),
// Unavailable.
func RotateDataKey(tx *Tx, domain string) error {
	d, ok := DataKeysOf(tx, domain)
	active := ClusterKeysOf(tx).Active
	switch {
	case !ok || active == "" || tx.base.st.vault.ring == nil:
		return model.Errorf(model.NotFound, "it has no key yet: one is made when something of it is stored first")
	case len(d.Versions) > 1:
		return model.Errorf(model.Conflict, "its key is being rotated already: wait until what it has is sealed anew")
	}
	if _, err := tx.addDataKey(d, active); err != nil {
		return unreadable(err)
	}
	return nil
}

// DropDataKeys deletes the keys of a domain, whose rows are gone: what is left of them in logs and backups of this
// cluster's state from now on does not open any more.
func DropDataKeys(tx *Tx, domain string) {
	if tx.row(tableDataKeys, domain) != nil {
		tx.pending(tableDataKeys, domain).rec = nil
	}
}

// RewrapDataKeys wraps the keys of a domain with the active key of the cluster. It says whether there was anything to do.
func RewrapDataKeys(tx *Tx, domain string) (bool, error) {
	d, ok := DataKeysOf(tx, domain)
	active := ClusterKeysOf(tx).Active
	if !ok || active == "" {
		return false, nil
	}
	v, changed := &tx.base.st.vault, false
	next, err := d.rewrapped(func(w seal.Wrapped, domain string) (seal.Wrapped, error) {
		if w.By == active {
			return w, nil
		}
		changed = true
		return rewrap(v.ring, v.ring, w, domain, active)
	})
	if err != nil {
		return false, unreadable(err)
	}
	if !changed {
		return false, nil
	}
	return true, putJSON(tx, tableDataKeys, domain, next, []string{everyDataKey})
}

func rewrap(from, to *seal.Keyring, w seal.Wrapped, domain, by string) (seal.Wrapped, error) {
	k, err := from.Unwrap(w, domain)
	if err != nil {
		return seal.Wrapped{}, err
	}
	return to.Wrap(k, by)
}

// NamedKeys are the ids of the cluster keys that the state names: those in use, and those that some domain's key is
// wrapped with. In order, each once.
func NamedKeys(r Reader) []string {
	k := ClusterKeysOf(r)
	var ids []string
	for _, id := range []string{k.Active, k.Next} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	for _, d := range AllDataKeys(r) {
		_ = d.Each(func(w seal.Wrapped, _ string) error { ids = append(ids, w.By); return nil })
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
