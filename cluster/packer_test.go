package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// fakeRaft takes entries and answers them when it is told to.
type fakeRaft struct {
	mu      sync.Mutex
	entries []*fakeEntry
	end     chan struct{} // closed when raft has stopped
}

type fakeEntry struct {
	raft.ApplyFuture
	commits [][]byte
	done    chan struct{}
	end     chan struct{}
}

// Error waits for the answer.
func (e *fakeEntry) Error() error {
	select {
	case <-e.done:
		return nil
	case <-e.end:
		return raft.ErrRaftShutdown
	}
}

// Response is the state machine's.
func (e *fakeEntry) Response() any { return make([]state.Result, len(e.commits)) }
func (e *fakeEntry) big() bool     { return len(e.commits[0]) > bigCommit }

// Apply implements applier.
func (r *fakeRaft) Apply(cmd []byte, _ time.Duration) raft.ApplyFuture {
	e, err := fsm.DecodeEntry(cmd)
	if err != nil {
		panic(err)
	}
	f := &fakeEntry{commits: e.Commits, done: make(chan struct{}), end: r.end}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, f)
	return f
}

func (r *fakeRaft) list() []*fakeEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*fakeEntry(nil), r.entries...)
}

// proposed says whether a commit is in any entry.
func (r *fakeRaft) proposed(data []byte) bool {
	for _, e := range r.list() {
		for _, c := range e.commits {
			if bytes.Equal(c, data) {
				return true
			}
		}
	}
	return false
}

func testPacker(timing Timing) (p *packer, r *fakeRaft, end func()) {
	r = &fakeRaft{end: make(chan struct{})}
	p = newPacker(r, time.Now, timing.withDefaults())
	return p, r, func() { p.close(); close(r.end) }
}

func commitOf(size, n int) []byte {
	return append(bytes.Repeat([]byte{'c'}, size-8), fmt.Appendf(nil, "%08d", n)...)
}

// TestOneEntryOfBigCommitsAtATime floods both lanes: no small one ever has more than one entry of big ones before it, which
// is no longer than the largest commit.
func TestOneEntryOfBigCommitsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, end := testPacker(Timing{})
		defer end()
		const n = 20
		var wg sync.WaitGroup
		submit := func(data []byte) {
			wg.Go(func() {
				if _, err := p.submit(t.Context(), data); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range n {
			submit(commitOf(100<<10, i))
		}
		synctest.Wait()
		small := commitOf(100, 1)
		submit(small)
		synctest.Wait()
		if !r.proposed(small) {
			t.Error("a small commit waits behind more than one entry of big ones")
		}
		for range 50 {
			submit(commitOf(8<<10, 2))
		}
		bigs, smalls, together := 0, 0, 0
		for at := 0; bigs < n || smalls < 51; at++ {
			synctest.Wait()
			open, list := 0, r.list()
			if at >= len(list) {
				t.Fatalf("nothing more is proposed after %d big and %d small ones", bigs, smalls)
			}
			for _, e := range list[at:] {
				if e.big() {
					open++
				}
			}
			if open > 1 {
				t.Fatalf("%d entries of big ones at the same time", open)
			}
			if e := list[at]; e.big() {
				bigs += len(e.commits)
				if size := len(bytes.Join(e.commits, nil)); size > state.MaxCommit {
					t.Errorf("%d bytes of big commits are packed into an entry", size)
				}
				together = max(together, len(e.commits))
			} else {
				smalls += len(e.commits)
				if size := len(bytes.Join(e.commits, nil)); size > 64<<10 {
					t.Errorf("%d bytes are packed into an entry", size)
				}
			}
			close(list[at].done)
		}
		if together != 2 {
			t.Errorf("up to %d big ones share an entry, which has room for 2", together)
		}
		wg.Wait()
	})
}

func TestOneCommitAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, end := testPacker(Timing{PackBytes: 1})
		defer end()
		for i := range 100 {
			go func() { _, _ = p.submit(t.Context(), commitOf(100, i)) }()
		}
		synctest.Wait()
		if n := len(r.list()); n != 100 {
			t.Errorf("100 commits in %d entries", n)
		}
	})
}

// TestFullLanes fills each lane while nothing is answered: who comes then is told to come back, the other lane is open.
func TestFullLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, end := testPacker(Timing{QueueBytes: 64 << 10, PackBytes: 1 << 10})
		defer end()
		var mu sync.Mutex
		var refused []error
		flood := func(size int) {
			for i := range 2000 {
				go func() {
					if _, err := p.submit(t.Context(), commitOf(size, i)); err != nil {
						mu.Lock()
						defer mu.Unlock()
						refused = append(refused, err)
					}
				}()
			}
			synctest.Wait()
		}
		flood(1 << 10)
		if len(refused) == 0 || len(refused) > 2000-64 {
			t.Fatalf("%d of 2000 were refused", len(refused))
		}
		var me *model.Error
		if err := refused[0]; !errors.As(err, &me) || me.Code != model.Unavailable || me.RetryAfter <= 0 || !errors.Is(err, errNotDone) {
			t.Errorf("refused with %v", err)
		}
		before := len(refused)
		go func() { _, _ = p.submit(t.Context(), commitOf(20<<10, 1)) }()
		synctest.Wait()
		if len(refused) != before {
			t.Error("the lane of the big ones is full of small ones")
		}
		for at := 0; ; at++ { // the log moves again
			synctest.Wait()
			list := r.list()
			if at == len(list) {
				break
			}
			close(list[at].done)
		}
		mu.Lock()
		before = len(refused)
		mu.Unlock()
		go func() { _, _ = p.submit(t.Context(), commitOf(1<<10, 7)) }()
		synctest.Wait()
		if len(refused) != before {
			t.Error("still full")
		}
		if b := p.small.bytes.Load() + p.big.bytes.Load(); b != 0 {
			t.Errorf("%d bytes are counted in empty queues", b)
		}
	})
}

// TestExpiredCommitsAreNotProposed lets deadlines pass in the queue.
func TestExpiredCommitsAreNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, end := testPacker(Timing{PackBytes: 1 << 10})
		defer end()
		for i := range packInFlight(1<<10) + 1 { // as many as raft is given, and one that is claimed
			go func() { _, _ = p.submit(t.Context(), commitOf(1<<10, 1000+i)) }()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		local, remote, late := commitOf(1<<10, 1), commitOf(1<<10, 2), commitOf(1<<10, 3)
		outcome := make(chan error, 3)
		go func() { _, err := p.submit(ctx, local); outcome <- err }()
		w := awaiting(remote, time.Second, func(v verdict) { outcome <- v.err })
		if err := p.enqueue(w); err != nil {
			t.Fatal(err)
		}
		// This one nobody gives up: the packer itself must see that it is late.
		if err := p.enqueue(&waiting{data: late, until: time.Now().Add(time.Second), done: func(v verdict) { outcome <- v.err }}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second) // of the bubble
		for at := 0; ; at++ {
			synctest.Wait()
			list := r.list()
			if at == len(list) {
				break
			}
			close(list[at].done)
		}
		for range 3 {
			if err := <-outcome; !errors.Is(err, errNotDone) || !errors.Is(err, errExpired) {
				t.Errorf("an expired commit is told as: %v", err)
			}
		}
		for _, data := range [][]byte{local, remote, late} {
			if r.proposed(data) {
				t.Errorf("%s was proposed after its deadline", data[len(data)-8:])
			}
		}
	})
}

// TestProposedCommitsAreUnknownAtTheirDeadline is the other side: what raft has may yet take effect.
func TestProposedCommitsAreUnknownAtTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, end := testPacker(Timing{})
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.submit(ctx, commitOf(100, 1)); !errors.Is(err, errUnknown) {
			t.Errorf("%v", err)
		}
	})
}

// TestSparseEntriesWait keeps entries on their way: one that is not full waits for an answer, one that is full does not.
func TestSparseEntriesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, end := testPacker(Timing{PackBytes: 16 << 10})
		defer end()
		submit := func(n, size int) {
			for i := range n {
				go func() { _, _ = p.submit(t.Context(), commitOf(size, i)) }()
				synctest.Wait()
			}
		}
		submit(sparseAhead, 100)
		if n := len(r.list()); n != sparseAhead {
			t.Fatalf("%d entries of as many commits that need not wait", n)
		}
		submit(20, 100)
		if n := len(r.list()); n != sparseAhead {
			t.Errorf("%d entries are on their way, though none but the first %d had to be made", n, sparseAhead)
		}
		close(r.list()[0].done)
		synctest.Wait()
		list := r.list()
		if len(list) != sparseAhead+1 || len(list[sparseAhead].commits) != 20 {
			t.Fatalf("after an answer there are %d entries, and those that waited are not together", len(list))
		}
		submit(2, 8<<10) // they fill an entry
		if n := len(r.list()); n != sparseAhead+2 {
			t.Errorf("an entry that is full waits: there are %d", n)
		}
		submit(1, 20<<10) // nor does a big one wait for the small ones
		if n := len(r.list()); n != sparseAhead+3 {
			t.Errorf("a big commit waits for small ones: there are %d entries", n)
		}
	})
}
