// Package freeport finds ports for servers that will be stopped and started again on the same address.
//
// Port 0 is no good for those: the kernel takes such ports from the range that outgoing connections use too,
// and while the server is down any connection on the machine may get its port.
package freeport

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
)

// The ports that are tried lie from lowest up to the first that the kernel hands out by itself.
const (
	lowest     = 12000
	ephemeral  = 32768 // Linux's first, where it does not say
	smallRange = 1000
	rangeFile  = "/proc/sys/net/ipv4/ip_local_port_range"
)

// Take gives n different ports of host that are free for TCP and UDP now and that the kernel gives to nobody
// who did not ask for them by number. It is safe for concurrent use; between processes a port may still be taken
// by somebody else before it is used.
func Take(host string, n int) ([]int, error) {
	first, size := window()
	var ports []int
	var held []io.Closer
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	last := errors.New("none was tried")
	for tries := 0; len(ports) < n && tries < 50*n; tries++ {
		addr := net.JoinHostPort(host, strconv.Itoa(first+rand.IntN(size)))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		held = append(held, ln)
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			last = err
			continue
		}
		held = append(held, u)
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("%s has no %d free ports: %w", host, n, last)
	}
	return ports, nil
}

// window is where to look: below the kernel's own range, or above it where that begins too low.
func window() (first, size int) {
	from, to := ephemeral, 60999
	if b, err := os.ReadFile(rangeFile); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			a, errA := strconv.Atoi(f[0])
			z, errZ := strconv.Atoi(f[1])
			if errA == nil && errZ == nil {
				from, to = a, z
			}
		}
	}
	return choose(from, to)
}

func choose(from, to int) (first, size int) {
	switch {
	case from-lowest >= smallRange:
		return lowest, from - lowest
	case 65536-(to+1) >= smallRange:
		return to + 1, 65536 - (to + 1)
	}
	return lowest, 65536 - lowest // the kernel's range is all there is
}
