package spec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// Page is the part of a list that comes after a place: at most limit items, ordered by identifier, in bytes. last is the
// place of its last item, and more tells whether there are items after it. A place is what Place gives; "" is before all.
func (l List[T]) Page(after string, limit int) (page any, last string, more bool) {
	type placed struct {
		place string
		item  T
	}
	rest := make([]placed, 0, len(l.Items))
	for _, item := range l.Items {
		if p := Place(item); p > after {
			rest = append(rest, placed{p, item})
		}
	}
	slices.SortStableFunc(rest, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	if more = len(rest) > limit; more {
		rest = rest[:limit]
		last = rest[limit-1].place
	}
	out := List[T]{Items: make([]T, 0, len(rest))}
	for _, p := range rest {
		out.Items = append(out.Items, p.item)
	}
	out.Count = len(out.Items)
	return out, last, more
}

// identifiers are the fields that identify an item among others of its collection (contract section 1.1), the first that it has
// counts. Names come before ids, as people look for them.
func identifiers() []string {
	return []string{"OrderNum", "Name", "Key", "Application", "Username", "ID", "UUID"}
}

// Place is where an item stands in the order of its list: its identifier, and what parts it from others of the same one. It is
// "" for what has no identifier. Numbers are in the order of their values.
func Place(item any) string {
	v := reflect.Indirect(reflect.ValueOf(item))
	if v.Kind() != reflect.Struct {
		return ""
	}
	place := ""
	for _, name := range identifiers() {
		if place = text(v, name); place != "" {
			break
		}
	}
	if place == "" {
		return ""
	}
	// Two of one identifier differ in these, which do not change while the item is there.
	for _, name := range []string{"UUID", "ID"} {
		place += "\x00" + text(v, name)
	}
	if v.FieldByName("ExpectedState").IsValid() { // a compliance error's name is one within its application and type
		place += "\x00" + text(v, "Application") + "\x00" + text(v, "Type")
	}
	return place
}

// text is a field as a text that sorts as its value does; "" where there is none.
func text(v reflect.Value, name string) string {
	f := v.FieldByName(name)
	switch {
	case !f.IsValid():
		return ""
	case f.Kind() == reflect.String:
		return f.String()
	case f.CanInt() && f.Int() >= 0:
		return fmt.Sprintf("%020d", f.Int())
	case f.CanUint():
		return fmt.Sprintf("%020d", f.Uint())
	}
	return ""
}
