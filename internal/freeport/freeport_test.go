package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestTake(t *testing.T) {
	ports, err := Take("127.0.0.1", 24)
	if err != nil {
		t.Fatal(err)
	}
	first, size := window()
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] {
			t.Errorf("port %d is given twice", p)
		}
		seen[p] = true
		if p < first || p >= first+size {
			t.Errorf("port %d is not from %d to %d", p, first, first+size-1)
		}
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			t.Errorf("port %d is not free: %v", p, err)
			continue
		}
		_ = ln.Close()
	}
	if len(ports) != 24 {
		t.Errorf("%d ports, expected 24", len(ports))
	}
}

func TestTakeOfAStrangersAddress(t *testing.T) {
	if _, err := Take("192.0.2.1", 1); err == nil {
		t.Error("an address that is not ours has a free port")
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct{ from, to, first, size int }{
		{32768, 60999, 12000, 20768},
		{1024, 60999, 61000, 4536},
		{1024, 65535, 12000, 53536},
		{12500, 65535, 12000, 53536},
	} {
		if first, size := choose(c.from, c.to); first != c.first || size != c.size {
			t.Errorf("kernel's %d to %d: %d ports from %d, expected %d from %d", c.from, c.to, size, first, c.size, c.first)
		}
	}
}
