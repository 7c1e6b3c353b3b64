// Package freemarker runs the FreeMarker engine of Debian (packages libfreemarker-java and default-jdk-headless) in one
// long-living process, for tests and benchmarks that compare our templates with it. Nothing that is shipped uses it.
package freemarker

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed Reference.java
var program []byte

// ErrAbsent means that the engine or Java is not installed.
var ErrAbsent = errors.New("FreeMarker is not here: install libfreemarker-java and default-jdk-headless")

// maxAnswer bounds an answer of the process, in bytes.
const maxAnswer = 256 << 20

// Answer is what the engine makes of a template: a text, or an error.
type Answer struct {
	Text    string
	Failed  bool
	Parse   bool   // the error is one of parsing
	Line    int    // of the error, from 1; 0 when unknown
	Message string // of the error; it may quote values
}

// Engine is a running process. One goroutine at a time.
type Engine struct {
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log *bytes.Buffer
}

// Start compiles the program and starts it. It ends with ctx, or with Close. The error is ErrAbsent where the packages
// are not installed.
func Start(ctx context.Context) (*Engine, error) {
	jar, err := findJar(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "muster-freemarker-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	e := &Engine{dir: dir, log: &bytes.Buffer{}}
	if err := e.start(ctx, jar); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return e, nil
}

func findJar(ctx context.Context) (string, error) {
	for _, p := range []string{"java", "javac", "dpkg"} {
		if _, err := exec.LookPath(p); err != nil {
			return "", fmt.Errorf("%w (no %s)", ErrAbsent, p)
		}
	}
	list, err := exec.CommandContext(ctx, "dpkg", "-L", "libfreemarker-java").Output()
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrAbsent, err)
	}
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); filepath.Base(line) == "freemarker.jar" {
			return line, nil
		}
	}
	return "", fmt.Errorf("%w (the package holds no freemarker.jar)", ErrAbsent)
}

func (e *Engine) start(ctx context.Context, jar string) error {
	source := filepath.Join(e.dir, "Reference.java")
	if err := os.WriteFile(source, program, 0o600); err != nil {
		return fmt.Errorf("writing the program: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-encoding", "UTF-8", "-cp", jar, "-d", e.dir, source).CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the program: %w: %s", err, out)
	}
	e.cmd = exec.CommandContext(ctx, "java", "-Xss4m", "-Xmx512m", "-XX:+UseSerialGC", "-cp", jar+string(os.PathListSeparator)+e.dir, "Reference")
	e.cmd.Stderr = e.log
	in, err := e.cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting java: %w", err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting java: %w", err)
	}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("starting java: %w", err)
	}
	e.in, e.out = in, bufio.NewReader(out)
	return nil
}

// Close ends the process and removes its folder.
func (e *Engine) Close() error {
	_ = e.in.Close()
	err := e.cmd.Wait()
	return errors.Join(err, os.RemoveAll(e.dir))
}

// Render renders once. Data is a JSON object. The error is one of the process, not of the template.
func (e *Engine) Render(template, data string) (Answer, error) {
	kind, body, err := e.ask(0, false, template, data)
	if err != nil {
		return Answer{}, err
	}
	if kind == 't' {
		return Answer{Text: string(body)}, nil
	}
	if len(body) < 4 {
		return Answer{}, fmt.Errorf("the process answers %d bytes of an error", len(body))
	}
	return Answer{Failed: true, Parse: kind == 'p', Line: int(int32(binary.BigEndian.Uint32(body))), Message: string(body[4:])}, nil
}

// Time renders several times, parsing in each round or once, and gives the processor time of the rounds, without that of
// Java's own threads, and their text. A
// template that fails is an error.
func (e *Engine) Time(rounds int, parse bool, template, data string) (time.Duration, string, error) {
	kind, body, err := e.ask(rounds, parse, template, data)
	if err != nil {
		return 0, "", err
	}
	if kind != 'n' || len(body) < 8 {
		return 0, "", fmt.Errorf("the template fails: %s", body)
	}
	return time.Duration(binary.BigEndian.Uint64(body)), string(body[8:]), nil
}

func (e *Engine) ask(rounds int, parse bool, template, data string) (byte, []byte, error) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(9+len(template)+len(data)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(rounds))
	flag := byte(0)
	if parse {
		flag = 1
	}
	frame = append(frame, flag)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(template)))
	frame = append(append(frame, template...), data...)
	if _, err := e.in.Write(frame); err != nil {
		return 0, nil, fmt.Errorf("asking the engine: %w: %s", err, e.log.String())
	}
	var head [4]byte
	if _, err := io.ReadFull(e.out, head[:]); err != nil {
		return 0, nil, fmt.Errorf("the engine does not answer: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxAnswer {
		return 0, nil, fmt.Errorf("the engine answers a frame of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(e.out, body); err != nil {
		return 0, nil, fmt.Errorf("the engine does not answer: %w", err)
	}
	return body[0], body[1:], nil
}
