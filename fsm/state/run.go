package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// Attempt runs fn once over a new transaction. It gives the commit to propose, nil when fn wrote nothing.
// An error of fn is returned as it is; a stored row that does not read as its type is an error, too.
func (s *Store) Attempt(o TxOptions, fn func(*Tx) error) (c *Commit, err error) {
	defer func() {
		if p := recover(); p != nil {
			bad, ok := p.(corrupt)
			if !ok {
				panic(p)
			}
			c, err = nil, &model.Error{Code: model.Internal, Messages: []string{"stored data cannot be read"}, Err: bad.err}
		}
	}()
	tx := s.Begin(o)
	if err := fn(tx); err != nil {
		return nil, err
	}
	return tx.Commit()
}

// Proposer is what Run needs to get a commit into the log.
type Proposer interface {
	// Propose puts a commit to the machine and waits for its outcome. The same commit is sent again
	// while its outcome is unknown, so that an answer TooOld is one to a first try. An error ends Run.
	Propose(ctx context.Context, c *Commit) (Result, error)
	// Current makes the store current: it holds all that was acknowledged before the call, and at least
	// index. It answers the leader's time.
	Current(ctx context.Context, index uint64) (time.Time, error)
	// Now is the leader's time as this node guesses it, without asking.
	Now() time.Time
}

// Run runs fn as an optimistic transaction until it has taken effect or failed. It begins on the local
// view at once: a verified commit proves that what it read was current. A failure of fn, or nothing to
// write, proves nothing, so it is believed only of a view that was made current. fn may run many times.
// Errors of fn are returned as they are.
func Run(ctx context.Context, s *Store, p Proposer, o TxOptions, fn func(*Tx) error) error {
	_, err := RunIndex(ctx, s, p, o, fn)
	return err
}

// RunIndex is Run that also tells the index at which the transaction took effect, or the index of the
// view if it wrote nothing.
func RunIndex(ctx context.Context, s *Store, p Proposer, o TxOptions, fn func(*Tx) error) (uint64, error) {
	o.Now = p.Now()
	current := false
	wait := uint64(0)
	for {
		if err := ctx.Err(); err != nil {
			return 0, &model.Error{Code: model.Unavailable, Err: err,
				Messages: []string{"the data kept changing until the deadline; nothing was done; try again"}}
		}
		var at uint64
		c, err := s.Attempt(o, func(tx *Tx) error { at = tx.Index(); return fn(tx) })
		if current && (err != nil || c == nil) {
			return at, err
		}
		if err == nil && c != nil {
			res, err := p.Propose(ctx, c)
			if err != nil {
				return 0, err
			}
			switch res.Outcome {
			case Applied:
				return res.Index, nil
			case Conflict, TooOld:
				wait = res.Index
			case Fenced:
				return 0, ErrFenced
			default:
				return 0, fmt.Errorf("commit %s was refused: %s", c.ID, res.Outcome)
			}
		}
		if o.Now, err = p.Current(ctx, wait); err != nil {
			return 0, err
		}
		current = true
	}
}

// ErrFenced says that a leader duty proposed something after a later term had been opened.
var ErrFenced = errors.New("a later term is open: this node no longer leads")
