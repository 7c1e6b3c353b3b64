package agent

import (
	"bufio"
	"net"
	"os"
	"runtime"
	"strings"
)

// Facts tells the little about the machine that helps people to recognise it. root is the folder that
// the agent is confined to, "" for the whole machine.
func Facts(root string) map[string]string {
	f := map[string]string{"architecture": runtime.GOARCH, "kernelName": runtime.GOOS}
	if name, err := os.Hostname(); err == nil {
		f["hostname"] = name
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		f["kernel"] = strings.TrimSpace(string(data))
	}
	for _, path := range []string{root + "/etc/os-release", root + "/usr/lib/os-release"} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		release := osRelease(string(data))
		if release["ID"] != "" {
			f["os"], f["osVersion"] = release["ID"], release["VERSION_ID"]
		}
		break
	}
	for name, addr := range addresses(net.Interfaces) {
		f["ip."+name] = addr
	}
	return f
}

// addresses are the first IPv4 address of each interface that is up, loopback left out: the published client
// waits for the one of eth0.
func addresses(interfaces func() ([]net.Interface, error)) map[string]string {
	out := map[string]string{}
	list, err := interfaces()
	if err != nil {
		return out // recognised by the rest
	}
	for _, i := range list {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				out[i.Name] = n.IP.String()
				break
			}
		}
	}
	return out
}

// osRelease reads the format of os-release(5), as far as simple values go.
func osRelease(text string) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		out[key] = strings.Trim(value, `"'`)
	}
	return out
}
