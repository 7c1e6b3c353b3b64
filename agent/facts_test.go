package agent

import (
	"errors"
	"net"
	"testing"
)

func TestAddresses(t *testing.T) {
	own, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	got := addresses(net.Interfaces)
	for name, addr := range got {
		ip := net.ParseIP(addr)
		if ip.To4() == nil || ip.IsLoopback() {
			t.Errorf("%s has the address %q", name, addr)
		}
	}
	for _, i := range own {
		if i.Flags&net.FlagLoopback != 0 && got[i.Name] != "" {
			t.Errorf("the loopback %s is told", i.Name)
		}
	}
	// An interface that is down is not told, even one with an address.
	down := func() ([]net.Interface, error) {
		for i := range own {
			own[i].Flags &^= net.FlagUp
		}
		return own, nil
	}
	if got := addresses(down); len(got) != 0 {
		t.Errorf("interfaces that are down: %v", got)
	}
	if got := addresses(func() ([]net.Interface, error) { return nil, errors.New("no") }); len(got) != 0 {
		t.Errorf("without a list: %v", got)
	}
}
