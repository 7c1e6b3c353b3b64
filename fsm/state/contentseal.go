package state

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/seal"
)

// domainMark is between the domain of a sealed content and its name, in its key. No digest holds it, and no domain either.
const domainMark = "."

// sealedContent is the key of a content that is sealed.
func sealedContent(domain string, names *seal.DataKey, digest string) string {
	return domain + domainMark + names.Name(digest)
}

// domainOfContent is the domain of a key of a content or of its parts; false for one in clear.
func domainOfContent(key string) (string, bool) {
	domain, _, ok := strings.Cut(key, domainMark)
	return domain, ok
}

// namesOf is for whom the key of names is wrapped.
func namesOf(domain string) string { return "content names of " + domain }

// mustNames is the key that makes names of a domain's contents; nil when the domain has none. It is never changed.
func mustNames(r Reader, domain string) *seal.DataKey {
	st := r.store()
	rec := r.peek(tableDataKeys, domain)
	if rec == nil || st.vault.ring == nil {
		return nil
	}
	d := plain[DataKeys](rec)
	if d.Names == nil {
		return nil
	}
	k, err := st.vault.dataKey(*d.Names, namesOf(domain))
	if err != nil {
		panic(corrupt{err})
	}
	return k
}

// contentNames is mustNames for who stores a content: a domain without such a key gets one, in the same commit. Nil while
// contents are not sealed.
func (tx *Tx) contentNames(domain string) (*seal.DataKey, error) {
	v := &tx.base.st.vault
	if domain == "" || v.ring == nil || tx.base.pub.schema < SchemaContents {
		return nil, nil
	}
	var d DataKeys
	if rec := tx.row(tableDataKeys, domain); rec != nil {
		d = *plain[DataKeys](rec)
	}
	if d.Names != nil {
		return v.dataKey(*d.Names, namesOf(domain))
	}
	active := clusterKeys(tx.peek(tableClusterKey, theClusterKey)).Active
	if active == "" {
		return nil, nil
	}
	if d.Domain == "" {
		if _, err := tx.addDataKey(&DataKeys{Domain: domain}, active); err != nil {
			return nil, err
		}
		d = *plain[DataKeys](tx.row(tableDataKeys, domain))
	}
	names := seal.NewDataKey(namesOf(domain))
	w, err := v.ring.Wrap(names, active)
	if err != nil {
		return nil, err
	}
	d.Names = &DataKeyNote{Wrapped: w, Created: tx.Now()}
	return names, putJSON(tx, tableDataKeys, domain, &d, []string{everyDataKey})
}

// sealsContents says whether contents are sealed.
func sealsContents(v *View) bool {
	return v.st.vault.ring != nil && v.pub.schema >= SchemaContents && ClusterKeysOf(v).Active != ""
}

// ClearContent is a content in clear, of before they were sealed, and the domains that name it and have it not sealed yet.
type ClearContent struct {
	Digest  string
	Domains []string
}

// ClearContents are the contents of a view that are in clear, those of which some parts are left, too; none while contents
// are not sealed. The view is read through.
func ClearContents(ctx context.Context, v *View) ([]ClearContent, error) {
	if !sealsContents(v) {
		return nil, nil
	}
	s, err := sweepOf(ctx, v)
	if err != nil || s == nil {
		return nil, err
	}
	var out []ClearContent
	for key := range s.heads {
		if _, sealed := domainOfContent(key); !sealed {
			c := ClearContent{Digest: key}
			for domain := range s.wanted[key] {
				c.Domains = append(c.Domains, domain)
			}
			slices.Sort(c.Domains)
			out = append(out, c)
		}
	}
	for key := range s.parts {
		if _, sealed := domainOfContent(key); !sealed && !isContent(key) && !s.live[key] {
			out = append(out, ClearContent{Digest: key})
		}
	}
	slices.SortFunc(out, func(a, b ClearContent) int { return strings.Compare(a.Digest, b.Digest) })
	return out, nil
}

// SealContent stores a content in clear once more for each domain that names it, sealed. CollectContents then removes the
// one in clear.
func SealContent(ctx context.Context, u Updater, v *View, c ClearContent) error {
	for _, domain := range c.Domains {
		rec := v.peek(tableContents, c.Digest)
		if rec == nil {
			return nil
		}
		content, err := readContent(v, rec, c.Digest)
		if err != nil {
			return fmt.Errorf("seal content %s: %w", c.Digest, unreadable(err))
		}
		if _, err := StageContent(ctx, u, domain, content); err != nil {
			return fmt.Errorf("seal content %s: %w", c.Digest, err)
		}
	}
	return nil
}
