package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Bounds of group commit (design section 4).
const (
	bigCommit   = 16 << 10  // a larger commit takes the lane of the big ones
	packedAhead = 256 << 10 // of entries handed to raft and not answered, roughly; see packInFlight
	busyPause   = time.Second

	// sparseAhead is how many entries of small commits may be on their way before one that is not full waits for more.
	sparseAhead = 2
)

// packInFlight is how many entries may be handed to raft and not answered. Few, where commits are packed: those that
// come meanwhile wait and share the next one.
func packInFlight(packBytes int) int { return min(max(packedAhead/packBytes, 4), 512) }

// errExpired says that a commit's deadline came before it was proposed.
var errExpired = errors.New("its deadline came while it waited for others")

// waiting is a commit on its way through the leader.
type waiting struct {
	data  []byte
	until time.Time     // it is not proposed later than this
	done  func(verdict) // called once at most: by the packer, or by whoever gave it up
	state atomic.Uint32
	timer *time.Timer // nil, or gives it up when its time has come
}

// The states of a waiting commit. Whoever takes it out of the first one decides its fate.
const (
	waitQueued uint32 = iota
	waitTaken         // the packer has it: its outcome is raft's
	waitGone          // given up: it is never proposed
)

func (w *waiting) take() bool   { return w.state.CompareAndSwap(waitQueued, waitTaken) }
func (w *waiting) giveUp() bool { return w.state.CompareAndSwap(waitQueued, waitGone) }

type verdict struct {
	res state.Result
	err error // wraps errNotDone or errUnknown
}

// lane is a queue bounded in bytes. What waits was not proposed, and is counted until the packer comes to it.
type lane struct {
	queue chan *waiting
	bytes atomic.Int64
	max   int64
}

func newLane(max int) *lane { return &lane{queue: make(chan *waiting, 16384), max: int64(max)} }

// put queues a commit. False when the lane is full.
func (l *lane) put(w *waiting) bool {
	size := int64(len(w.data))
	if l.bytes.Add(size) > l.max {
		l.bytes.Add(-size)
		return false
	}
	select {
	case l.queue <- w:
		return true
	default:
		l.bytes.Add(-size)
		return false
	}
}

// applier is raft, to the packer.
type applier interface {
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
}

// packer packs the commits that wait into entries: one goroutine makes entries, one hands out the answers. Big commits
// have a lane of their own: an entry has as many of them as the largest commit is long, and only one such entry is on its way
// at any time.
type packer struct {
	raft    applier
	now     func() time.Time
	max     int // bytes of an entry
	small   *lane
	big     *lane
	bigAway bool          // a big entry is on its way; pack's own
	bigHeld *waiting      // claimed, but it did not fit into the big entry before; pack's own
	bigDone chan struct{} // it has been answered
	flying  chan flight
	away    atomic.Int32  // entries of small commits that are on their way
	look    chan struct{} // one of them was answered, or one that is full can be made
	stop    chan struct{}
	once    sync.Once
	rooms   sync.Pool // of *room, for those who encode commits
	readers sync.Pool // of *state.Borrower, for those who check them
}

// room is a piece of memory that is used again.
type room struct{ b []byte }

// room gives memory for so many bytes, about. Release it when nobody has what was written there any more.
func (p *packer) room(size int) *room {
	r, ok := p.rooms.Get().(*room)
	if !ok {
		r = &room{}
	}
	if cap(r.b) < size {
		r.b = make([]byte, 0, size)
	}
	return r
}

// release takes back memory, which may have grown into b meanwhile.
func (p *packer) release(r *room, b []byte) {
	if cap(b) <= bigCommit {
		r.b = b[:0]
		p.rooms.Put(r)
	}
}

// check tells whether a commit can be read; see state.CheckCommit.
func (p *packer) check(data []byte) error {
	b, ok := p.readers.Get().(*state.Borrower)
	if !ok {
		b = &state.Borrower{}
	}
	defer p.readers.Put(b)
	return b.Check(data)
}

type flight struct {
	future raft.ApplyFuture
	batch  []*waiting
	big    bool
}

func newPacker(r applier, now func() time.Time, t Timing) *packer {
	p := &packer{
		raft: r, now: now, max: t.PackBytes, small: newLane(t.QueueBytes), big: newLane(t.QueueBytes),
		bigDone: make(chan struct{}, 1), look: make(chan struct{}, 1), stop: make(chan struct{}),
		flying: make(chan flight, packInFlight(t.PackBytes)-2), // besides, answer holds one and pack another
	}
	go p.pack()
	go p.answer()
	return p
}

// close ends the packer and whoever waits for it. It does not wait for the answers: raft never answers an entry
// that was put into its buffered channel while it shut down.
func (p *packer) close() { p.once.Do(func() { close(p.stop) }) }

// enqueue takes a commit and does not wait; w.done is called with its outcome, unless the packer is closed before.
// An error wraps errNotDone, and done is not called then.
func (p *packer) enqueue(w *waiting) error {
	l := p.small
	if len(w.data) > bigCommit {
		l = p.big
	}
	if !l.put(w) {
		return fmt.Errorf("%w: %w", errNotDone, busy())
	}
	if l == p.small && p.away.Load() >= sparseAhead && p.full() {
		p.wake()
	}
	return nil
}

// full says that the small commits that wait fill an entry.
func (p *packer) full() bool { return p.small.bytes.Load() >= int64(p.max) }

// wake lets next look again.
func (p *packer) wake() {
	select {
	case p.look <- struct{}{}:
	default:
	}
}

func busy() error {
	return &model.Error{Code: model.Unavailable, RetryAfter: busyPause, Messages: []string{"too many writes are waiting; nothing was done; try again in a moment"}}
}

// submit puts an encoded commit in the queue and waits for its outcome. One that was not proposed when ctx ends never
// will be, and is told as not done.
func (p *packer) submit(ctx context.Context, data []byte) (state.Result, error) {
	until, _ := ctx.Deadline()
	done := make(chan verdict, 1)
	w := &waiting{data: data, until: until, done: func(v verdict) { done <- v }}
	if err := p.enqueue(w); err != nil {
		return state.Result{}, err
	}
	var cause error
	select {
	case v := <-done:
		return v.res, v.err
	case <-ctx.Done():
		cause = ctx.Err()
	case <-p.stop:
		cause = raft.ErrRaftShutdown
	}
	if w.giveUp() {
		return state.Result{}, fmt.Errorf("%w: %w: %w", errNotDone, errExpired, cause)
	}
	select { // the packer may have refused it
	case v := <-done:
		return v.res, v.err
	default:
		return state.Result{}, fmt.Errorf("%w: %w", errUnknown, cause)
	}
}

// claim takes a queued commit off its lane; false when it is given up or its time is over.
func (p *packer) claim(l *lane, w *waiting) bool {
	l.bytes.Add(-int64(len(w.data)))
	if !w.until.IsZero() && time.Now().After(w.until) {
		if w.giveUp() {
			w.done(verdict{err: fmt.Errorf("%w: %w", errNotDone, errExpired)})
		}
		return false
	}
	if !w.take() {
		return false
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	return true
}

// pack makes entries until the packer is closed. Both lanes have their turn: a big one goes whenever none is on its
// way, and then it is the turn of the small ones.
func (p *packer) pack() {
	defer close(p.flying)
	var held *waiting // claimed, but it did not fit into the entry before
	for {
		w := p.nextBig()
		if w == nil {
			if w, held = held, nil; w == nil {
				if w = p.next(); w == nil {
					return
				}
			}
		}
		f := flight{big: len(w.data) > bigCommit}
		if f.big {
			f.batch, p.bigHeld = p.fill(p.big, w, p.maxBig())
		} else {
			f.batch, held = p.fill(p.small, w, p.max)
			p.away.Add(1)
		}
		f.future = p.propose(f.batch)
		select {
		case p.flying <- f:
		case <-p.stop:
			return
		}
	}
}

// next waits for a commit of either lane; nil when the packer is closed. Small ones stay in their queue while entries
// are on their way and another would not be full.
func (p *packer) next() *waiting {
	for {
		smalls := p.small.queue
		if p.away.Load() >= sparseAhead && !p.full() {
			smalls = nil
		}
		bigs := p.big.queue
		if p.bigAway {
			bigs = nil
		} else if w := p.bigHeld; w != nil {
			p.bigHeld, p.bigAway = nil, true
			return w
		}
		select {
		case w := <-smalls:
			if p.claim(p.small, w) {
				return w
			}
		case <-p.look:
		case w := <-bigs:
			if p.claim(p.big, w) {
				p.bigAway = true
				return w
			}
		case <-p.bigDone:
			p.bigAway = false
		case <-p.stop:
			return nil
		}
	}
}

// nextBig is a big commit if one waits and none is on its way.
func (p *packer) nextBig() *waiting {
	select {
	case <-p.bigDone:
		p.bigAway = false
	default:
	}
	if w := p.bigHeld; w != nil && !p.bigAway {
		p.bigHeld, p.bigAway = nil, true
		return w
	}
	for !p.bigAway {
		select {
		case w := <-p.big.queue:
			if p.claim(p.big, w) {
				p.bigAway = true
				return w
			}
		default:
			return nil
		}
	}
	return nil
}

// maxBig is how many bytes of big commits an entry has: no more than one commit may have, so that packing makes nobody wait
// longer than the largest commit does.
func (p *packer) maxBig() int {
	if p.max < bigCommit {
		return p.max // commits are not packed
	}
	return state.MaxCommit
}

// fill packs what waits in a lane behind w. The last result is one that is claimed and did not fit.
func (p *packer) fill(l *lane, w *waiting, max int) (batch []*waiting, held *waiting) {
	batch = []*waiting{w}
	for size := len(w.data); size < max; {
		select {
		case w := <-l.queue:
			if !p.claim(l, w) {
				continue
			}
			if size+len(w.data) > max {
				return batch, w
			}
			batch, size = append(batch, w), size+len(w.data)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// propose hands an entry with these commits to raft.
func (p *packer) propose(batch []*waiting) raft.ApplyFuture {
	e := fsm.Entry{Kind: fsm.KindCommits, Time: p.now(), Commits: make([][]byte, len(batch))}
	size := 16
	for i, w := range batch {
		e.Commits[i] = w.data
		size += len(w.data) + 4
	}
	return p.raft.Apply(e.Encode(make([]byte, 0, size)), 0)
}

func (p *packer) answer() {
	for f := range p.flying {
		err := f.future.Error()
		var res []state.Result
		if err == nil {
			res, err = results(f.future.Response(), len(f.batch))
		} else {
			err = fate(err)
		}
		for i, w := range f.batch {
			v := verdict{err: err}
			if err == nil {
				v.res = res[i]
			}
			w.done(v)
		}
		if f.big {
			p.bigDone <- struct{}{} // room for the one
			continue
		}
		p.away.Add(-1)
		p.wake()
	}
}

// results reads what the state machine answered.
func results(response any, n int) ([]state.Result, error) {
	switch r := response.(type) {
	case []state.Result:
		if len(r) == n {
			return r, nil
		}
	case error:
		return nil, fmt.Errorf("%w: %w", errUnknown, r)
	}
	return nil, fmt.Errorf("%w: the state machine answered %T", errUnknown, response)
}

// fate sorts raft's errors by what is known of the entry.
func fate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", errNotDone, err)
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}
