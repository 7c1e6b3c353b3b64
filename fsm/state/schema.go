package state

import (
	"encoding/binary"
	"fmt"

	"github.com/muster-hq/muster/fsm/model"
)

// A schema is the form of commits and of snapshots. The cluster goes on with the first one until all members know
// a later one and a leader raises it; it is never lowered. Each number says what came with it.
const (
	SchemaFirst  uint32 = 1
	SchemaEvents uint32 = 2 // commits carry events, snapshots the ring of them
	SchemaLogs   uint32 = 3 // commits carry records for logs, which the machine keeps in rows
	SchemaSeals  uint32 = 4 // rows may be sealed, with keys that are rows
	// SchemaContents: contents are sealed, under names that keys make of their digests.
	SchemaContents uint32 = 5
	// SchemaGoing: organizations and environments may be marked as being deleted, and a leader deletes what is so marked.
	SchemaGoing uint32 = 6
	// Schema is the newest that this code understands. A node that meets a newer one stops.
	Schema = SchemaGoing
)

// The raised schema is a row of the store's own. Its value is fixed for good: the schema as uvarint, then the
// version of the software that raised it, with its length in front; what later versions put behind is ignored.
const (
	tableSchema = "_schema"
	schemaKey   = "schema"
)

// SchemaError tells that a log entry or a snapshot is of a schema that this node does not know.
type SchemaError struct {
	What    string // "commit 01ab..."
	Schema  uint32 // of it; 0 when all that is known is that it is a later one
	Known   uint32 // up to which this node knows
	Version string // of the software that raised it; "" when that is not known
}

// Error says which version the node needs.
func (e *SchemaError) Error() string {
	version := "the version that the other members run"
	if e.Version != "" {
		version = "version " + e.Version + " or later"
	}
	if e.Schema == 0 {
		return fmt.Sprintf("%s is of a later schema than %d, the last that the software of this node knows: update it to %s", e.What, e.Known, version)
	}
	return fmt.Sprintf("%s is of schema %d, and the software of this node knows schemas up to %d only: update it to %s",
		e.What, e.Schema, e.Known, version)
}

// Unwrap is ErrDecode.
func (e *SchemaError) Unwrap() error { return ErrDecode }

// SchemaOf is the schema that the cluster has raised: SchemaFirst before it was raised.
func SchemaOf(r Reader) uint32 {
	schema, _, _ := raised(r)
	return schema
}

// SchemaVersion is the version of the software that raised the schema; "" when it was never raised.
func SchemaVersion(r Reader) string {
	_, version, _ := raised(r)
	return version
}

func raised(r Reader) (schema uint32, version string, ok bool) {
	rec := r.row(tableSchema, schemaKey)
	if rec == nil {
		return SchemaFirst, "", false
	}
	schema, version, err := decodeSchema(rec.value)
	if err != nil {
		panic(corrupt{fmt.Errorf("the raised schema: %w", err)})
	}
	return schema, version, true
}

// RaiseSchema raises the cluster's schema within the transaction, and does nothing when it is as high already. The
// caller has read, in the same transaction, that every member knows it. It fails with model.Invalid when this node
// does not.
func RaiseSchema(tx *Tx, to uint32) error {
	st := tx.base.st
	if to > st.known {
		return model.Errorf(model.Invalid, "this node knows schemas up to %d and cannot raise the cluster's to %d", st.known, to)
	}
	if SchemaOf(tx) >= to {
		return nil
	}
	return putRaw(tx, tableSchema, schemaKey, encodeSchema(to, st.version))
}

func encodeSchema(schema uint32, version string) []byte {
	return appendText(binary.AppendUvarint(nil, uint64(schema)), version)
}

func decodeSchema(value []byte) (schema uint32, version string, err error) {
	d := decoder{s: string(value)}
	return d.schema()
}

func (d *decoder) schema() (schema uint32, version string, err error) {
	if schema = d.uint32(); schema < SchemaFirst {
		d.fail("schema out of range")
	}
	version = d.text()
	return schema, version, d.err
}

// raises gives what a write makes of the schema; ok is false when it is none of the schema's row. A write that no
// proposer of ours makes is an error.
func (w *Write) raises(present uint32) (schema uint32, version string, ok bool, err error) {
	if w.Table != tableSchema {
		return 0, "", false, nil
	}
	if w.Key != schemaKey || w.Delete {
		return 0, "", true, fmt.Errorf("%w: a row %q of the schema, or its deletion", ErrDecode, w.Key)
	}
	schema, version, err = decodeSchema(w.Value)
	if err == nil && schema < present {
		err = fmt.Errorf("%w: schema %d after %d", ErrDecode, schema, present)
	}
	return schema, version, true, err
}
