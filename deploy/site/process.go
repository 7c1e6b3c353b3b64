package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is one running program of a site. Its output goes to a file of its own.
type Process struct {
	Name string
	Log  string // path of the file with its output
	argv []string
	env  []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// NewProcess describes a program beside a site, such as another system to compare with. Its output is appended to
// the file logPath.
func NewProcess(name, logPath string, argv ...string) *Process {
	return newProcess(name, logPath, nil, argv...)
}

func newProcess(name, logPath string, env []string, argv ...string) *Process {
	return &Process{Name: name, Log: logPath, argv: argv, env: env}
}

// Start starts it, or starts it again after it ended. The output file is appended to.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		select {
		case <-p.done:
		default:
			return fmt.Errorf("%s is running", p.Name)
		}
	}
	if err := os.MkdirAll(filepath.Dir(p.Log), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C of the terminal is ours to pass on
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// Done is closed when the process that was started last has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Pid is the process id, 0 before the start.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Kill ends it with SIGKILL and waits.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
}

// stopLimit is how long a process may take to end, on a machine that is busy.
const stopLimit = 30 * time.Second

// Stop asks it to end, waits for half a minute, then kills it. It tells how it ended.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil // killed by us, or ended before: whoever waited for more was told then
	}
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(stopLimit):
		p.Kill()
		return fmt.Errorf("%s did not stop within %s of SIGTERM", p.Name, stopLimit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	<-done
}

// Pause stops the process where it is (SIGSTOP): it does nothing, and nobody is told. Resume lets it go on.
func (p *Process) Pause() error { return p.send(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *Process) Resume() error { return p.send(syscall.SIGCONT) }

func (p *Process) send(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s was not started", p.Name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %s a signal: %w", p.Name, err)
	}
	return nil
}

// Dump makes a running Go program write its goroutines to its output and end: for a test that found it stuck.
func (p *Process) Dump() {
	if p.Running() {
		p.signal(syscall.SIGQUIT)
	}
}

// Tail is the end of its output, for an error text.
func (p *Process) Tail() string {
	b, _ := os.ReadFile(p.Log)
	if len(b) > 3000 {
		b = b[len(b)-3000:]
	}
	return string(b)
}

// final is an error after which waiting makes no sense.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// GiveUp makes an error of a condition one that ends WaitFor at once.
func GiveUp(err error) error { return final{err} }

// WaitFor asks cond every 20 ms until it answers true, or an error of GiveUp; its error names what was waited
// for, and the last error of cond.
func WaitFor(ctx context.Context, what string, limit time.Duration, cond func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		ok, err := cond(ctx)
		if ok && err == nil {
			return nil
		}
		if errors.As(err, new(final)) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("waited %s for %s: %w", limit, what, last)
			}
			return fmt.Errorf("waited %s for %s", limit, what)
		case <-ticker.C:
		}
	}
}

// Running says whether it was started and has not ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
