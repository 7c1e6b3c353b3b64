package state

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/seal"
)

// What an organization stores is counted in bytes: the keys and values of its rows, in clear, and of each content that a row of
// it names the size before compression, once. A row is of the organization that it is sealed for, else of the one that it
// names first as orgId. Logs, which have bounds of their own, and what belongs to no organization are nobody's.

// CountStored counts what each organization stores in a view, exactly. While there are commits it rests for longer than it looks.
// Errors are the context's, and Unavailable where a row cannot be opened now.
func CountStored(ctx context.Context, v *View) (map[string]int64, error) {
	sizes, err := contentSizesOf(v)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	named := map[string]map[string]bool{}
	p := pacer{st: v.st, index: v.st.AppliedIndex(), began: time.Now()}
	err = v.pub.each(func(rec *record) error {
		if strings.HasPrefix(rec.table, "_") {
			return p.step(ctx)
		}
		value, err := opened(v, rec)
		if errors.Is(err, errKeyGone) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		org := ownerOf(value, domainIn(rec.value))
		if org == "" {
			return p.step(ctx)
		}
		out[org] += int64(len(rec.key) + len(value))
		digestsIn(value, func(digest string) {
			size, ok := sizes.of(org, digest)
			if !ok || named[org][digest] {
				return
			}
			if named[org] == nil {
				named[org] = map[string]bool{}
			}
			named[org][digest] = true
			out[org] += size
		})
		return p.step(ctx)
	})
	return out, err
}

// contentSizes are the sizes of contents: of sealed ones by domain and digest, of those in clear by digest.
type contentSizes struct {
	sealed map[[2]string]int64
	clear  map[string]int64
}

// of is the size of what a row of a domain names.
func (c contentSizes) of(domain, digest string) (int64, bool) {
	if size, ok := c.sealed[[2]string{domain, digest}]; ok {
		return size, true
	}
	size, ok := c.clear[digest]
	return size, ok
}

func contentSizesOf(v *View) (contentSizes, error) {
	out := contentSizes{map[[2]string]int64{}, map[string]int64{}}
	s := &sweep{heads: map[string]contentHead{}, sealed: map[string][]string{}}
	if err := s.gather(v, tableContents); err != nil {
		return out, err
	}
	for key, head := range s.heads {
		if domain, sealed := domainOfContent(key); sealed {
			out.sealed[[2]string{domain, head.digest}] = int64(head.size)
		} else {
			out.clear[key] = int64(head.size)
		}
	}
	return out, nil
}

// contentSize is the size of a content of a domain; false when there is none of the digest.
func contentSize(r Reader, domain, digest string) (int64, bool) {
	rec := r.peek(tableContents, digest)
	if names := mustNames(r, domain); names != nil {
		if sealed := r.peek(tableContents, sealedContent(domain, names, digest)); sealed != nil {
			rec = sealed
		}
	}
	if rec == nil {
		return 0, false
	}
	head, err := headOf(r, rec)
	return int64(head.size), err == nil
}

// Grown is by how many bytes each organization's rows grow in a transaction, negative where they shrink, and the contents that
// its rows begin to name: all of them, as if nothing else named them.
func Grown(tx *Tx) map[string]int64 {
	out := map[string]int64{}
	seals := tx.base.st.vault.ring != nil
	for _, p := range tx.writes.list {
		if p.old == p.rec || strings.HasPrefix(p.table, "_") {
			continue
		}
		var was []byte
		if p.old != nil {
			was = mustOpen(tx, p.old)
			out[ownerOf(was, domainIn(p.old.value))] -= int64(len(p.key) + len(was))
		}
		if p.rec == nil {
			continue
		}
		is := mustOpen(tx, p.rec)
		domain := p.domain
		if !seals {
			domain = ""
		}
		org := ownerOf(is, domain)
		out[org] += int64(len(p.key) + len(is))
		digestsIn(is, func(digest string) {
			if bytes.Contains(was, []byte(digest)) {
				return
			}
			if size, ok := contentSize(tx, org, digest); ok {
				out[org] += size
			}
		})
	}
	delete(out, "")
	return out
}

// domainIn is the domain that a stored value is sealed for; "" when it is in clear.
func domainIn(value []byte) string {
	if !seal.Sealed(value) {
		return ""
	}
	h, err := seal.ParseHead(value)
	if err != nil {
		return ""
	}
	return h.Domain
}

// ownerOf is the organization that a row is counted for; "" when it is none's.
func ownerOf(value []byte, domain string) string {
	if domain != "" && !strings.HasPrefix(domain, "_") {
		return domain
	}
	const name = `"orgId":"`
	i := bytes.Index(value, []byte(name))
	if i < 0 || domain != "" {
		return ""
	}
	rest := value[i+len(name):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return ""
	}
	return string(rest[:end])
}

// digestsIn gives what in a value may be a digest as rows name contents: runs of just 64 hex digits. Longer ones name nothing,
// which bounds what a value of hex digits costs. Collecting contents looks more closely: it must miss none.
func digestsIn(value []byte, found func(digest string)) {
	begin := 0
	for i, c := range value {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			continue
		}
		if i-begin == digestLen {
			found(string(value[begin:i]))
		}
		begin = i + 1
	}
	if len(value)-begin == digestLen {
		found(string(value[begin:]))
	}
}
