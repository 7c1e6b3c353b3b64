package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/seal"
)

// Contents that no row names any more are collected in two steps, so that no commit which names one at the same time
// can lose it. First a mark says since when a content is unnamed. Whoever names a content that is there reads whether it
// has a mark, and takes it away: so such a commit and the one that sets the mark conflict, and so do it and the one that
// deletes. A mark that is old enough, of a content that no row names still, is deleted with the content.
//
// That a row names a content is told by its value alone: any 64 hex digits in it may be a digest. So no table has to say
// where it keeps them, and rows of tables that this node does not know count. A sealed content is named by rows of its
// domain only. One in clear is named, once contents are sealed, by rows of a domain that has it not sealed yet.

// tableUnnamed has the marks: a content's digest, or of parts that belong to no content digest and nonce; the value is
// the leader's time in unix seconds.
const tableUnnamed = "_unnamed"

const digestLen = 64

// The bounds of one commit of the collection: rows that are deleted (a content of MaxContent has 513), and marks.
const (
	collectRows  = 600
	collectMarks = 200
)

// Collected is what a collection came to.
type Collected struct {
	Marked  int // contents and sets of parts that no row names from now on
	Deleted int // of those that were marked before
}

// claim keeps a content for a row that is about to name it; it is there.
func claim(tx *Tx, key string) {
	if tx.row(tableUnnamed, key) != nil {
		tx.pending(tableUnnamed, key).rec = nil
	}
}

// CollectContents marks the contents that no row of the view names, and deletes those that have been unnamed for longer
// than age, by the leader's time. It writes in commits of a bounded size, and while there are other commits it rests for
// longer than it looks. An error ends it in between; the next one goes on.
func CollectContents(ctx context.Context, u Updater, v *View, age time.Duration) (Collected, error) {
	var out Collected
	s, err := sweepOf(ctx, v)
	if err != nil || s == nil {
		return out, err
	}
	var mark, spare, remove []string
	for _, key := range s.unnamed() {
		if since, ok := s.marks[key]; !ok {
			mark = append(mark, key)
		} else if v.Now().Sub(since) > age || s.outlived(key) {
			remove = append(remove, key)
		}
	}
	for key := range s.marks {
		if s.live[key] || !s.there(key) {
			spare = append(spare, key)
		}
	}
	slices.Sort(spare)
	for keys := range slices.Chunk(mark, collectMarks) {
		if err := u.Update(ctx, func(tx *Tx) error { return markUnnamed(tx, keys) }); err != nil {
			return out, fmt.Errorf("mark contents that no row names: %w", err)
		}
		out.Marked += len(keys)
	}
	for keys := range slices.Chunk(spare, collectMarks) {
		if err := u.Update(ctx, func(tx *Tx) error {
			for _, key := range keys {
				claim(tx, key)
			}
			return nil
		}); err != nil {
			return out, fmt.Errorf("keep contents that a row names: %w", err)
		}
	}
	for len(remove) > 0 {
		n, rows := 0, 0
		for n < len(remove) && (n == 0 || rows+len(s.parts[remove[n]])+2 <= collectRows) {
			rows += len(s.parts[remove[n]]) + 2
			n++
		}
		deleted := 0
		if err := u.Update(ctx, func(tx *Tx) error { deleted = s.delete(tx, remove[:n], age); return nil }); err != nil {
			return out, fmt.Errorf("delete contents that no row names: %w", err)
		}
		out.Deleted += deleted
		remove = remove[n:]
	}
	return out, nil
}

func markUnnamed(tx *Tx, keys []string) error {
	for _, key := range keys {
		if tx.row(tableUnnamed, key) != nil || isContent(key) && !tx.exists(tableContents, key) {
			continue
		}
		if err := putRaw(tx, tableUnnamed, key, binary.AppendVarint(nil, tx.Now().Unix())); err != nil {
			return err
		}
	}
	return nil
}

// sweep is what a view holds of contents.
type sweep struct {
	heads map[string]contentHead
	parts map[string][]string  // keys of parts by digest and nonce, and those of a content by its digest
	marks map[string]time.Time // since when a key is unnamed
	live  map[string]bool      // keys that are needed

	sealing bool                       // contents are sealed
	sealed  map[string][]string        // keys of sealed contents, by digest
	wanted  map[string]map[string]bool // domains that name a content in clear, by digest
}

// outlived says whether a key that nothing needs is of a content in clear, which nobody will name any more: no commit that
// would passed the mark.
func (s *sweep) outlived(key string) bool {
	_, sealed := domainOfContent(key)
	return s.sealing && !sealed
}

// isContent tells the key of a content from that of parts.
func isContent(key string) bool { return !strings.Contains(key, "/") }

// sweepOf looks through all rows of a view; nil when it holds no content at all.
func sweepOf(ctx context.Context, v *View) (*sweep, error) {
	s := &sweep{heads: map[string]contentHead{}, parts: map[string][]string{}, marks: map[string]time.Time{}, live: map[string]bool{},
		sealing: sealsContents(v), sealed: map[string][]string{}, wanted: map[string]map[string]bool{}}
	for _, table := range []string{tableContents, tableChunks, tableUnnamed} {
		if err := s.gather(v, table); err != nil {
			return nil, err
		}
	}
	if len(s.heads)+len(s.parts)+len(s.marks) == 0 {
		return nil, nil
	}
	for digest, head := range s.heads {
		own := digest + "/" + head.nonce
		s.parts[digest] = s.parts[own]
		s.live[own] = true // they go with their content
	}
	p := pacer{st: v.st, index: v.st.AppliedIndex(), began: time.Now()}
	err := v.pub.each(func(rec *record) error {
		if !strings.HasPrefix(rec.table, "_") {
			value, err := opened(v, rec)
			if errors.Is(err, errKeyGone) {
				return nil // nobody will read what it names
			}
			if err != nil { // what it names cannot be known
				return unreadable(err)
			}
			s.named(value, domainNow(v, rec, value))
		}
		return p.step(ctx)
	})
	return s, err
}

// paceSteps is how many rows are looked at between two looks at the machine: some tenths of a millisecond.
const paceSteps = 128

// pacer lets long work rest while the machine applies entries: commits are not to wait for a processor.
type pacer struct {
	st    *Store
	index uint64 // that the machine had applied at the last look
	began time.Time
	steps int
}

// step is called after each bit of work. The error is the context's.
func (p *pacer) step(ctx context.Context) error {
	if p.steps++; p.steps%paceSteps != 0 {
		return nil
	}
	index := p.st.AppliedIndex()
	if index == p.index {
		return nil
	}
	p.index = index
	rest := time.NewTimer(min(2*time.Since(p.began), 20*time.Millisecond))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return fmt.Errorf("look for contents that no row names: %w", ctx.Err())
	}
	p.began = time.Now()
	return nil
}

// gather reads one of the store's own tables.
func (s *sweep) gather(v *View, table string) error {
	it, err := v.pub.db.Txn(false).Get(tableRows, "id_prefix", table+sep)
	if err != nil {
		return fmt.Errorf("read the contents: %w", err)
	}
	for obj := it.Next(); obj != nil; obj = it.Next() {
		rec := obj.(*record)
		switch table {
		case tableContents:
			if s.heads[rec.key], err = headOf(v, rec); err != nil {
				return fmt.Errorf("content %s: %w", rec.key, err)
			}
			if digest := s.heads[rec.key].digest; digest != "" {
				s.sealed[digest] = append(s.sealed[digest], rec.key)
			}
		case tableChunks:
			if i := strings.LastIndexByte(rec.key, '/'); i > 0 {
				s.parts[rec.key[:i]] = append(s.parts[rec.key[:i]], rec.key)
			}
		case tableUnnamed:
			s.marks[rec.key] = markedAt(rec)
		}
	}
	return nil
}

// markedAt is the time of a mark; one that cannot be read is of no time, so it never gets old.
func markedAt(rec *record) time.Time {
	sec, n := binary.Varint(rec.value)
	if n <= 0 {
		return time.Unix(1<<40, 0)
	}
	return time.Unix(sec, 0)
}

// headOf is the head of a content. One whose domain is gone with its key is of no size, and names no parts.
func headOf(r Reader, rec *record) (contentHead, error) {
	value, err := opened(r, rec)
	switch {
	case errors.Is(err, errKeyGone):
		return contentHead{}, nil
	case err != nil:
		return contentHead{}, unreadable(err)
	}
	return decodeHead(value)
}

// domainNow is the domain that a row is sealed for, or will be; "" for none.
func domainNow(v *View, rec *record, value []byte) string {
	if seal.Sealed(rec.value) {
		h, err := seal.ParseHead(rec.value)
		if err != nil {
			return ""
		}
		return h.Domain
	}
	if def := v.st.tables.defs[rec.table]; def != nil && def.domainOf != nil {
		if domain, err := def.domainOf(v, rec, value); err == nil {
			return domain
		}
	}
	return ""
}

// named notes the contents that a value of a row names.
func (s *sweep) named(value []byte, domain string) {
	run := 0
	for i, c := range value {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			if run++; run >= digestLen {
				s.name(value[i+1-digestLen:i+1], domain)
			}
			continue
		}
		run = 0
	}
}

func (s *sweep) name(digest []byte, domain string) {
	has := false
	for _, key := range s.sealed[string(digest)] {
		if of, _ := domainOfContent(key); of == domain {
			s.live[key], has = true, true
		}
	}
	switch _, ok := s.heads[string(digest)]; {
	case !ok:
	case !s.sealing:
		s.live[string(digest)] = true
	case !has && domain != "":
		s.live[string(digest)] = true
		if s.wanted[string(digest)] == nil {
			s.wanted[string(digest)] = map[string]bool{}
		}
		s.wanted[string(digest)][domain] = true
	}
}

// there says whether a key is still one of something.
func (s *sweep) there(key string) bool {
	if isContent(key) {
		_, ok := s.heads[key]
		return ok
	}
	return len(s.parts[key]) > 0
}

// unnamed are the keys that nothing needs, in order.
func (s *sweep) unnamed() []string {
	var out []string
	for digest := range s.heads {
		if !s.live[digest] {
			out = append(out, digest)
		}
	}
	for key := range s.parts {
		if !isContent(key) && !s.live[key] {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// delete deletes what is still as the sweep saw it, and marked for longer than age.
func (s *sweep) delete(tx *Tx, keys []string, age time.Duration) (deleted int) {
	for _, key := range keys {
		mark := tx.row(tableUnnamed, key)
		if mark == nil || !s.outlived(key) && tx.Now().Sub(markedAt(mark)) <= age {
			continue // claimed meanwhile
		}
		digest, nonce, part := strings.Cut(key, "/")
		rec := tx.row(tableContents, digest)
		var head contentHead
		if rec != nil {
			var err error
			if head, err = headOf(tx, rec); err != nil {
				continue
			}
		}
		switch {
		case part && rec != nil && head.nonce == nonce: // a content came of them
			continue
		case !part && (rec == nil || head.nonce != s.heads[digest].nonce): // another one under the same digest
			continue
		case !part:
			tx.pending(tableContents, digest).rec = nil
		}
		for _, p := range s.parts[key] {
			tx.pending(tableChunks, p).rec = nil
		}
		tx.pending(tableUnnamed, key).rec = nil
		deleted++
	}
	return deleted
}
