package main

import (
	"os"
	"testing"
	"time"
)

func TestStat(t *testing.T) {
	d, err := parseStat("12 (a ) b) S 1 12 12 0 -1 4194560 300 0 0 0 7 5 0 0 20 0 9 0 100 1 2")
	if err != nil || d != 120*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "12 (a) S 1", "12 (a) S 1 2 3 4 5 6 7 8 9 10 x y 1"} {
		if d, err := parseStat(bad); err == nil {
			t.Errorf("%q gave %v", bad, d)
		}
	}
}

func TestStatus(t *testing.T) {
	m, err := parseStatus("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t   15625 kB\n")
	if err != nil || m != 16 {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := parseStatus("Name:\tx\n"); err == nil {
		t.Errorf("gave %v", m)
	}
}

func TestThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	if m, err := resident(os.Getpid()); err != nil || m < 1 || m > 10_000 {
		t.Errorf("%v MB, %v", m, err)
	}
	if _, err := used(os.Getpid()); err != nil {
		t.Error(err)
	}
}
