package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// childArg as the first argument makes this program a child: a process that answers the questions that come as JSON
// lines on its standard input, one after the other, until that is closed. It logs to standard error.
const childArg = "-child"

// question is a line to a child, reply its answer.
type question struct {
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// part is what a child can be. It is made with the arguments of the first question, which is "start".
type part interface {
	// do answers one question. The result is encoded as JSON.
	do(ctx context.Context, what string, args json.RawMessage) (any, error)
	close() error
}

// parts are the kinds of children.
func parts() map[string]func(ctx context.Context, args json.RawMessage) (part, error) {
	return map[string]func(ctx context.Context, args json.RawMessage) (part, error){
		"ours":      newOurs,
		"bare":      newBare,
		"bystander": newBystander,
		"million":   newMillion,
	}
}

// heapSpare makes garbage collections rarer while the heap is small, as muster server does, and here on both sides. It is
// never touched, and takes no memory.
const heapSpare = 128 << 20

// childMain is the life of a child.
func childMain(args []string) int {
	// The terminal's interrupt is for the parent, which then closes our input.
	signal.Ignore(os.Interrupt)
	if len(args) != 1 || parts()[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "a child of no known kind:", args)
		return 2
	}
	spare := make([]byte, heapSpare)
	defer runtime.KeepAlive(spare)
	if err := answerAll(context.Background(), args[0], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster "+args[0]+":", err)
		return 1
	}
	return 0
}

func answerAll(ctx context.Context, kind string, in io.Reader, out io.Writer) (err error) {
	var p part
	defer func() {
		if p != nil {
			err = errors.Join(err, p.close())
		}
	}()
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a question: %w", err)
		}
		var result any
		var err error
		switch {
		case q.Do == "start" && p == nil:
			p, err = parts()[kind](ctx, q.Args)
		case p == nil:
			err = errors.New("not started")
		default:
			result, err = p.do(ctx, q.Do, q.Args)
		}
		a := reply{}
		if err != nil {
			a.Error = err.Error()
		} else if a.Result, err = json.Marshal(result); err != nil {
			return fmt.Errorf("encoding the answer to %s: %w", q.Do, err)
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("answering %s: %w", q.Do, err)
		}
	}
}

// child is the parent's side. It answers one question at a time.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	over atomic.Bool // it was ended or killed

	mu sync.Mutex
}

// spawn starts a child and asks it to start with args.
func spawn(ctx context.Context, kind, name string, args any) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(self, childArg, kind)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, in: in, out: json.NewDecoder(out)}
	if err := c.ask(ctx, "start", args, nil); err != nil {
		return nil, errors.Join(err, c.kill())
	}
	return c, nil
}

// ask puts a question and reads the answer into result, if that is not nil. When ctx ends first, the child is killed.
func (c *child) ask(ctx context.Context, what string, args, result any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("asking %s to %s: %w", c.name, what, err)
	}
	unhook := context.AfterFunc(ctx, func() { _ = c.kill() })
	defer unhook()
	c.mu.Lock()
	defer c.mu.Unlock()
	var a reply
	if err = json.NewEncoder(c.in).Encode(question{what, text}); err == nil {
		err = c.out.Decode(&a)
	}
	switch {
	case err != nil:
		return fmt.Errorf("asking %s to %s: %w", c.name, what, errors.Join(err, ctx.Err()))
	case a.Error != "":
		return fmt.Errorf("%s: %s: %s", c.name, what, a.Error)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, what, err)
	}
	return nil
}

// end lets the child come to an end of its own, and kills it when it does not in time. One that is gone is no error.
func (c *child) end() error {
	if c.over.Swap(true) {
		return nil
	}
	_ = c.in.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("ending %s: %w", c.name, err)
	}
	return nil
}

// kill ends the child at once.
func (c *child) kill() error {
	if c.over.Swap(true) {
		return nil
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", c.name, err)
	}
	_ = c.cmd.Wait()
	return nil
}

// endAll ends children.
func endAll(list []*child) error {
	var errs []error
	for _, c := range list {
		errs = append(errs, c.end())
	}
	return errors.Join(errs...)
}

// read is json.Unmarshal for the arguments of a question.
func read[T any](args json.RawMessage) (v T, err error) {
	if err = json.Unmarshal(args, &v); err != nil {
		err = fmt.Errorf("reading the arguments: %w", err)
	}
	return v, err
}
