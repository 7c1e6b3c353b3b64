package state

import (
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
)

// sep parts the names in a composed key. It sorts below every other byte, so keys with a common beginning
// stay in order, and no name may hold it.
const sep = "\x00"

func rowID(table, key string) string         { return table + sep + key }
func memberID(table, rng, key string) string { return table + sep + rng + sep + key }

// cleanRanges sorts a copy of ranges and drops duplicates.
func cleanRanges(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}

// checkNames refuses names that cannot be composed into keys.
func checkNames(table, key string, ranges []string) error {
	if table == "" || strings.Contains(table, sep) {
		return model.Errorf(model.Invalid, "the table name %q is empty or holds a NUL byte", table)
	}
	if key == "" || strings.Contains(key, sep) {
		return model.Errorf(model.Invalid, "the key %q of a row in %s is empty or holds a NUL byte", key, table)
	}
	for _, r := range ranges {
		if r == "" || strings.Contains(r, sep) {
			return model.Errorf(model.Invalid, "the range %q of row %s %q is empty or holds a NUL byte", r, table, key)
		}
	}
	return nil
}

// A mark is the hash of what a change touches. Marks decide, so the hash is fixed for good: FNV-1a of 64
// bits with a final mix. Two names with one hash cause a conflict too many, on every node alike, never
// one too few.
type mark uint64

// What a mark is about. A create or delete touches the existence of a row, an edit its content; a row that
// comes or goes touches a range's members, an edit of a member its content.
const (
	markExists  byte = 'e'
	markRow     byte = 'r'
	markMembers byte = 'm'
	markContent byte = 'c'
	markEvent   byte = 'v' // events of an organization, or of all
)

func markOf(kind byte, table, name string) mark {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	h = (h ^ uint64(kind)) * prime
	for i := range len(table) {
		h = (h ^ uint64(table[i])) * prime
	}
	h *= prime // a zero byte parts the names
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	return mark(h)
}
