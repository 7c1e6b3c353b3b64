// Package fsm is the machine that a raft log drives: it decodes entries, hands their commits to
// fsm/state to be verified and applied, and streams snapshots. See DESIGN.md.
package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// entryFormat is the leading byte of an encoded entry.
const entryFormat = 1

// ErrDecode is wrapped by every error of DecodeEntry.
var ErrDecode = errors.New("cannot decode a log entry")

// Kind says what an entry does.
type Kind uint8

// The kinds of entries.
const (
	KindCommits  Kind = 1 // verifies and applies commits, in order
	KindOpenTerm Kind = 2 // opens a term: from here on the leader serves
	KindEpoch    Kind = 3 // begins an epoch: after bootstrap, restore, recovery without quorum
)

// Entry is what the leader puts into the log. Its zero fields are those of other kinds.
type Entry struct {
	Kind    Kind
	Time    time.Time // the leader's; an earlier one than that of the state is raised to it
	Commits [][]byte  // encoded commits, as their proposers made them
	Term    uint64    // the term that is opened
	Node    string    // who leads it
	Epoch   uint64    // the epoch that begins, or 0 for the next one
}

// Encode appends the entry's encoding to buf. The form is: format, kind, the time in unix nanoseconds as
// 8 bytes, then by kind: the commits, each with its length in front; term and node; or the epoch. All
// numbers but the time are uvarints.
func (e *Entry) Encode(buf []byte) []byte {
	buf = append(buf, entryFormat, byte(e.Kind))
	buf = binary.BigEndian.AppendUint64(buf, uint64(e.Time.UnixNano()))
	switch e.Kind {
	case KindCommits:
		for _, c := range e.Commits {
			buf = binary.AppendUvarint(buf, uint64(len(c)))
			buf = append(buf, c...)
		}
	case KindOpenTerm:
		buf = binary.AppendUvarint(buf, e.Term)
		buf = append(buf, e.Node...)
	case KindEpoch:
		buf = binary.AppendUvarint(buf, e.Epoch)
	}
	return buf
}

// DecodeEntry reads an encoded entry. The commits refer to data.
func DecodeEntry(data []byte) (*Entry, error) {
	if len(data) < 10 {
		return nil, fmt.Errorf("%w: %d bytes are too short", ErrDecode, len(data))
	}
	if data[0] != entryFormat {
		return nil, fmt.Errorf("%w of format %d: this node knows format %d", ErrDecode, data[0], entryFormat)
	}
	e := &Entry{Kind: Kind(data[1]), Time: time.Unix(0, int64(binary.BigEndian.Uint64(data[2:]))).UTC()}
	rest := data[10:]
	var ok bool
	switch e.Kind {
	case KindCommits:
		e.Commits = make([][]byte, 0, len(rest)/512+1)
		for len(rest) > 0 {
			var n uint64
			if n, rest, ok = cutUvarint(rest); !ok || n > uint64(len(rest)) {
				return nil, fmt.Errorf("%w: commit %d is longer than the entry", ErrDecode, len(e.Commits))
			}
			e.Commits = append(e.Commits, rest[:n:n])
			rest = rest[n:]
		}
	case KindOpenTerm:
		if e.Term, rest, ok = cutUvarint(rest); !ok {
			return nil, fmt.Errorf("%w: no term to open", ErrDecode)
		}
		e.Node = string(rest)
	case KindEpoch:
		if e.Epoch, rest, ok = cutUvarint(rest); !ok || len(rest) > 0 {
			return nil, fmt.Errorf("%w: no epoch, or something after it", ErrDecode)
		}
	default:
		return nil, fmt.Errorf("%w of kind %d, which this node does not know", ErrDecode, e.Kind)
	}
	return e, nil
}

func cutUvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
