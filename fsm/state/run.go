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
			bad, ok := Unreadable(p)
			if !ok {
				panic(p)
			}
			c, err = nil, bad
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
//
// Who loses a key to another waits on this node for its turn at that key before it runs again, and
// newcomers that touch the key queue behind.
func Run(ctx context.Context, s *Store, p Proposer, o TxOptions, fn func(*Tx) error) error {
	_, err := RunIndex(ctx, s, p, o, fn)
	return err
}

// RunIndex is Run that also tells the index at which the transaction took effect, or the index of the
// view if it wrote nothing.
func RunIndex(ctx context.Context, s *Store, p Proposer, o TxOptions, fn func(*Tx) error) (uint64, error) {
	r := run{s: s, p: p, o: o, fn: fn}
	r.o.Now = p.Now()
	index := uint64(0)
	defer func() { // also when fn panics: others wait
		if r.turn != "" {
			s.turns.leave(r.turn, max(index, r.seen))
		}
	}()
	var err error
	index, err = r.loop(ctx)
	return index, err
}

// run is one optimistic transaction on its way.
type run struct {
	s       *Store
	p       Proposer
	o       TxOptions
	fn      func(*Tx) error
	current bool   // the local state holds all that was acknowledged before the run began
	seen    uint64 // the latest index that is known to matter
	turn    string // the key whose turn this run has
}

func (r *run) loop(ctx context.Context) (uint64, error) {
	for {
		var at uint64
		c, err := r.s.Attempt(r.o, func(tx *Tx) error { at = tx.Index(); return r.fn(tx) })
		switch {
		case (err != nil || c == nil) && r.current:
			return at, err
		case err != nil || c == nil:
			if r.o.Now, err = r.p.Current(ctx, r.seen); err != nil {
				return 0, err
			}
			r.current = true
			continue
		}
		if key := r.newcomer(c); key != "" {
			if err := r.take(ctx, key); err != nil {
				return 0, err
			}
			continue
		}
		res, err := r.p.Propose(ctx, c)
		if err != nil {
			return 0, err
		}
		switch res.Outcome {
		case Applied:
			return res.Index, nil
		case Conflict, TooOld:
			if err := r.lost(ctx, res); err != nil {
				return 0, err
			}
		case Fenced:
			return 0, ErrFenced
		default:
			return 0, fmt.Errorf("commit %s was refused: %s", c.ID, res.Outcome)
		}
	}
}

// newcomer names the key that a run without a turn should queue for.
func (r *run) newcomer(c *Commit) string {
	if r.turn != "" {
		return ""
	}
	return r.s.turns.queued(c)
}

// lost gets ready to run again after a refusal. The entry that refused was made after the run began, so a
// local state that holds it is current, without a question to the leader.
func (r *run) lost(ctx context.Context, res Result) error {
	r.seen = max(r.seen, res.Index)
	if res.ConflictKey != "" && res.ConflictKey != r.turn {
		if r.turn != "" {
			r.s.turns.leave(r.turn, r.seen)
			r.turn = ""
		}
		if err := r.take(ctx, res.ConflictKey); err != nil {
			return err
		}
	} else if err := r.wait(ctx); err != nil {
		return err
	}
	r.current = true
	return nil
}

// take waits for the turn at key, and for the local state to hold what the one before did.
func (r *run) take(ctx context.Context, key string) error {
	index, err := r.s.turns.enter(ctx, key)
	if err != nil {
		return tooBusy(err)
	}
	r.turn, r.seen = key, max(r.seen, index)
	return r.wait(ctx)
}

func (r *run) wait(ctx context.Context) error {
	if err := r.s.WaitIndex(ctx, r.seen); err != nil {
		return tooBusy(err)
	}
	if err := ctx.Err(); err != nil {
		return tooBusy(err)
	}
	r.o.Now = r.p.Now()
	return nil
}

func tooBusy(err error) error {
	return &model.Error{Code: model.Unavailable, Err: err,
		Messages: []string{"the data kept changing until the deadline; nothing was done; try again"}}
}

// ErrFenced says that a leader duty proposed something after a later term had been opened.
var ErrFenced = errors.New("a later term is open: this node no longer leads")
