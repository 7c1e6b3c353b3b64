package cluster

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestFailedAppendIsToldWhenThePeerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		defer close(done)
		tr := newPatientTransport(unreachable(t), func() bool { return false }, done)
		defer tr.Close()
		var leading atomic.Bool
		leading.Store(true)
		tr.follow(func(term uint64) bool { return leading.Load() && term == 7 })
		append1 := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 41, PrevLogTerm: 6}

		told := make(chan error, 1)
		send := func() { told <- tr.AppendEntries("b", "b:1", append1, &raft.AppendEntriesResponse{}) }
		held := func(why string) {
			t.Helper()
			time.Sleep(time.Minute) // of the bubble
			synctest.Wait()
			select {
			case <-told:
				t.Fatalf("the failed append was told %s", why)
			default:
			}
		}
		go send()
		held("while the peer is away")
		if err := tr.AppendEntries("b", "b:1", &raft.AppendEntriesRequest{Term: 7}, &raft.AppendEntriesResponse{}); err == nil {
			t.Fatal("a heartbeat to nobody went through")
		}
		held("after a heartbeat that failed")
		tr.beat("c")
		held("after another peer's heartbeat")
		tr.beat("b")
		if err := <-told; err == nil {
			t.Fatal("an append to nobody went through")
		}

		go send()
		held("in the second round")
		leading.Store(false)
		if err := <-told; err == nil {
			t.Fatal("an append to nobody went through")
		}
	})
}

// unreachable is raft's transport over a layer on which every dial fails.
func unreachable(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	return raft.NewNetworkTransport(failingLayer{}, 1, time.Second, io.Discard)
}

// failingLayer is a network with nobody on it.
type failingLayer struct{}

func (failingLayer) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, errors.New("connection refused")
}
func (failingLayer) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (failingLayer) Close() error              { return nil }
func (failingLayer) Addr() net.Addr            { return &net.TCPAddr{} }
