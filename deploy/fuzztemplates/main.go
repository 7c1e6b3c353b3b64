// Command fuzztemplates renders generated templates with our engine and with Debian's FreeMarker, and compares: texts must
// be equal, and where one fails the other must fail in the same line. A difference is shrunk and printed with its seed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/muster-hq/muster/fsm/template"
	"github.com/muster-hq/muster/internal/freemarker"
)

// shrinkLimit is how often a difference is rendered again at the most to make it smaller.
const shrinkLimit = 3000

func main() {
	var o options
	flag.DurationVar(&o.time, "time", time.Minute, "how long to go on")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "seed of the first template; the next has the next number")
	flag.IntVar(&o.count, "count", 0, "how many templates; 0 means as many as the time allows")
	flag.IntVar(&o.stop, "stop", 5, "end after so many differences")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	found, err := fuzz(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzztemplates:", err)
		os.Exit(1)
	}
	if found > 0 {
		os.Exit(2)
	}
}

type options struct {
	time        time.Duration
	seed        uint64
	count, stop int
}

// fuzz runs templates until the time is over, and gives the number of differences.
func fuzz(ctx context.Context, o options, out io.Writer) (found int, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.time)
	defer cancel()
	engine, err := freemarker.Start(context.WithoutCancel(ctx))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	say(out, "templates from seed %d on, for %s", o.seed, o.time)
	tried, texts := 0, 0
	for ctx.Err() == nil && (o.count == 0 || tried < o.count) && found < o.stop {
		seed := o.seed + uint64(tried)
		tried++
		s := generate(fresh(seed))
		why, failed, err := compare(engine, s)
		if err != nil {
			return found, fmt.Errorf("seed %d: %w", seed, err)
		}
		if !failed {
			texts++
		}
		if why == "" {
			continue
		}
		found++
		if err := report(engine, s, seed, out); err != nil {
			return found, err
		}
	}
	say(out, "%d templates, %d of them with a text, %d differences", tried, texts, found)
	return found, nil
}

func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }

// report shrinks a difference and prints it.
func report(engine *freemarker.Engine, s sample, seed uint64, out io.Writer) error {
	var broken error
	made := shrink(s.made, shrinkLimit, func(list []uint32) bool {
		why, _, err := compare(engine, generate(replayed(list)))
		broken = errors.Join(broken, err)
		return broken == nil && why != ""
	})
	if broken != nil {
		return broken
	}
	small := generate(replayed(made))
	why, _, err := compare(engine, small)
	if err != nil {
		return err
	}
	say(out, "\nDIFFERENCE (seed %d)\ntemplate: %q\ndata:     %s", seed, small.ours, small.data)
	if small.start != "" {
		say(out, "marks:    %s %s\nwithout:  %q", small.start, small.end, small.reference)
	}
	say(out, "%s", why)
	return nil
}

// compare says in what the engines differ, "" when in nothing, and whether the reference fails.
func compare(engine *freemarker.Engine, s sample) (why string, failed bool, err error) {
	want, err := engine.Render(s.reference, s.data)
	if err != nil {
		return "", false, err
	}
	got, ours := render(s)
	switch {
	case excused(s, want, ours) != "":
	case want.Failed && ours == nil:
		return fmt.Sprintf("ours:      %q\nreference: fails in line %d: %s", got, want.Line, want.Message), true, nil
	case !want.Failed && ours != nil:
		return fmt.Sprintf("ours:      fails: %v\nreference: %q", ours, want.Text), false, nil
	case !want.Failed && got != want.Text:
		return fmt.Sprintf("ours:      %q\nreference: %q", got, want.Text), false, nil
	case want.Failed && want.Line > 0 && want.Line != ours.Line:
		return fmt.Sprintf("ours:      fails: %v\nreference: fails in line %d: %s", ours, want.Line, want.Message), true, nil
	}
	return "", want.Failed, nil
}

// excused names the sentence of docs/templates.md under which a difference falls, "" when there is none.
func excused(s sample, want freemarker.Answer, ours *template.Error) string {
	switch {
	case ours != nil && inLazy(s.ours, ours) && (!want.Failed || want.Line >= ours.Line):
		// ?map and ?filter are lazy there: they may never come to an item that fails, or come to it in the loop.
		return "lazy"
	case want.Failed && ours != nil && inArgument(s.ours, want.Line, ours.Line):
		return "argument"
	case want.Failed && strings.HasPrefix(want.Message, "java.lang.IndexOutOfBoundsException: No group"):
		return "group" // not even #attempt catches it there
	}
	return ""
}

// inArgument says that a line, the reference's, defines a macro or function that another line, ours, calls.
func inArgument(text string, defined, called int) bool {
	lines := strings.Split(text, "\n")
	if min(defined, called) < 1 || max(defined, called) > len(lines) {
		return false
	}
	for _, m := range regexp.MustCompile(`<#(?:macro|function) (\w+)`).FindAllStringSubmatch(lines[defined-1], -1) {
		if regexp.MustCompile(`<@` + m[1] + `\b|\b` + m[1] + `\(`).MatchString(lines[called-1]) {
			return true
		}
	}
	return false
}

// inLazy says that an error of ours stands in the argument of ?map, ?filter or their kin.
func inLazy(text string, e *template.Error) bool {
	lines := strings.SplitAfter(text, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return false
	}
	before := strings.Join(lines[:e.Line-1], "")
	at := len(before) + min(max(e.Column-1, 0), len(lines[e.Line-1]))
	depth := 0
	for i := at - 1; i >= 0; i-- {
		switch text[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth < 0 {
				depth = 0
				for _, name := range []string{"?map", "?filter", "?take_while", "?drop_while"} {
					if strings.HasSuffix(text[:i], name) {
						return true
					}
				}
			}
		}
	}
	return false
}

func render(s sample) (string, *template.Error) {
	v, err := template.DecodeJSON([]byte(s.data))
	if err == nil {
		var t *template.Template
		if t, err = template.Parse("t", s.ours, template.Options{Start: s.start, End: s.end}); err == nil {
			var text string
			if text, err = t.Render(context.Background(), v); err == nil {
				return text, nil
			}
		}
	}
	var e *template.Error
	if !errors.As(err, &e) {
		e = &template.Error{Message: err.Error()}
	}
	return "", e
}
