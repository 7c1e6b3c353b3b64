package cluster

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// patientTransport keeps raft from waiting for a peer that is back. Raft doubles its pause after each
// append that a peer did not take, up to ten seconds, and does not look at the heartbeats that the same
// peer answers long since: a node that was away for a minute then gets no entry for ten seconds more. So
// an append that failed is told to raft only when a heartbeat to that peer has gone through, or this node
// no longer leads in the append's term.
type patientTransport struct {
	*raft.NetworkTransport // pre-vote and the rest as they are

	silent func() bool // this node must not be heard as a leader
	done   <-chan struct{}

	mu    sync.Mutex
	leads func(term uint64) bool   // nil until follow
	beats map[raft.ServerID]uint64 // answered heartbeats
}

// patienceStep is how often a waiting append looks whether its peer is back.
const patienceStep = 20 * time.Millisecond

// errSilent is told to raft in place of what was not sent.
var errSilent = errors.New("this node's log is stuck: it must not be taken for a leader")

func newPatientTransport(inner *raft.NetworkTransport, silent func() bool, done <-chan struct{}) *patientTransport {
	return &patientTransport{NetworkTransport: inner, silent: silent, done: done, beats: map[raft.ServerID]uint64{}}
}

// follow tells whose leadership it is about; raft wants its transport before it exists.
func (t *patientTransport) follow(leads func(term uint64) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leads = leads
}

func (t *patientTransport) isLeader(term uint64) bool {
	t.mu.Lock()
	leads := t.leads
	t.mu.Unlock()
	return leads == nil || leads(term)
}

// AppendEntries sends entries or a heartbeat (one without a previous entry).
func (t *patientTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	before := t.beatsOf(id)
	err := errSilent
	if !t.silent() {
		err = t.NetworkTransport.AppendEntries(id, target, args, resp)
	}
	if isHeartbeat(args) {
		if err == nil {
			t.beat(id)
		}
		return err
	}
	if err != nil {
		t.wait(id, args.Term, before)
	}
	return err
}

// isHeartbeat knows raft's heartbeats: they name no previous entry, carry none, and tell no commit.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && a.LeaderCommitIndex == 0 && len(a.Entries) == 0
}

func (t *patientTransport) beat(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.beats[id]++
}

func (t *patientTransport) beatsOf(id raft.ServerID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.beats[id]
}

// wait returns when the peer has answered a heartbeat after `before`, or the term is over, or the node ends.
func (t *patientTransport) wait(id raft.ServerID, term, before uint64) {
	tick := time.NewTicker(patienceStep)
	defer tick.Stop()
	for t.isLeader(term) && t.beatsOf(id) == before {
		select {
		case <-t.done:
			return
		case <-tick.C:
		}
	}
}
