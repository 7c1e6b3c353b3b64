package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// withinBytes refuses a transaction that lets an organization grow beyond its quota of bytes: what is stored as this node knows it
// now, and what the transaction adds. Transactions under way at the same time do not see one another: together they may go beyond
// by what they add, each at most a commit.
func withinBytes(tx *state.Tx) error {
	for org, more := range state.Grown(tx) {
		if more <= 0 {
			continue
		}
		q, has := QuotaOf(tx.Before(), org), state.StoredBytes(tx, org)
		if has+more > int64(q.Bytes) {
			return model.Errorf(model.Forbidden, "the quota bytes of the organization is %d, it has %d and this would make %d more: remove some, or ask an administrator of the site for more", q.Bytes, has, more)
		}
	}
	return nil
}
