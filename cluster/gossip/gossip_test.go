package gossip_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/muster-hq/muster/cluster/gossip"
)

func TestJoinAndLeaveAreTold(t *testing.T) {
	a := start(t, "alfa", "c1", 1)
	b := start(t, "bravo", "c1", 1)
	if err := b.Join([]string{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	e := next(t, a, "bravo")
	if e.Gone || e.Member.ClusterAddr != "bravo:8001" || e.Member.APIAddr != "bravo:8000" {
		t.Errorf("event %+v", e)
	}
	if m := a.Members(); len(m) != 2 || m[0].Name != "alfa" || m[1].Name != "bravo" {
		t.Errorf("members %+v", m)
	}
	if err := b.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if e := next(t, a, "bravo"); !e.Gone {
		t.Errorf("event %+v, want gone", e)
	}
}

func TestOtherClustersStayApart(t *testing.T) {
	a := start(t, "alfa", "c1", 1)
	for name, b := range map[string]*gossip.Gossip{"key": start(t, "bravo", "c1", 2), "label": start(t, "carol", "c2", 1)} {
		if err := b.Join([]string{a.Addr()}); err == nil {
			t.Errorf("another %s: joined", name)
		}
	}
	// Should one come in all the same, over a version without labels for instance, it is not listed.
	for name, meta := range map[string]string{"dave": `{"c":"c2","a":"dave:8001"}`, "erin": `{"a":"erin:8001"}`, "frank": `{"c":"c1","a":"nowhere"}`} {
		a.NotifyJoin(&memberlist.Node{Name: name, Meta: []byte(meta)})
	}
	if m := a.Members(); len(m) != 1 {
		t.Errorf("members %+v", m)
	}
}

func TestAddressInUseIsTold(t *testing.T) {
	a := start(t, "alfa", "c1", 1)
	_, err := gossip.Start(gossip.Config{Name: "x", Bind: a.Addr(), Key: make([]byte, 32), Meta: gossip.Meta{ClusterAddr: "x:1"}})
	if err == nil {
		t.Error("two on one port")
	}
	if _, err := gossip.Start(gossip.Config{Name: "x", Bind: "nonsense"}); err == nil {
		t.Error("took an address without port")
	}
}

func start(t *testing.T, name, cluster string, key byte) *gossip.Gossip {
	t.Helper()
	g, err := gossip.Start(gossip.Config{
		Name: name, Bind: "127.0.0.1:0", Key: bytes.Repeat([]byte{key}, 32),
		Meta: gossip.Meta{Cluster: cluster, ClusterAddr: name + ":8001", APIAddr: name + ":8000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(0) })
	return g
}

// next waits for an event about a node.
func next(t *testing.T, g *gossip.Gossip, name string) gossip.Event {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case e := <-g.Events():
			if e.Member.Name == name {
				return e
			}
		case <-deadline:
			t.Fatalf("no event about %s", name)
		}
	}
}
