package state

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
)

// TableOptions say what rules hold for the rows of a table. The codec is JSON, and the indexes are the ranges that
// a row names: both come with T. Zero fields mean that there is no such rule.
type TableOptions[T any] struct {
	// Validate refuses a row before it is put. Its error goes to the caller of Put as it is: give it a code.
	Validate func(row *T) error
	// Event says which organization and which object an event about the row names, and whether there is to be
	// one. Reads through r see the transaction's own writes and conflict with nothing. For a deletion, row is
	// what was deleted. Without it, changes of the table make no events.
	Event func(r Reader, row *T) (org, object string, ok bool)
	// Since is the schema with which the table came: rows are put only once the cluster has raised it, so that no
	// member gets rows that it has no rules for. 0 is the first.
	Since uint32
	// Secret says that values of the table are shown to nobody, not in a look at the data folder, either.
	Secret bool
	// Sealed names the domain whose key encrypts a row when it is put: an organization's id, DomainSite or DomainCluster.
	// Reads through r are as those of Event. Without it, and for "", rows are kept in clear.
	Sealed func(r Reader, row *T) string
}

// TableDef is a table as Define describes it.
type TableDef struct {
	name   string
	row    reflect.Type // *T
	secret bool
	since  uint32
	known  *knownFields
	check  func(row any) error
	event  func(r Reader, row any) (org, object string, ok bool)
	domain func(r Reader, row any) string // nil for rows in clear
	// domainOf is domain of a stored row, by its clear value.
	domainOf func(r Reader, rec *record, value []byte) (string, error)
}

// Define describes the table of T's rows; its name is that of T's Table.
func Define[T any, P rowPtr[T]](o TableOptions[T]) TableDef {
	d := TableDef{name: P(nil).Table(), row: reflect.TypeFor[*T](), secret: o.Secret, since: o.Since, known: fieldsKnown(new(T))}
	if o.Validate != nil {
		d.check = func(row any) error { return o.Validate(row.(*T)) }
	}
	if o.Event != nil {
		d.event = func(r Reader, row any) (string, string, bool) { return o.Event(r, row.(*T)) }
	}
	if o.Sealed != nil {
		d.domain = func(r Reader, row any) string { return o.Sealed(r, row.(*T)) }
		d.domainOf = func(r Reader, rec *record, value []byte) (domain string, err error) {
			defer func() {
				if p := recover(); p != nil {
					bad, ok := Unreadable(p)
					if !ok {
						panic(p)
					}
					err = bad
				}
			}()
			return o.Sealed(r, decode[T](rec, value)), nil
		}
	}
	return d
}

// mayPut refuses a row while the cluster's schema is older than the table.
func (d *TableDef) mayPut(schema uint32) error {
	if schema >= d.since {
		return nil
	}
	return model.Errorf(model.Unavailable,
		"a %s cannot be stored yet: some member of the cluster runs a version that does not know it; try again once all are updated", d.name)
}

// Name is the table's name.
func (d TableDef) Name() string { return d.name }

// Tables are the tables that rows can be put into. They are the proposer's: the machine applies what the log
// says, of tables that it does not know, too. They never change and may be shared.
type Tables struct{ defs map[string]*TableDef }

// NewTables gathers tables. It fails when two have one name, and when a name cannot be one of ours: names that
// begin with an underscore are the store's own.
func NewTables(defs ...TableDef) (*Tables, error) {
	t := &Tables{defs: make(map[string]*TableDef, len(defs))}
	for i := range defs {
		d := &defs[i]
		switch {
		case d.row == nil:
			return nil, fmt.Errorf("table %d of %d was not made by Define", i+1, len(defs))
		case d.name == "" || strings.HasPrefix(d.name, "_") || strings.Contains(d.name, sep):
			return nil, fmt.Errorf("the table of %v is called %q: a name is not empty, begins with no underscore and holds no NUL byte", d.row, d.name)
		case t.defs[d.name] != nil:
			return nil, fmt.Errorf("the table %s is defined twice: for %v and for %v", d.name, t.defs[d.name].row, d.row)
		}
		t.defs[d.name] = d
	}
	return t, nil
}

// Names lists the tables in order of name.
func (t *Tables) Names() []string {
	out := make([]string, 0, len(t.defs))
	for name := range t.defs {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Secret says whether values of the table are to be hidden: those of an unknown table, too.
func (t *Tables) Secret(table string) bool {
	d := t.defs[table]
	return table == tableChunks || d == nil && !strings.HasPrefix(table, "_") || d != nil && d.secret
}

// Seals says whether rows of some table are sealed.
func (t *Tables) Seals() bool {
	for _, d := range t.defs {
		if d.domain != nil {
			return true
		}
	}
	return false
}

// of gives the definition for a row. It fails when there is none, or one for rows of another type.
func (t *Tables) of(table string, row any) (*TableDef, error) {
	d := t.defs[table]
	if d == nil {
		return nil, model.Errorf(model.Internal, "the table %q of %T is not registered with this store", table, row)
	}
	if reflect.TypeOf(row) != d.row {
		return nil, model.Errorf(model.Internal, "the table %q is one of %v, not of %T", table, d.row, row)
	}
	return d, nil
}

// fieldsKnown gives the fields of the struct that ptr points to, nil when its type writes or reads itself.
func fieldsKnown(ptr any) *knownFields {
	t := reflect.TypeOf(ptr).Elem()
	_, marshals := ptr.(json.Marshaler)
	_, unmarshals := ptr.(json.Unmarshaler)
	if t.Kind() != reflect.Struct || marshals || unmarshals {
		return nil
	}
	k := &knownFields{names: map[string]struct{}{}}
	k.collect(t, 0)
	return k
}
