package state_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// slow is a proposer whose commits take a millisecond, as on a disk; it counts what it is asked.
type slow struct {
	*statetest.DB
	proposals, questions atomic.Int64
	spoil                func(state.Result) (state.Result, error)
}

func (s *slow) Propose(ctx context.Context, c *state.Commit) (state.Result, error) {
	s.proposals.Add(1)
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return state.Result{}, ctx.Err()
	}
	res, err := s.DB.Propose(ctx, c)
	if err == nil && s.spoil != nil {
		return s.spoil(res)
	}
	return res, err
}

func (s *slow) Current(ctx context.Context, index uint64) (time.Time, error) {
	s.questions.Add(1)
	return s.DB.Current(ctx, index)
}

func (s *slow) update(ctx context.Context, fn func(tx *state.Tx) error) error {
	return state.Run(ctx, s.Store(), s, state.TxOptions{}, fn)
}

// TestLosersTakeTurns lets many count up one row at once. Running again freely costs about n²/2 proposals;
// in turns each loses at most about once.
func TestLosersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{DB: newDB(t)}
		put(t, s.DB, &item{ID: "hot", Env: "e", Name: "hot"}, &item{ID: "cold", Env: "e2", Name: "cold"})
		const n = 64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if err := s.update(t.Context(), countUp("hot")); err != nil {
					t.Errorf("update: %v", err)
				}
			})
		}
		wg.Wait()
		if i, _ := state.Get[item](s.Local(), "hot"); i.Count != n {
			t.Errorf("counted to %d", i.Count)
		}
		if got := s.proposals.Load(); got > 2*n {
			t.Errorf("%d proposals for %d updates", got, n)
		}
		if got := s.questions.Load(); got != 0 {
			t.Errorf("%d questions to the leader; a refusal answers them", got)
		}
		began := time.Now()
		if err := s.update(t.Context(), countUp("hot")); err != nil || time.Since(began) != time.Millisecond {
			t.Errorf("an update with nobody in the way took %v: %v", time.Since(began), err)
		}
	})
}

// TestNewcomersTakeTurns lets others begin while some wait for their turns: these wait behind them, and so read what holds.
// Else each would lose once, and make the one lose whose turn it is.
func TestNewcomersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{DB: newDB(t)}
		put(t, s.DB, &item{ID: "hot", Env: "e", Name: "hot"})
		const waiting, newcomers = 16, 64
		var wg sync.WaitGroup
		begin := func() {
			wg.Go(func() {
				if err := s.update(t.Context(), countUp("hot")); err != nil {
					t.Errorf("update: %v", err)
				}
			})
		}
		for range waiting {
			begin()
		}
		<-time.After(1500 * time.Microsecond) // the first is done, the others have lost
		for range newcomers {
			begin()
			<-time.After(300 * time.Microsecond)
		}
		wg.Wait()
		if i, _ := state.Get[item](s.Local(), "hot"); i.Count != waiting+newcomers {
			t.Errorf("counted to %d", i.Count)
		}
		if got := s.proposals.Load(); got > 2*waiting+newcomers {
			t.Errorf("%d proposals for %d updates that lost and %d that came later", got, waiting, newcomers)
		}
	})
}

func countUp(id string) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, id)
		i.Count++
		return state.Put(tx, i)
	}
}

// TestTurnsOfTwoKeys lets each transaction need two rows, in either order: nobody may wait in a circle, and
// others must not wait at all.
func TestTurnsOfTwoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{DB: newDB(t)}
		put(t, s.DB, &item{ID: "a", Env: "e", Name: "a"}, &item{ID: "b", Env: "e", Name: "b"}, &item{ID: "cold", Env: "f", Name: "c"})
		var wg sync.WaitGroup
		for w := range 20 {
			wg.Go(func() {
				for range 5 {
					ids := []string{"a", "b"}
					if w%2 == 0 {
						ids = []string{"b", "a"}
					}
					if w%5 == 0 {
						ids = ids[:1]
					}
					err := s.update(t.Context(), func(tx *state.Tx) error {
						for _, id := range ids {
							if err := countUp(id)(tx); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Errorf("update: %v", err)
					}
				}
			})
		}
		wg.Go(func() {
			began := time.Now()
			if err := s.update(t.Context(), countUp("cold")); err != nil || time.Since(began) != time.Millisecond {
				t.Errorf("another row took %v: %v", time.Since(began), err)
			}
		})
		wg.Wait()
		a, _ := state.Get[item](s.Local(), "a")
		b, _ := state.Get[item](s.Local(), "b")
		if a.Count+b.Count != 16*5*2+4*5 {
			t.Errorf("counted %d and %d", a.Count, b.Count)
		}
	})
}

func TestWaiterForATurnGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{DB: newDB(t)}
		put(t, s.DB, &item{ID: "hot", Env: "e", Name: "hot"})
		var wg sync.WaitGroup
		var failed atomic.Int64
		for range 30 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond+time.Microsecond)
				defer cancel()
				err := s.update(ctx, countUp("hot"))
				if err != nil {
					failed.Add(1)
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Wait()
		i, _ := state.Get[item](s.Local(), "hot")
		if got := int(failed.Load()); got != 30-i.Count || got == 0 {
			t.Errorf("%d failed, %d took effect", got, i.Count)
		}
		if err := s.update(t.Context(), countUp("hot")); err != nil { // the queue must be free again
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestWhatRunMakesOfOutcomes(t *testing.T) {
	broken := errors.New("no leader")
	for name, c := range map[string]struct {
		spoil func(state.Result) (state.Result, error)
		want  func(error) bool
	}{
		"fenced":    {func(state.Result) (state.Result, error) { return state.Result{Outcome: state.Fenced}, nil }, func(err error) bool { return errors.Is(err, state.ErrFenced) }},
		"malformed": {func(state.Result) (state.Result, error) { return state.Result{Outcome: state.Malformed}, nil }, func(err error) bool { return model.CodeOf(err) == model.Internal }},
		"error":     {func(state.Result) (state.Result, error) { return state.Result{}, broken }, func(err error) bool { return err == broken }},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{DB: newDB(t), spoil: c.spoil}
			err := s.update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e"}) })
			if !c.want(err) || s.proposals.Load() != 1 {
				t.Errorf("error %v after %d proposals", err, s.proposals.Load())
			}
		})
	}
	t.Run("too old runs again", func(t *testing.T) {
		s := &slow{DB: newDB(t)}
		old := true
		s.spoil = func(r state.Result) (state.Result, error) {
			if old {
				old = false
				return state.Result{Outcome: state.TooOld, Index: r.Index}, nil
			}
			return r, nil
		}
		err := s.update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e"}) })
		if err != nil || s.proposals.Load() != 2 {
			t.Errorf("error %v after %d proposals", err, s.proposals.Load())
		}
	})
}

func TestNothingToWriteAsksOnce(t *testing.T) {
	s := &slow{DB: newDB(t)}
	runs := 0
	err := s.update(t.Context(), func(tx *state.Tx) error { runs++; state.Get[env](tx, "e"); return nil })
	if err != nil || runs != 2 || s.questions.Load() != 1 || s.proposals.Load() != 0 {
		t.Errorf("error %v, %d runs, %d questions, %d proposals", err, runs, s.questions.Load(), s.proposals.Load())
	}
}

func BenchmarkAttempt(b *testing.B) {
	db := newDB(b)
	for i := range 1000 {
		err := db.Update(b.Context(), func(tx *state.Tx) error {
			if err := state.Put(tx, &env{ID: "e"}); err != nil {
				return err
			}
			return state.Put(tx, &item{ID: fmt.Sprint(i), Env: "e", Name: fmt.Sprint(i)})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c, err := db.Store().Attempt(state.TxOptions{}, countUp(fmt.Sprint(i%1000)))
		if err != nil || len(c.Encode(nil)) == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db := newDB(b)
	if err := db.Update(b.Context(), func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e"}) }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := state.Get[env](db.Store().View(), "e"); !ok {
			b.Fatal("no row")
		}
	}
}
