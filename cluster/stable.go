package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// What raft keeps beside its log. It panics or asks anew when one is missing, so names matter as much as values.
const (
	keyTerm      = "CurrentTerm"
	keyVoteTerm  = "LastVoteTerm"
	keyCandidate = "LastVoteCand"
)

// errVoteDamaged says that what this node voted, or in which term it was, is not what was written.
var errVoteDamaged = fmt.Errorf("the term and the vote that are kept beside the log: %w", ErrDamaged)

// sumStable adds a CRC-32C to term and vote, which neither store does: a node that took another term for its own could vote
// twice. Numbers are 8 bytes, big endian, and then the checksum, so that an older version finds them in boltdb. What an
// older version wrote has no checksum: a number of 8 bytes, and the candidate that belongs to such a number.
type sumStable struct {
	raft.StableStore
	table *crc32.Table
	// plain says that an older version may yet have to read what is written, and could not. It is asked at each write,
	// which are few.
	plain func() bool
}

// openStable looks whether what is kept fits together and the log, whose last entry is of lastTerm, 0 for no log, and adds
// checksums to what an older version wrote.
func openStable(s raft.StableStore, lastTerm uint64, plain func() bool) (*sumStable, error) {
	c := &sumStable{StableStore: s, table: crc32.MakeTable(crc32.Castagnoli), plain: plain}
	term, err := c.number(keyTerm)
	if err != nil {
		return nil, err
	}
	voted, err := c.number(keyVoteTerm)
	if err != nil {
		return nil, err
	}
	candidate, err := c.Get([]byte(keyCandidate))
	if err != nil && !absent(err) {
		return nil, err
	}
	switch {
	case term.value < lastTerm:
		return nil, fmt.Errorf("the term is %d, and an entry of term %d is in the log: %w", term.value, lastTerm, errVoteDamaged)
	case voted.value > term.value:
		return nil, fmt.Errorf("the term is %d, and there was a vote in term %d: %w", term.value, voted.value, errVoteDamaged)
	case !voted.there && len(candidate) > 0, voted.there && !voted.old && candidate == nil:
		return nil, fmt.Errorf("a half of the vote is missing: %w", errVoteDamaged)
	}
	if plain() {
		return c, nil
	}
	if voted.old {
		if err := c.SetUint64([]byte(keyVoteTerm), voted.value); err != nil { // the candidate goes first
			return nil, err
		}
	}
	if term.old {
		return c, c.SetUint64([]byte(keyTerm), term.value)
	}
	return c, nil
}

// number is one that is kept.
type number struct {
	value uint64
	there bool
	old   bool // an older version wrote it
}

// absent says whether an error of Get means that there is no such key: raft knows it by its text.
func absent(err error) bool { return err != nil && err.Error() == "not found" }

func (c *sumStable) number(key string) (number, error) {
	b, err := c.StableStore.Get([]byte(key))
	switch {
	case absent(err) || err == nil && len(b) == 0:
		return number{}, nil
	case err != nil:
		return number{}, fmt.Errorf("reading %s: %w", key, err)
	case len(b) == 8:
		v, err := c.StableStore.GetUint64([]byte(key)) // each store has an order of its own
		if err != nil {
			return number{}, fmt.Errorf("reading %s: %w", key, err)
		}
		return number{v, true, true}, nil
	}
	value, ok := c.check([]byte(key), b)
	if !ok || len(value) != 8 {
		return number{}, fmt.Errorf("%s: %w", key, errVoteDamaged)
	}
	return number{binary.BigEndian.Uint64(value), true, false}, nil
}

func (c *sumStable) sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, c.table, key), c.table, value)
}

// check gives what stands before a checksum that holds.
func (c *sumStable) check(key, b []byte) (value []byte, ok bool) {
	cut := len(b) - 4
	if cut < 0 || binary.BigEndian.Uint32(b[cut:]) != c.sum(key, b[:cut]) {
		return nil, false
	}
	return b[:cut:cut], true
}

func (c *sumStable) setSummed(key, value []byte) error {
	b := append(make([]byte, 0, len(value)+4), value...)
	return c.StableStore.Set(key, binary.BigEndian.AppendUint32(b, c.sum(key, value)))
}

// Get reads a value. The error wraps ErrDamaged when its checksum does not hold.
func (c *sumStable) Get(key []byte) ([]byte, error) {
	b, err := c.StableStore.Get(key)
	if err != nil || b == nil {
		return nil, err
	}
	if value, ok := c.check(key, b); ok {
		return value, nil
	}
	if string(key) == keyCandidate {
		voted, err := c.number(keyVoteTerm)
		if err != nil {
			return nil, err
		}
		if voted.old {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", key, errVoteDamaged)
}

// Set keeps a value.
func (c *sumStable) Set(key, value []byte) error {
	if c.plain() {
		return c.StableStore.Set(key, value)
	}
	return c.setSummed(key, value)
}

// GetUint64 reads a number. The error wraps ErrDamaged when its checksum does not hold.
func (c *sumStable) GetUint64(key []byte) (uint64, error) {
	n, err := c.number(string(key))
	if err == nil && !n.there {
		return c.StableStore.GetUint64(key) // each store says so in its own way
	}
	return n.value, err
}

// SetUint64 keeps a number.
func (c *sumStable) SetUint64(key []byte, value uint64) error {
	if c.plain() {
		return c.StableStore.SetUint64(key, value)
	}
	if string(key) == keyVoteTerm {
		// Raft writes the candidate after this, and may be cut off in between. Then the one before must be there, and
		// with a checksum, since that is what such a number says of it.
		candidate, err := c.Get([]byte(keyCandidate))
		if err != nil && !absent(err) {
			return err
		}
		raw, err := c.StableStore.Get([]byte(keyCandidate))
		if err != nil && !absent(err) {
			return fmt.Errorf("reading %s: %w", keyCandidate, err)
		}
		if _, ok := c.check([]byte(keyCandidate), raw); !ok {
			if err := c.setSummed([]byte(keyCandidate), candidate); err != nil {
				return err
			}
		}
	}
	return c.setSummed(key, binary.BigEndian.AppendUint64(nil, value))
}
