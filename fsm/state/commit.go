package state

import (
	"encoding/hex"
	"fmt"
)

// MaxCommit is the largest encoded commit in bytes. More is a job, or goes ahead by StageContent.
const MaxCommit = 256 << 10

// ID names one attempt to commit. The same bytes sent again under the same ID take effect once.
type ID [16]byte

// String is the ID in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ReadKind says what of a row or range was read, and so which changes conflict with the read.
type ReadKind uint8

// The kinds of reads.
const (
	ReadRow     ReadKind = 1 // a row, present or absent: conflicts with its creation, edit and deletion
	ReadExists  ReadKind = 2 // only whether a row is there: conflicts with its creation and deletion
	ReadMembers ReadKind = 3 // who is in a range: conflicts with a member coming or going
	ReadContent ReadKind = 4 // a range with its members' content: conflicts with their edits, too
)

// Read is one thing that must not have changed since the commit's Base. Name is a row's key or a range.
type Read struct {
	Kind  ReadKind
	Table string
	Name  string
}

// Write puts or deletes one row. It is a read of its row at the same time. Old names the ranges that the
// row was in as the proposer saw it, New those that it will be in: nobody derives them again.
type Write struct {
	Table  string
	Key    string
	Delete bool
	Fresh  bool // the row did not exist
	Old    []string
	New    []string
	Value  []byte
}

// Commit is one optimistic transaction, as it travels in the log.
type Commit struct {
	ID     ID
	Base   uint64 // raft index of the snapshot that it was computed on
	Epoch  uint64 // epoch of that snapshot; another epoch refuses it
	Term   uint64 // of a leader duty: refused once a later term is open; 0 for everybody else
	Schema uint32
	Actor  string // who did it, for the audit
	Reads  []Read
	Writes []Write
	Events []EventNote // from SchemaEvents on
	Notes  []LogNote   // from SchemaLogs on
}

// EventNote says that an event is to be told of a write, and what of it the row alone does not say.
type EventNote struct {
	Write  int    // index in the commit's Writes; ascending
	Org    string // the organization's id; "" is none
	Object string // what changed; "" is the row's key
}

// Outcome is what became of a commit.
type Outcome uint8

// The outcomes. All but Applied changed nothing.
const (
	Applied   Outcome = 1 // in effect
	Conflict  Outcome = 2 // something that it read has changed; run the closure again on a newer view
	TooOld    Outcome = 3 // its Base lies before what is remembered: a first try runs again; of a repeat nothing is known
	Fenced    Outcome = 4 // a later term is open than the duty's that proposed it
	Malformed Outcome = 5 // it contradicts itself or what is stored: a fault of the proposer
)

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case Conflict:
		return "conflict"
	case TooOld:
		return "too old"
	case Fenced:
		return "fenced"
	case Malformed:
		return "malformed"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Result is the machine's answer to one commit.
type Result struct {
	Outcome Outcome
	// Index is the entry that it took effect in, or for a refusal the one that refused it: a view of
	// at least this index shows why.
	Index uint64
	Pos   uint32 // position in the entry of its first write
	// ConflictKey names what had changed, as "table name"; for conflicts only.
	ConflictKey string
}
