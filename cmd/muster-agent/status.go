package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/muster-hq/muster/agent"
	"github.com/muster-hq/muster/agent/journal"
)

// status is what the status command prints.
type status struct {
	Version  string          `json:"version"`
	Member   bool            `json:"member"`
	Identity *agent.Identity `json:"identity,omitempty"`
	Journal  journal.Counts  `json:"journal"`
}

func statusCommand(args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("muster-agent status", flag.ContinueOnError)
	dir := set.String("state", "/var/lib/muster-agent", "`DIR` of the agent's state")
	form := set.String("o", "table", "`FORM` of the answer: table or json")
	if err := parse(set, args, stderr); err != nil {
		return err
	}
	if *form != "table" && *form != "json" {
		return usageError(fmt.Sprintf("-o %s is not known; use table or json", *form))
	}
	id, err := agent.ReadIdentity(*dir)
	if err != nil {
		return err
	}
	counts, err := journal.Inspect(*dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s := status{Version: versionText(), Member: id != nil, Identity: id, Journal: counts}
	if *form == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return table(stdout, *dir, s)
}

func table(stdout io.Writer, dir string, s status) error {
	if !s.Member {
		_, err := fmt.Fprintf(stdout, "%s holds no member: start the agent with --token-file first.\n", dir)
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "agent\t%s\n", s.Identity.Agent)
	fmt.Fprintf(w, "organization\t%s\n", s.Identity.Organization)
	fmt.Fprintf(w, "environment\t%s\n", s.Identity.Environment)
	fmt.Fprintf(w, "host\t%s\n", s.Identity.Host)
	fmt.Fprintf(w, "version\t%s\n", s.Version)
	fmt.Fprintf(w, "orders to do\t%d\n", s.Journal.Orders)
	fmt.Fprintf(w, "replies to confirm\t%d\n", s.Journal.Replies)
	fmt.Fprintf(w, "alerts to confirm\t%d\n", s.Journal.Alerts)
	fmt.Fprintf(w, "resources not as expected\t%d\n", s.Journal.Drifted)
	return w.Flush()
}
