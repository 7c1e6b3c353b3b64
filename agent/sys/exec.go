package sys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SearchPath is where programs named without a slash are looked for.
const SearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const (
	defaultLimit = 64 << 10
	// pipeDelay is how long output is still read after the program has ended: something that it left in
	// the background may hold the pipe for ever.
	pipeDelay = 2 * time.Second
	// busyWait bounds the wait for whoever still has the program's file open for writing (ETXTBSY);
	// it happens right after the file was written while another thread forks.
	busyWait  = 2 * time.Second
	busyPause = 20 * time.Millisecond
)

// Credential is whom a command runs as.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Command is a program to run. There is no shell: Argv is what the program gets.
type Command struct {
	// Argv[0] without a slash is looked for in SearchPath on the machine, also when it is confined; an
	// absolute one is a path below the root.
	Argv []string
	// Dir is the working directory below the root; "" is the root.
	Dir string
	// Env holds NAME=value beyond PATH and LC_ALL, and wins over them.
	Env   []string
	Stdin []byte
	As    *Credential
	// Limit is how many bytes of each output are kept, half from the head and half from the tail;
	// 0 means 64 KiB.
	Limit int
	// Grace is the time between SIGTERM and SIGKILL when ctx ends; 0 kills at once.
	Grace time.Duration
	// Outlives lets the program end in peace when this process dies, for programs that leave a mess
	// when they are killed. Otherwise the program is killed with this process. Only the program itself:
	// what it started meanwhile is the business of the service manager's control group.
	Outlives bool
}

// Result is how a program ended.
type Result struct {
	ExitCode       int // 128 + signal number when a signal ended it
	Stdout, Stderr string
	Truncated      bool
}

// Run runs a program in a process group of its own until it ends. A non-zero exit is a Result, not an
// error. When ctx ends the whole group is killed and the error wraps ctx's; the Result then holds what
// was printed so far.
func (m *Machine) Run(ctx context.Context, c Command) (Result, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return Result{}, errors.New("no program to run: argv is empty")
	}
	if err := m.gate(OpExec, c.Argv[0]); err != nil {
		return Result{}, err
	}
	program, err := m.program(c.Argv[0])
	if err != nil {
		return Result{}, err
	}
	if c.Dir != "" && !m.isDir(c.Dir) {
		return Result{}, fmt.Errorf("the working directory %s does not exist on this machine: %w", c.Dir, fs.ErrNotExist)
	}
	if !c.Outlives {
		// The signal comes when the thread that forked ends, so it must not end before the program.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	deadline := time.Now().Add(busyWait)
	for {
		r, err := m.run(ctx, c, program)
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(deadline) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, err
		case <-time.After(busyPause):
		}
	}
}

func (m *Machine) run(ctx context.Context, c Command, program string) (Result, error) {
	limit := c.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	stdout, stderr := &headTail{limit: limit}, &headTail{limit: limit}
	cmd := exec.CommandContext(ctx, program)
	cmd.Args = append([]string{program}, c.Argv[1:]...)
	cmd.Dir = m.HostPath(c.Dir)
	cmd.Env = append([]string{"PATH=" + SearchPath, "LC_ALL=C.UTF-8"}, c.Env...)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	if c.Stdin == nil {
		cmd.Stdin = nil // /dev/null, without a goroutine
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.Outlives {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		// A pipe would break with this process, and the program with the pipe.
		closeFiles, err := intoMemory(cmd)
		if err != nil {
			return Result{}, err
		}
		defer closeFiles()
	} else {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if c.As != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.As.UID, Gid: c.As.GID, Groups: c.As.Groups}
	}
	cmd.WaitDelay = pipeDelay + c.Grace
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid, c.Grace) }
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	err := cmd.Wait()
	if f, ok := cmd.Stdout.(*os.File); ok {
		readBack(f, stdout)
		readBack(cmd.Stderr.(*os.File), stderr)
	}
	r := Result{Stdout: stdout.String(), Stderr: stderr.String(), Truncated: stdout.cut() || stderr.cut()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.ExitCode = 128 + int(status.Signal())
	} else {
		r.ExitCode = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && r.ExitCode != 0:
		return r, fmt.Errorf("%s was stopped: %w", c.Argv[0], context.Cause(ctx))
	case err == nil, errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
		return r, nil
	case ctx.Err() != nil: // it had ended by itself
		return r, nil
	}
	return r, fmt.Errorf("run %s: %w", c.Argv[0], err)
}

// intoMemory lets the program write to files without a name.
func intoMemory(cmd *exec.Cmd) (closeFiles func(), err error) {
	out, err := memoryFile()
	if err != nil {
		return nil, err
	}
	errs, err := memoryFile()
	if err != nil {
		out.Close()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, errs
	return func() { out.Close(); errs.Close() }, nil
}

func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for the output: %w", err)
	}
	return os.NewFile(uintptr(fd), "output"), nil
}

// readBack takes what was written, from the beginning: the position is shared with the program.
func readBack(f *os.File, to *headTail) {
	_, _ = io.Copy(to, io.NewSectionReader(f, 0, math.MaxInt64)) // memory cannot fail, headTail does not
}

func killGroup(pid int, grace time.Duration) error {
	if grace > 0 {
		// After WaitDelay the os/exec package kills the program itself.
		return syscall.Kill(-pid, syscall.SIGTERM)
	}
	return syscall.Kill(-pid, syscall.SIGKILL)
}

// program is the path to execute. A file below the root is opened through links only as long as they
// stay below it.
func (m *Machine) program(name string) (string, error) {
	if !strings.Contains(name, "/") {
		for dir := range strings.SplitSeq(SearchPath, ":") {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
		return "", fmt.Errorf("%s is not installed on this machine: %w", name, fs.ErrNotExist)
	}
	if err := CheckPath(name); err != nil {
		return "", fmt.Errorf("the program to run: %w", err)
	}
	var info os.FileInfo
	var err error
	if m.confined != nil {
		info, err = m.confined.Stat(relative(name))
	} else {
		info, err = os.Stat(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s does not exist on this machine: %w", name, fs.ErrNotExist)
	case err != nil:
		return "", fmt.Errorf("the program to run: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file and cannot be run", name)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s is not executable; give its file a mode such as 755", name)
	}
	return m.HostPath(name), nil
}

// headTail keeps the first and the last limit/2 bytes written to it. One goroutine writes; String and
// cut are for after it has ended.
type headTail struct {
	limit int
	head  []byte
	tail  []byte // a ring once it is full
	next  int
	total int
}

// Write never fails.
func (h *headTail) Write(p []byte) (int, error) {
	n := len(p)
	h.total += n
	half := h.limit / 2
	if room := half - len(h.head); room > 0 {
		take := min(room, len(p))
		h.head = append(h.head, p[:take]...)
		p = p[take:]
	}
	if len(p) > half {
		p = p[len(p)-half:]
	}
	for len(p) > 0 {
		if len(h.tail) < half {
			take := min(half-len(h.tail), len(p))
			h.tail = append(h.tail, p[:take]...)
			p = p[take:]
			continue
		}
		take := copy(h.tail[h.next:], p)
		h.next = (h.next + take) % half
		p = p[take:]
	}
	return n, nil
}

func (h *headTail) cut() bool { return h.total > len(h.head)+len(h.tail) }

// String is what was kept, with a note in place of what was not.
func (h *headTail) String() string {
	var b strings.Builder
	b.Write(h.head)
	if h.cut() {
		fmt.Fprintf(&b, "\n[%d bytes left out]\n", h.total-len(h.head)-len(h.tail))
	}
	b.Write(h.tail[h.next:])
	b.Write(h.tail[:h.next])
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}
