package state

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// Event tells of one row that was written. It holds names, not contents: what it is about is read afterwards.
type Event struct {
	Version Version   // of the write; grows from event to event, and is the cursor
	Time    time.Time // the leader's, of the entry
	Org     string    // the organization's id; "" for what belongs to none
	Kind    string    // table and what happened: "host.created", "host.updated", "host.deleted"
	Object  string    // the row's key, or what its table names instead
	Actor   string    // who did it; "" for the cluster's own work
}

// DefaultEventBytes is how much memory the ring of events may take, if Options says nothing.
const DefaultEventBytes = 4 << 20

// eventCost is what is counted for an event beside its texts. It decides what is forgotten: never change it.
const eventCost = 96

// tableEvents names the watch marks of events: one for all, one for each organization.
const tableEvents = "_events"

// noted is an event of a transaction that may still change.
type noted struct{ org, object string }

func (tx *Tx) hasEvents() bool { return tx.base.pub.schema >= SchemaEvents }

// note asks the table what to tell of a row that was put or deleted.
func (tx *Tx) note(def *TableDef, key string, row any) {
	if def.event == nil || !tx.hasEvents() {
		return
	}
	p := tx.pending(def.name, key)
	p.event = nil
	if org, object, ok := def.event(quiet{tx}, row); ok {
		if object == key {
			object = ""
		}
		p.event = &noted{org: org, object: object}
	}
}

// quiet reads what a transaction sees and notes nothing, so it conflicts with nothing.
type quiet struct{ tx *Tx }

// Index is Reader's.
func (q quiet) Index() uint64 { return q.tx.Index() }

// Epoch is Reader's.
func (q quiet) Epoch() uint64 { return q.tx.Epoch() }

// Now is Reader's.
func (q quiet) Now() time.Time { return q.tx.Now() }

func (q quiet) peek(table, key string) *record { return q.row(table, key) }

func (q quiet) store() *Store { return q.tx.store() }

func (q quiet) row(table, key string) *record {
	if p := q.tx.writes.of(table, key); p != nil {
		return p.rec
	}
	return q.tx.memo.row(q.tx.base, table, key)
}

func (q quiet) unique(table, rng string) *record {
	keys := q.tx.keysNow(table, rng)
	if len(keys) == 0 {
		return nil
	}
	return q.row(table, keys[0])
}

func (q quiet) members(table, rng string) []*record { return q.tx.membersNow(table, rng) }

func (q quiet) keys(table, rng string) []string { return slices.Clone(q.tx.keysNow(table, rng)) }

// ringChunk is a part of the ring. Places that a published ring shows are never written again.
type ringChunk [128]Event

// ring holds the most recent events. What was published shares its chunks with what comes after it.
type ring struct {
	chunks []*ringChunk
	first  int     // place of the first event in the first chunk
	n      int     // events
	bytes  int     // what they cost
	limit  int     // what they may cost
	floor  Version // events up to here are forgotten, or were never told
}

func (r *ring) at(i int) *Event {
	i += r.first
	return &r.chunks[i/len(ringChunk{})][i%len(ringChunk{})]
}

func (e *Event) cost() int {
	return eventCost + len(e.Org) + len(e.Kind) + len(e.Object) + len(e.Actor)
}

// add puts an event at the end and forgets what no longer fits, by events and not by chunks: those lie otherwise
// on a node that has read a snapshot.
func (r *ring) add(e Event) {
	end := r.first + r.n
	if end == len(r.chunks)*len(ringChunk{}) {
		r.chunks = append(slices.Clip(r.chunks), new(ringChunk))
	}
	r.chunks[end/len(ringChunk{})][end%len(ringChunk{})] = e
	r.n++
	r.bytes += e.cost()
	for r.bytes > r.limit && r.n > 1 {
		old := r.at(0)
		r.floor = old.Version
		r.bytes -= old.cost()
		r.n--
		if r.first++; r.first == len(ringChunk{}) {
			r.first, r.chunks = 0, r.chunks[1:]
		}
	}
}

// last is the event at the end, a zero one when there is none.
func (r *ring) last() Event {
	if r.n == 0 {
		return Event{}
	}
	return *r.at(r.n - 1)
}

func (v Version) compare(w Version) int {
	switch {
	case v.Index < w.Index || v.Index == w.Index && v.Pos < w.Pos:
		return -1
	case v == w:
		return 0
	}
	return 1
}

// Events gives events after a version, oldest first: at most max, of those that match says (nil: all). next is
// what to ask from the next time: it lies behind all that was looked at, so an idle reader with a narrow match
// does not fall behind. Events of another epoch are for the caller to refuse. It fails with model.Gone when
// events after that version were forgotten already, and with model.Unavailable while the cluster's schema knows
// no events.
func Events(v *View, after Version, max int, match func(*Event) bool) (evs []Event, next Version, err error) {
	if v.pub.schema < SchemaEvents {
		return nil, Version{}, model.Errorf(model.Unavailable, "the cluster tells no events before all its members run a version that knows them: update them")
	}
	r := &v.pub.ring
	if after.compare(r.floor) < 0 {
		return nil, Version{}, model.Errorf(model.Gone,
			"events after %s are no longer kept: read what you need anew, then follow events from the version of that answer", after)
	}
	i := sort.Search(r.n, func(i int) bool { return r.at(i).Version.compare(after) > 0 })
	for ; i < r.n && len(evs) < max; i++ {
		e := r.at(i)
		after = e.Version
		if match == nil || match(e) {
			evs = append(evs, *e)
		}
	}
	if end := EventsEnd(v); i == r.n && after.compare(end) < 0 {
		after = end
	}
	return evs, after, nil
}

// EventsStart is where the events of a view start: what to ask from for all that are kept.
func EventsStart(v *View) Version { return v.pub.ring.floor }

// EventsEnd is where the events of a view end: what to ask from for those that are not in it.
func EventsEnd(v *View) Version { return Version{Index: v.pub.index, Pos: math.MaxUint32} }

// kinds are the texts of a table's events: created, updated, deleted.
type kinds [3]string

// kindOf gives the text for a write, made once for each table.
func (s *Store) kindOf(w *Write) string {
	k := s.kinds[w.Table]
	if k == nil {
		table := strings.Clone(w.Table)
		k = &kinds{table + ".created", table + ".updated", table + ".deleted"}
		s.kinds[table] = k
	}
	switch {
	case w.Fresh:
		return k[0]
	case w.Delete:
		return k[2]
	}
	return k[1]
}

// tell puts the events of an applied commit into the ring. pos is the position of its first write.
func (b *Batch) tell(c *Commit, pos uint32) {
	if len(c.Events) == 0 {
		return
	}
	r := &b.next.ring
	for i := range c.Events {
		n, last := &c.Events[i], r.last()
		w := &c.Writes[n.Write]
		object := n.Object
		if object == "" {
			object = w.Key
		}
		e := Event{Version: Version{Index: b.next.index, Pos: pos + uint32(n.Write)}, Time: time.Unix(0, b.next.time).UTC(),
			Org: clone(n.Org, last.Org), Kind: b.st.kindOf(w), Object: strings.Clone(object), Actor: clone(c.Actor, last.Actor)}
		if e.Org != "" && (last.Version.Index != e.Version.Index || last.Org != e.Org) {
			b.touch(markEvent, tableEvents, e.Org)
		}
		r.add(e)
	}
	b.touch(markEvent, tableEvents, "")
}

// clone copies a text, or takes the copy that the event before has.
func clone(s, before string) string {
	if s == before {
		return before
	}
	return strings.Clone(s)
}
