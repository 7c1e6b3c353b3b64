package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a bridge in a network namespace of its own, without a way out to the host's networks. The
// namespace itself has Address on the bridge: what the test runs there, guests can connect to.
type Network struct {
	// Name of the network namespace.
	Name string
	// Address of the namespace on the bridge.
	Address string

	mu     sync.Mutex
	guests int
}

const (
	subnet     = "10.89.0."
	ownAddress = subnet + "254"
)

// NewNetwork makes a network that ends with the test. It skips as Boot does.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	Need(t)
	n := &Network{Name: uniqueName("s"), Address: ownAddress}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.Name).Run() })
	err := ip(
		"netns add "+n.Name,
		"-n "+n.Name+" link set lo up",
		"-n "+n.Name+" link add br0 type bridge forward_delay 0",
		"-n "+n.Name+" addr add "+ownAddress+"/24 dev br0",
		"-n "+n.Name+" link set br0 up",
	)
	if err != nil {
		t.Fatalf("make a network: %v", err)
	}
	return n
}

func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// Host is a network namespace of its own on a network's bridge, for programs that are to be machines apart.
type Host struct {
	Name    string // of the namespace
	Address string // IPv4, without a prefix length
	Port    string // its side of the bridge, in the network's namespace
}

// NewHost makes a host that ends with the test.
func (n *Network) NewHost(t testing.TB) *Host {
	t.Helper()
	h := &Host{Name: uniqueName("h")}
	t.Cleanup(h.remove)
	if err := n.join(h); err != nil {
		t.Fatalf("make a host of the network: %v", err)
	}
	return h
}

// Command prepares a program to run in the host's namespace.
func (h *Host) Command(argv ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", h.Name}, argv...)...)
}

func (h *Host) remove() { _ = exec.Command("ip", "netns", "del", h.Name).Run() }

// join makes a namespace of the name that h has, and joins it to the bridge.
func (n *Network) join(h *Host) error {
	n.mu.Lock()
	n.guests++
	number := n.guests
	n.mu.Unlock()
	if number > 250 {
		return errors.New("the network is full")
	}
	h.Address, h.Port = fmt.Sprintf("%s%d", subnet, number), fmt.Sprintf("p%d", number)
	return ip(
		"netns add "+h.Name,
		"link add "+h.Port+" netns "+n.Name+" type veth peer name eth0 netns "+h.Name,
		"-n "+n.Name+" link set "+h.Port+" master br0 up",
		"-n "+h.Name+" addr add "+h.Address+"/24 dev eth0",
		"-n "+h.Name+" link set eth0 up",
		"-n "+h.Name+" link set lo up",
		"-n "+h.Name+" route add default via "+ownAddress,
	)
}

// attach makes a namespace for the guest, joined to the bridge, and gives its path.
func (n *Network) attach(g *Guest, outwardOnly bool) (string, error) {
	h := &Host{Name: g.Name}
	g.undo = append(g.undo, h.remove)
	err := n.join(h)
	g.Address = h.Address
	if err == nil && outwardOnly {
		err = closeInput(g.Name)
	}
	return "/run/netns/" + g.Name, err
}

const outwardRules = `table inet outward {
	chain input {
		type filter hook input priority 0; policy drop;
		iif lo accept
		ct state established,related accept
		meta l4proto ipv6-icmp accept
	}
}
`

func closeInput(namespace string) error {
	cmd := exec.Command("ip", "netns", "exec", namespace, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(outwardRules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("close the guest's input (package nftables): %w: %s", err, out)
	}
	return nil
}

// Command prepares a program to run on the host's file system, in the network's namespace.
func (n *Network) Command(argv ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.Name}, argv...)...)
}

// Listen opens a TCP listener of this process in the network's namespace; port 0 takes a free one.
func (n *Network) Listen(port int) (net.Listener, error) {
	return inNamespace("/run/netns/"+n.Name, func() (net.Listener, error) {
		return net.Listen("tcp4", fmt.Sprintf("%s:%d", n.Address, port))
	})
}

// Dial connects from the network's namespace.
func (n *Network) Dial(address string) (net.Conn, error) {
	return inNamespace("/run/netns/"+n.Name, func() (net.Conn, error) { return net.Dial("tcp4", address) })
}

// Dial connects from inside the guest, for example to its own 127.0.0.1:80.
func (g *Guest) Dial(address string) (net.Conn, error) {
	return inNamespace(fmt.Sprintf("/proc/%d/ns/net", g.pid), func() (net.Conn, error) { return net.Dial("tcp4", address) })
}

// inNamespace does something on a thread that is in another network namespace for that time. A socket
// stays where it was made.
func inNamespace[T any](path string, do func() (T, error)) (value T, err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return value, err
	}
	defer home.Close()
	away, err := os.Open(path)
	if err == nil {
		defer away.Close()
		err = unix.Setns(int(away.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return value, fmt.Errorf("enter %s: %w", path, err)
	}
	value, err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so no other goroutine gets into the wrong namespace.
		return value, errors.Join(err, fmt.Errorf("leave %s: %w", path, back))
	}
	runtime.UnlockOSThread()
	return value, err
}
