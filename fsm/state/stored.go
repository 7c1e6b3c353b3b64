package state

import (
	"bytes"
	"strings"
	"sync"

	"github.com/muster-hq/muster/fsm/seal"
)

// What an organization stores is counted in bytes as they are stored: keys and values of its rows, and of the rows of its contents
// from when these are stored until they are collected. A row is of the organization that it is sealed for, else of the one that it
// names first as orgId. Logs, which have bounds of their own, and what belongs to no organization are nobody's. The count is
// derived: the machine keeps it up to date as it applies entries, and makes it anew from the rows of a snapshot. It is in no entry
// and in no snapshot, and decides nothing in the machine.

// stored are the bytes by organization. It is safe for concurrent use; only the machine changes it.
type stored struct {
	mu sync.RWMutex
	of map[string]int64
}

// StoredBytes is what an organization stores, as far as this node has applied the log: of whatever index the reader is.
func StoredBytes(r Reader, org string) int64 {
	s := &r.store().stored
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[org]
}

// replace takes the counts of another state.
func (s *stored) replace(of map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = of
}

// tally is by how much a batch makes an organization grow.
type tally struct {
	org   string
	grown int64
}

// share is what a row counts for: nobody where of is nil.
type share struct {
	of *tally
	n  int64
}

// shares is what a batch has counted so far: tallies by organization, and the rows that it has written. The zero value is empty.
type shares struct {
	orgs map[string]*tally
	rows map[rowAt]share
}

type rowAt struct{ table, key string }

// share is that of a row with a value.
func (s *shares) share(table, key string, value []byte) share {
	org := ownerOf(table, key, value)
	if len(org) == 0 {
		return share{}
	}
	t := s.orgs[string(org)]
	if t == nil {
		if s.orgs == nil {
			s.orgs = map[string]*tally{}
		}
		t = &tally{org: string(org)}
		s.orgs[t.org] = t
	}
	return share{t, int64(len(key) + len(value))}
}

func (sh share) add(sign int64) {
	if sh.of != nil {
		sh.of.grown += sign * sh.n
	}
}

// count counts a write that is applied. The names of rec, nil for a deletion, are its own; those of w may be the entry's. What
// the row was is read in what was published before the batch: see Batch.
func (b *Batch) count(w *Write, rec *record) {
	if !counts(w.Table) {
		return
	}
	at := rowAt{w.Table, w.Key}
	if was, ok := b.shares.rows[at]; ok {
		was.add(-1)
	} else {
		if !w.Fresh {
			if old := b.base.row(w.Table, w.Key); old != nil {
				b.shares.share(w.Table, w.Key, old.value).add(-1)
			}
		}
		if b.shares.rows == nil { // room for the present commit, which is large if any is
			b.shares.rows = make(map[rowAt]share, b.writes)
		}
		if rec != nil {
			at = rowAt{rec.table, rec.key}
		} else {
			at = rowAt{strings.Clone(w.Table), strings.Clone(w.Key)}
		}
	}
	is := share{}
	if rec != nil {
		is = b.shares.share(rec.table, rec.key, rec.value)
		is.add(1)
	}
	b.shares.rows[at] = is
}

// keepCounts adds what the batch has counted.
func (b *Batch) keepCounts() {
	if len(b.shares.orgs) == 0 {
		return
	}
	s := &b.st.stored
	s.mu.Lock()
	defer s.mu.Unlock()
	for org, t := range b.shares.orgs {
		if n := s.of[org] + t.grown; n != 0 {
			s.of[org] = n
		} else {
			delete(s.of, org)
		}
	}
}

// countInto adds a row to counts by organization.
func countInto(of map[string]int64, rec *record) {
	if !counts(rec.table) {
		return
	}
	if org := ownerOf(rec.table, rec.key, rec.value); len(org) > 0 {
		of[string(org)] += int64(len(rec.key) + len(rec.value))
	}
}

// CountStored counts what each organization stores in a view by looking at every row: what StoredBytes is to be once nothing is
// written. It is for tests, and for who doubts.
func CountStored(v *View) (map[string]int64, error) {
	out := map[string]int64{}
	err := v.pub.each(func(rec *record) error { countInto(out, rec); return nil })
	return out, err
}

// Grown is by how many bytes each organization grows by a transaction, negative where it shrinks: just what the machine will count
// once it is committed.
func Grown(tx *Tx) map[string]int64 {
	out := map[string]int64{}
	seals, asked := tx.base.st.vault.ring != nil, ""
	for _, p := range tx.writes.list {
		if p.old == p.rec || !counts(p.table) {
			continue
		}
		if p.old != nil {
			out[string(ownerOf(p.table, p.key, p.old.value))] -= int64(len(p.key) + len(p.old.value))
		}
		if p.rec == nil {
			continue
		}
		sealed := p.domain != "" && seals
		if sealed && p.domain != asked { // most writes are of one domain, which is asked about once
			if sealed = tx.hasKey(p.domain); sealed {
				asked = p.domain
			}
		}
		if !sealed {
			out[string(ownerOf(p.table, p.key, p.rec.value))] += int64(len(p.key) + len(p.rec.value))
		} else if isOrganization(p.domain) {
			out[p.domain] += int64(len(p.key) + seal.SealedSize(p.domain, len(p.rec.value)))
		}
	}
	delete(out, "")
	return out
}

// hasKey says whether rows of a domain are sealed when the transaction is committed.
func (tx *Tx) hasKey(domain string) bool {
	return tx.peek(tableDataKeys, domain) != nil || clusterKeys(tx.peek(tableClusterKey, theClusterKey)).Active != ""
}

// tableQuota is the table of quotas, which the site sets: they do not count, so that one that is used up can be raised.
const tableQuota = "quota"

// counts says whether rows of a table may be an organization's.
func counts(table string) bool {
	if strings.HasPrefix(table, "_") {
		return table == tableContents || table == tableChunks
	}
	return table != tableQuota
}

// isOrganization says whether a domain is one's.
func isOrganization[T string | []byte](domain T) bool { return len(domain) > 0 && domain[0] != '_' }

// ownerOf is the organization that a stored row counts for, as a part of its value or of its key; empty when it is none's.
func ownerOf(table, key string, value []byte) []byte {
	if table == tableContents || table == tableChunks {
		if domain, sealed := domainOfContent(key); sealed && isOrganization(domain) {
			return []byte(domain)
		}
		return nil
	}
	if domain, sealed := seal.DomainOf(value); sealed {
		if isOrganization(domain) {
			return domain
		}
		return nil
	}
	const name = `"orgId":"`
	i := bytes.Index(value, []byte(name))
	if i < 0 {
		return nil
	}
	rest := value[i+len(name):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil
	}
	return rest[:end]
}
