package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// tick is the kernel's unit of processor time in /proc, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// resident is the resident memory of a process in MB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the agent's memory (this needs Linux): %w", err)
	}
	return parseStatus(string(b))
}

func parseStatus(text string) (float64, error) {
	_, rest, _ := strings.Cut(text, "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("/proc/PID/status tells no VmRSS: %w", err)
	}
	return kib * 1024 / megabyte, nil
}

// used is the processor time of a process, user and system.
func used(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the agent's processor time (this needs Linux): %w", err)
	}
	return parseStat(string(b))
}

// parseStat reads fields 14 and 15; the second one is a name in parentheses that may hold anything.
func parseStat(text string) (time.Duration, error) {
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		return 0, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}
