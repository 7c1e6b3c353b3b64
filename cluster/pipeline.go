package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline keeps raft's pipelined replication from locking itself up. Raft reads the answers in a goroutine that ends at
// the first answer that is no success; if its sender waits for room in the pipeline at that moment, the sender waits for
// ever: no entry reaches the follower any more, though heartbeats do, and raft cannot be shut down. So answers that
// nobody reads are taken all the same, until the sender sees the end and closes the pipeline.
type pipeline struct {
	raft.AppendPipeline
	silent func() bool
	out    chan raft.AppendFuture
	done   chan struct{}
	once   sync.Once
}

// pipelineAnswers is how many answers wait for a reader. A sender whose reader has ended goes on for each with a chance
// of a half only.
const pipelineAnswers = 128

// AppendEntriesPipeline opens a pipeline to a peer.
func (t *patientTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, silent: t.silent, out: make(chan raft.AppendFuture, pipelineAnswers), done: make(chan struct{})}
	go p.drain()
	return p, nil
}

func (p *pipeline) drain() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			select {
			case p.out <- f:
			case <-p.done:
				return
			}
		case <-p.done:
			return
		}
	}
}

// AppendEntries sends entries, or what keeps the follower from an election.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if p.silent() {
		return nil, errSilent
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer gives the answers, in order.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// Close ends the pipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.AppendPipeline.Close()
}
