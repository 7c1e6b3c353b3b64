package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hostCollection is the collection whose sensors are the machine's own values.
const hostCollection = "hosts"

var (
	errUnknownCollection = errors.New("this agent has no collection")
	errUnknownSensor     = errors.New("no such sensor")
)

// sensors are the values of the machine that can be asked for, by name. Sizes are bytes, times seconds.
func sensors() map[string]func(ctx context.Context) (any, error) {
	return map[string]func(ctx context.Context) (any, error){
		"hostname":     func(context.Context) (any, error) { return os.Hostname() },
		"uptime":       func(context.Context) (any, error) { return firstNumber("/proc/uptime") },
		"load":         func(context.Context) (any, error) { return firstNumber("/proc/loadavg") },
		"memtotal":     func(context.Context) (any, error) { return memory("MemTotal") },
		"memavailable": func(context.Context) (any, error) { return memory("MemAvailable") },
		"ip":           func(context.Context) (any, error) { return addresses(net.Interfaces), nil },
		"macaddress":   func(context.Context) (any, error) { return hardware(net.Interfaces) },
		"platform": func(context.Context) (any, error) {
			f := Facts("")
			return []string{f["os"], f["osVersion"]}, nil
		},
		"cpu": cpuLoad,
	}
}

// hostSensor reads one value of the machine.
func (a *Agent) hostSensor(ctx context.Context, name string) (any, error) {
	if v, ok := a.told[name]; ok {
		return v, nil
	}
	all := sensors()
	if read, ok := all[name]; ok {
		return read(ctx)
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(all)), maps.Keys(a.told))
	slices.Sort(names)
	return nil, fmt.Errorf("%w %q; of %s there are: %s", errUnknownSensor, name, hostCollection, strings.Join(slices.Compact(names), ", "))
}

// firstNumber is the first number in a file of /proc.
func firstNumber(path string) (float64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	return strconv.ParseFloat(first, 64)
}

// memory is a line of /proc/meminfo, in bytes.
func memory(name string) (uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if key != name {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		return kib * 1024, err
	}
	return 0, fmt.Errorf("the kernel tells no %s", name)
}

// hardware are the hardware addresses of the interfaces that have one.
func hardware(interfaces func() ([]net.Interface, error)) (map[string]string, error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, i := range list {
		if len(i.HardwareAddr) > 0 {
			out[i.Name] = i.HardwareAddr.String()
		}
	}
	return out, nil
}

// cpuWindow is how long the processors are watched.
const cpuWindow = 250 * time.Millisecond

// cpuLoad is how busy the processors are, in percent of all of them.
func cpuLoad(ctx context.Context) (any, error) {
	busy, all, err := cpuTicks()
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(cpuWindow)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	busyLater, allLater, err := cpuTicks()
	if err != nil || allLater <= all {
		return 0.0, err
	}
	return 100 * float64(busyLater-busy) / float64(allLater-all), nil
}

// cpuTicks reads the first line of /proc/stat.
func cpuTicks() (busy, all int64, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	for i, field := range strings.Fields(string(line)) {
		if i == 0 || i > 8 { // guests are counted as users already
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		all += n
		if i != 4 && i != 5 { // idle, and waiting for disks
			busy += n
		}
	}
	return busy, all, nil
}
