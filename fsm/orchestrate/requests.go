package orchestrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The rules of remembered requests (design section 4).
const (
	requestKept  = 24 * time.Hour
	requestBatch = 200 // how many are forgotten in one commit
	hoursAtOnce  = 500 // how many hours are looked through in one commit, after a long rest
)

// Request finds what is kept of a request; false when there is none, or its day is over.
func Request(r state.Reader, id string) (*model.RequestRow, bool) {
	row, ok := state.Get[model.RequestRow](r, id)
	if !ok || r.Now().Sub(row.Made) >= requestKept {
		return nil, false
	}
	return row, true
}

// KeepRequest remembers a request and its answer within the transaction that did it.
func KeepRequest(tx *state.Tx, row model.RequestRow) error {
	row.Made = tx.Now()
	return state.Put(tx, &row)
}

// RequestStore is where requests are kept: a leader's.
type RequestStore interface {
	View(ctx context.Context) (*state.View, error)
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
}

// ForgetRequests deletes what is older than a day, some hundred in a commit, and tells how many it deleted and when
// there may be more to delete.
func ForgetRequests(ctx context.Context, s RequestStore) (deleted int, next time.Duration, err error) {
	view, err := s.View(ctx)
	if err != nil {
		return 0, 0, err
	}
	for {
		n, more := 0, false
		err := s.Update(ctx, func(tx *state.Tx) error {
			tx.SetActor("system")
			var err error
			n, more, err = forgetSome(tx)
			return err
		})
		if err != nil {
			return deleted, 0, fmt.Errorf("forget old requests: %w", err)
		}
		deleted += n
		if !more {
			hour := time.Duration(view.Now().Unix()%3600) * time.Second
			return deleted, time.Hour - hour, nil
		}
	}
}

var errNoTime = errors.New("the time is not known")

// forgetSome deletes a batch. Hours are taken one after another, and whole: an hour ends a day after its last moment.
func forgetSome(tx *state.Tx) (n int, more bool, err error) {
	if tx.Now().Unix() <= 0 {
		return 0, false, errNoTime
	}
	end := model.HourOf(tx.Now().Add(-requestKept))
	mark, ok := state.Edit[model.RequestMark](tx, model.RequestMarkKey)
	if !ok { // begins with the first run; nothing is older than the cluster's memory of it
		return 0, false, state.Put(tx, &model.RequestMark{Hour: end})
	}
	from := mark.Hour
	for ; mark.Hour < end; mark.Hour++ {
		if mark.Hour-from == hoursAtOnce {
			return n, true, state.Put(tx, mark)
		}
		keys := state.Keys[model.RequestRow](tx, model.RequestsOf(mark.Hour))
		for _, key := range keys {
			if n == requestBatch {
				return n, true, state.Put(tx, mark)
			}
			state.Delete[model.RequestRow](tx, key)
			n++
		}
	}
	if mark.Hour == from {
		return n, false, nil
	}
	return n, false, state.Put(tx, mark)
}
