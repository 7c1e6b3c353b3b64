package cluster

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestAPipelineWithoutReaderDoesNotBlock sends entries to a peer that answers each, and reads no answer: what raft's
// sender sees when its reader has ended.
func TestAPipelineWithoutReaderDoesNotBlock(t *testing.T) {
	newTransport := func() *raft.NetworkTransport {
		tr, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, 5*time.Second, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Close() })
		return tr
	}
	peer := newTransport()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case r := <-peer.Consumer():
				r.Respond(&raft.AppendEntriesResponse{Term: 2}, nil) // a later term: no success
			case <-stop:
				return
			}
		}
	}()
	p, err := newPatientTransport(newTransport(), func() bool { return false }, stop).AppendEntriesPipeline("peer", peer.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	const sends = 20
	sent := make(chan error, sends)
	go func() {
		for i := range sends {
			_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: uint64(i)}, &raft.AppendEntriesResponse{})
			sent <- err
		}
	}()
	limit := time.After(60 * time.Second)
	for i := range sends {
		select {
		case err := <-sent:
			if err != nil {
				t.Fatal(err)
			}
		case <-limit:
			t.Fatalf("the sender waits for ever at entry %d", i)
		}
	}
	for i := range sends {
		select {
		case f := <-p.Consumer():
			if f.Request().PrevLogEntry != uint64(i) || f.Response().Term != 2 {
				t.Errorf("answer %d is to %d: %+v", i, f.Request().PrevLogEntry, f.Response())
			}
		case <-limit:
			t.Fatalf("answer %d does not come", i)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
