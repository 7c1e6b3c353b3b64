package packages

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/agent/sys"
)

// Words of dpkg's status.
const (
	installedWord = "installed"
	configFiles   = "config-files"
	notInstalled  = "not-installed"
)

// listLimit is enough for the names of some 500,000 packages.
const listLimit = 16 << 20

type status struct {
	word, version, arch string
}

func (s status) installed() bool { return s.word == installedWord }

// broken is a package in the middle of something that was cut off.
func (s status) broken() bool {
	return !s.installed() && s.word != configFiles && s.word != notInstalled
}

// status asks dpkg; where several architectures are known, the installed one counts.
func (c *Collection) status(ctx context.Context, id string) (status, error) {
	r, err := c.sys.Run(ctx, sys.Command{Argv: []string{
		"dpkg-query", "-W", `-f=${db:Status-Status}\t${Version}\t${Architecture}\n`, "--", id}})
	if err != nil {
		return status{}, err
	}
	if r.ExitCode != 0 {
		if r.ExitCode == 1 && strings.Contains(r.Stderr, "no packages found matching") {
			return status{word: notInstalled}, nil
		}
		return status{}, fmt.Errorf("dpkg-query failed: %s", lastWords(r))
	}
	return parseStatus(r.Stdout), nil
}

func parseStatus(text string) status {
	found := status{word: notInstalled}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 3 {
			continue
		}
		if s := (status{f[0], f[1], f[2]}); s.installed() || !found.installed() && s.word != notInstalled {
			found = s
		}
	}
	return found
}

func (c *Collection) installed(ctx context.Context) ([]string, error) {
	r, err := c.sys.Run(ctx, sys.Command{Limit: listLimit,
		Argv: []string{"dpkg-query", "-W", `-f=${db:Status-Status}\t${binary:Package}\n`}})
	if err != nil {
		return nil, err
	}
	if r.ExitCode != 0 || r.Truncated {
		return nil, fmt.Errorf("list of packages: dpkg-query failed: %s", lastWords(r))
	}
	var names []string
	for line := range strings.Lines(r.Stdout) {
		if word, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && word == installedWord {
			names = append(names, name)
		}
	}
	return names, nil
}

const (
	cacheTries = 10
	cachePause = 300 * time.Millisecond
)

// cache asks apt-cache. It fails by chance while a dpkg replaces the files it reads ("out of sync"), so
// it is asked again.
func (c *Collection) cache(ctx context.Context, question, id string) (sys.Result, error) {
	for try := 1; ; try++ {
		r, err := c.sys.Run(ctx, sys.Command{Argv: []string{"apt-cache", question, "--", id}})
		if err != nil || r.ExitCode == 0 {
			return r, err
		}
		if try == cacheTries || !strings.Contains(r.Stderr, "out of sync") {
			return r, fmt.Errorf("apt-cache %s failed: %s", question, lastWords(r))
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("apt-cache %s: %w", question, ctx.Err())
		case <-time.After(cachePause):
		}
	}
}

// candidate is the version that apt would install; "" when it has none.
func (c *Collection) candidate(ctx context.Context, id string) (string, error) {
	r, err := c.cache(ctx, "policy", id)
	if err != nil {
		return "", err
	}
	return parseCandidate(r.Stdout), nil
}

func parseCandidate(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate:"); ok {
			if v = strings.TrimSpace(v); v != "(none)" {
				return v
			}
			return ""
		}
	}
	return ""
}

type notOffered struct{ text string }

// Error tells what is not offered, and what is.
func (e *notOffered) Error() string { return e.text }

// offered is nil when the package sources have the package, in that version if one is given.
func (c *Collection) offered(ctx context.Context, id, version string) error {
	if version == "" {
		newest, err := c.candidate(ctx, id)
		if err == nil && newest == "" {
			err = &notOffered{"it does not exist in the machine's package sources; check the name, or add the repository that has it"}
		}
		return err
	}
	r, err := c.cache(ctx, "madison", id)
	if err != nil {
		return err
	}
	have := parseMadison(r.Stdout)
	switch {
	case slices.Contains(have, version):
		return nil
	case len(have) == 0:
		return &notOffered{"it does not exist in the machine's package sources; check the name, or add the repository that has it"}
	}
	return &notOffered{fmt.Sprintf("the machine's package sources do not have version %s; they have %s", version, strings.Join(have, ", "))}
}

// parseMadison reads lines "name | version | source".
func parseMadison(text string) []string {
	var have []string
	for line := range strings.Lines(text) {
		f := strings.Split(line, "|")
		if len(f) < 3 {
			continue
		}
		if v := strings.TrimSpace(f[1]); !slices.Contains(have, v) {
			have = append(have, v)
		}
	}
	return have
}

// grace is what apt gets to end after SIGTERM, before it is killed.
const grace = 20 * time.Second

func (c *Collection) aptRun(ctx context.Context, argv ...string) (sys.Result, error) {
	return c.sys.Run(ctx, sys.Command{
		Argv: argv,
		Env: []string{"DEBIAN_FRONTEND=noninteractive", "DEBIAN_PRIORITY=critical",
			"APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_SUSPEND=1", "HOME=/root"},
		Grace: grace,
		// Killed in the middle dpkg leaves packages half configured. It ends by itself, and the next
		// call waits for its lock.
		Outlives: true,
	})
}

func (c *Collection) options() []string {
	// Without a terminal of its own dpkg's errors come where apt's do.
	return []string{"-y", "-q", "-o", "Dpkg::Use-Pty=0", "-o", fmt.Sprintf("DPkg::Lock::Timeout=%d", int(c.lockWait.Seconds())),
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"}
}

// change runs apt-get with a verb on one package. A dpkg that was cut off earlier is first brought to
// its end.
func (c *Collection) change(ctx context.Context, verb, what string, more ...string) error {
	argv := append([]string{"apt-get"}, c.options()...)
	argv = append(append(argv, more...), verb, "--", what)
	r, err := c.aptRun(ctx, argv...)
	if err != nil {
		return err
	}
	if r.ExitCode != 0 && strings.Contains(r.Stderr, "dpkg was interrupted") {
		fix, err := c.aptRun(ctx, "dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
		if err != nil {
			return err
		}
		if fix.ExitCode != 0 {
			return fmt.Errorf("an earlier change was cut off, and dpkg --configure -a failed: %s", lastWords(fix))
		}
		if r, err = c.aptRun(ctx, argv...); err != nil {
			return err
		}
	}
	if r.ExitCode != 0 {
		return fmt.Errorf("apt-get %s failed: %s", verb, lastWords(r))
	}
	return nil
}

func (c *Collection) update(ctx context.Context) error {
	r, err := c.aptRun(ctx, append(append([]string{"apt-get"}, c.options()...), "update")...)
	if err != nil {
		return err
	}
	if r.ExitCode != 0 {
		return fmt.Errorf("apt-get update failed: %s", lastWords(r))
	}
	return nil
}

// lastWords are the lines that tell why: the end of standard error, without warnings, after what apt
// says of dependencies, which it prints on standard output.
func lastWords(r sys.Result) string {
	const keep = 6
	var why, words []string
	for line := range strings.Lines(r.Stdout) {
		if line = strings.TrimSpace(line); strings.Contains(line, "Depends: ") || strings.Contains(line, "Conflicts: ") || strings.Contains(line, "Breaks: ") {
			why = append(why, line)
		}
	}
	for line := range strings.Lines(r.Stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "W: ") {
			words = append(words, line)
		}
	}
	if len(words) == 0 {
		words = strings.Split(strings.TrimSpace(r.Stdout), "\n")
	}
	words = append(why[:min(len(why), keep)], words[max(0, len(words)-keep):]...)
	if text := strings.Join(words, "; "); text != "" {
		return text
	}
	return fmt.Sprintf("status %d without a word", r.ExitCode)
}
