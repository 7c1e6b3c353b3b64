package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Resync asks an agent for its standing, at the beginning of an epoch: after a restore the state may lack orders that
// the agent has. An agent that answers takes no order of an earlier epoch any more.
type Resync struct {
	Agent  string    `json:"agent"`
	Epoch  uint64    `json:"epoch"`
	Issued time.Time `json:"issued"` // the leader's time
	Above  uint64    `json:"above"`  // the state knows all orders up to this sequence of the lane of changes
}

// Standing answers a Resync: how far the agent has come in the lane of changes, and what it has done above the sequence
// that was named. It is not repeated by itself: the question is.
type Standing struct {
	Agent   string `json:"agent"`
	Epoch   uint64 `json:"epoch"`            // that of the question
	Above   uint64 `json:"above"`            // that of the question
	Journal string `json:"journal"`          // id of the journal that this is read from; another one has forgotten
	Floor   uint64 `json:"floor"`            // orders up to this sequence may have been forgotten
	Highest uint64 `json:"highest"`          // sequence of the highest order that was ever accepted
	Before  string `json:"before"`           // digest of all that was over before the first of Orders
	Digest  string `json:"digest"`           // digest of all that is over: Before with those of Orders that are over
	Orders  []Held `json:"orders"`           // as they were accepted
	Retold  uint64 `json:"retold,omitempty"` // what alerts up to this sequence told is told again if it still holds; 0: the agent cannot
}

// Held is an order that the agent has accepted.
type Held struct {
	Order    string    `json:"order"`
	Change   string    `json:"change,omitempty"` // id of the change; "": the order came without it
	Num      int       `json:"num"`              // orderNum of the change
	Epoch    uint64    `json:"epoch"`
	Term     uint64    `json:"term"`
	Sequence uint64    `json:"sequence"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires,omitzero"` // of one that is not over
	Over     bool      `json:"over,omitempty"`
	Steps    string    `json:"steps"`           // a letter for each step; see Outcome
	Error    string    `json:"error,omitempty"` // of the first step that was not done, cut off
}

// Outcome is a letter of Held.Steps.
type Outcome byte

// The letters: what became of a step.
const (
	OutcomeOK          Outcome = 'o'
	OutcomeChanged     Outcome = 'c' // ok, and it changed something
	OutcomeError       Outcome = 'e'
	OutcomeInterrupted Outcome = 'i'
	OutcomeSkipped     Outcome = 's'
	OutcomeOpen        Outcome = '.' // none yet
)

// OutcomeOf is the letter of a reply.
func OutcomeOf(r Reply) Outcome {
	switch {
	case r.Status == StatusOK && r.Changed:
		return OutcomeChanged
	case r.Status == StatusOK:
		return OutcomeOK
	case r.Status == StatusInterrupted:
		return OutcomeInterrupted
	case r.Status == StatusSkipped:
		return OutcomeSkipped
	}
	return OutcomeError
}

// Chain is the digest of all that was over, once h is over too. before is that of all until then.
func Chain(before string, h Held) string {
	sum := sha256.New()
	for _, s := range []string{before, h.Order, h.Change, h.Steps} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		sum.Write(n[:])
		sum.Write([]byte(s))
	}
	for _, v := range []uint64{h.Epoch, h.Term, h.Sequence} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], v)
		sum.Write(n[:])
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Whole says whether Orders are all that is over since Before: the digests tell.
func (s *Standing) Whole() bool {
	at := s.Before
	for _, h := range s.Orders {
		if h.Over {
			at = Chain(at, h)
		}
	}
	return at == s.Digest
}

// maxHeld bounds the orders of a standing, and maxHeldSteps the steps of one.
const (
	maxHeld      = 4096
	maxHeldSteps = 1 << 16
)

// OpenStanding verifies a standing with the agent's key and checks what the rest relies on. Errors wrap an error of Open.
func OpenStanding(data []byte, pub ed25519.PublicKey) (Standing, error) {
	var s Standing
	if err := Open(data, KindStanding, pub, &s); err != nil {
		return Standing{}, err
	}
	if s.Journal == "" || s.Epoch == 0 || len(s.Orders) > maxHeld {
		return Standing{}, fmt.Errorf("open standing: %w: without a journal or an epoch, or of %d orders", ErrMalformed, len(s.Orders))
	}
	for _, h := range s.Orders {
		if h.Order == "" || h.Num < 0 || len(h.Steps) == 0 || len(h.Steps) > maxHeldSteps || h.Sequence > s.Highest {
			return Standing{}, fmt.Errorf("open standing: %w: the order %.40q of %d steps, sequence %d", ErrMalformed, h.Order, len(h.Steps), h.Sequence)
		}
		for _, o := range []byte(h.Steps) {
			switch Outcome(o) {
			case OutcomeOK, OutcomeChanged, OutcomeError, OutcomeInterrupted, OutcomeSkipped:
			case OutcomeOpen:
				if h.Over {
					return Standing{}, fmt.Errorf("open standing: %w: the order %.40q is over, and a step of it is not", ErrMalformed, h.Order)
				}
			default:
				return Standing{}, fmt.Errorf("open standing: %w: a step ended as %q", ErrMalformed, o)
			}
		}
	}
	return s, nil
}
