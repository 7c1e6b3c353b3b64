package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the kernel's counts: USER_HZ is 100 on all that we run on.
const tick = 10 * time.Millisecond

// spent is the processor time so far of processes, and of the whole machine: at work, and idle.
type spent struct{ processes, idle, all time.Duration }

// lookAt reads what the processes with these ids have spent.
func lookAt(pids []string) (s spent, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return s, fmt.Errorf("reading the processor time of a node: %w", err)
		}
		_, rest, _ := strings.Cut(string(b), ") ")  // the name before it may hold spaces
		t, err := sum(strings.Fields(rest), 11, 13) // utime, stime
		if err != nil {
			return s, err
		}
		s.processes += t
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, fmt.Errorf("reading the machine's processor time: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if s.idle, err = sum(fields, 4, 6); err != nil { // idle, iowait
		return s, err
	}
	s.all, err = sum(fields, 1, 9)
	return s, err
}

func sum(fields []string, from, to int) (t time.Duration, err error) {
	if len(fields) < to {
		return 0, fmt.Errorf("the kernel tells processor time in another form: %q", fields)
	}
	for _, f := range fields[from:to] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading processor time: %w", err)
		}
		t += time.Duration(n) * tick
	}
	return t, nil
}
