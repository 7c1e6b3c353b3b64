package journal

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

// keptDone is how many orders that are over are remembered by their outcomes, and maxTold how many bytes of an error.
const (
	keptDone = 256
	maxTold  = 512
)

// memory is what is remembered of the lane of changes, for the standing: see DESIGN.md.
type memory struct {
	id      string
	floor   uint64      // orders up to this sequence may be forgotten
	highest uint64      // sequence of the highest order that was accepted
	before  string      // digest of all that was over before the first of done
	done    []wire.Held // the newest that are over, as they ended
	ends    []string    // the digest after each of done
}

func headOf(o *wire.Order) wire.Held {
	return wire.Held{
		Order: o.ID, Change: o.ChangeID, Num: o.Change, Epoch: o.Epoch, Term: o.Term, Sequence: o.Sequence, Issued: o.Issued, Expires: o.Expires,
	}
}

func (m *memory) apply(s *state) {
	if s.ID != "" {
		m.id = s.ID
	}
	m.floor, m.highest = max(m.floor, s.Floor), max(m.highest, s.Highest)
	if s.Before != "" || len(s.Done) > 0 {
		m.before, m.done, m.ends = s.Before, nil, nil
		for _, h := range s.Done {
			m.add(h)
		}
	}
}

func (m *memory) accepted(o *wire.Order) {
	if o.Lane == wire.LaneChanges {
		m.highest = max(m.highest, o.Sequence)
	}
}

// finished remembers an order whose last reply has come.
func (m *memory) finished(o *order) {
	if o.body != nil && o.lane == wire.LaneChanges {
		m.add(o.held(true))
	}
}

func (m *memory) add(h wire.Held) {
	if len(m.done) >= keptDone {
		m.before, m.floor = m.ends[0], max(m.floor, m.done[0].Sequence)
		m.done, m.ends = slices.Delete(m.done, 0, 1), slices.Delete(m.ends, 0, 1)
	}
	m.done = append(m.done, h)
	m.ends = append(m.ends, wire.Chain(m.digest(), h))
}

// digest is that of all that is over.
func (m *memory) digest() string {
	if len(m.ends) == 0 {
		return m.before
	}
	return m.ends[len(m.ends)-1]
}

// held is an order with the outcomes that its steps have; its body must still be there.
func (o *order) held(over bool) wire.Held {
	h := o.head
	if h.Over = over; over {
		h.Expires = time.Time{}
	}
	steps := make([]byte, len(o.body.Steps))
	for i, s := range o.body.Steps {
		r, ok := o.replies[s.Num]
		if !ok {
			steps[i] = byte(wire.OutcomeOpen)
			continue
		}
		steps[i] = byte(wire.OutcomeOf(r))
		if h.Error == "" && r.Status != wire.StatusOK {
			h.Error = cut(r.Error)
		}
	}
	h.Steps = string(steps)
	return h
}

// cut shortens a text to maxTold bytes.
func cut(s string) string {
	if len(s) > maxTold {
		s = s[:maxTold] + " ..."
	}
	return strings.ToValidUTF8(s, "")
}

// name gives a journal of an older agent its id. What it remembers begins then.
func (j *Journal) name() error {
	if j.st.memory.id != "" {
		return nil
	}
	known := max(j.st.memory.highest, j.st.fences[wire.LaneChanges].Sequence)
	r := record{Kind: kindState, State: &state{Seen: j.st.seen, ID: rand.Text(), Floor: known, Highest: known}}
	if err := j.write(r, true); err != nil {
		return fmt.Errorf("name the journal: %w", err)
	}
	return j.st.apply(r)
}

// ID names this journal: one that is begun anew has another.
func (j *Journal) ID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.memory.id
}

// Resync raises the fence of every lane to the beginning of an epoch: no order of an earlier one is accepted any more,
// so that the standing that is told next stays true. Nothing that was told of watched resources counts any more, since
// the state may lack it: see Told. It is on disk when Resync returns nil.
func (j *Journal) Resync(epoch uint64, seen Seen) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := Fence{Epoch: epoch}
	fences := map[wire.Lane]Fence{}
	for _, lane := range []wire.Lane{wire.LaneChanges, wire.LaneAsks} {
		if j.st.fences[lane].Below(f) {
			fences[lane] = f
		}
	}
	if len(fences) == 0 {
		return nil
	}
	return j.append(record{Kind: kindState, State: &state{Fences: fences, Seen: seen, Retell: j.st.sequence}}, true)
}

// Standing tells how far the lane of changes has come, and which orders were accepted above a sequence. The caller fills
// in whose it is and which epoch was asked.
func (j *Journal) Standing(above uint64) wire.Standing {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := &j.st.memory
	s := wire.Standing{Above: above, Journal: m.id, Floor: m.floor, Highest: m.highest, Before: m.before, Digest: m.digest(), Orders: []wire.Held{}, Retold: j.st.retell}
	for i, h := range m.done {
		if len(s.Orders) == 0 && h.Sequence <= above {
			s.Before = m.ends[i]
			continue
		}
		s.Orders = append(s.Orders, h)
	}
	var open []*order
	for _, o := range j.st.orders {
		if !o.over && o.lane == wire.LaneChanges {
			open = append(open, o)
		}
	}
	slices.SortFunc(open, func(a, b *order) int { return compare(a.arrival, b.arrival) })
	for _, o := range open {
		s.Orders = append(s.Orders, o.held(false))
	}
	return s
}
