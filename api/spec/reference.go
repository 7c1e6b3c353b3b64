package spec

import (
	"fmt"
	"strings"
)

// Reference is the reference page of the table, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("# REST API: what answers\n\n")
	b.WriteString("This page is made from the route table in `api/spec` (`go generate ./api/spec`). What the rows mean is in\n" +
		"[the contract](../api-contract.md). All paths are below the API root, `/api`. A final `/` and doubled ones do not count.\n" +
		"`{O}`, `{E}` and `{H}` are the paths of an organization, an environment and a host. Every write takes `dry_run=true`: it\n" +
		"answers a Plan, status 200, and does nothing (contract section 7.9).\n\n" +
		"States: **built** does what the contract says; **empty** answers an empty list, as nothing of the kind can be made yet;\n" +
		"**not built** answers 501 and names itself.\n\n")
	count := map[Part]map[State]int{}
	for _, r := range Routes() {
		if count[r.Part] == nil {
			count[r.Part] = map[State]int{}
		}
		count[r.Part][r.State]++
	}
	b.WriteString("| Part | built | empty | not built |\n|---|---|---|---|\n")
	for _, p := range []Part{Core, Extended, Own} {
		c := count[p]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", p, c[Built], c[Empty], c[Planned])
	}
	section := ""
	for _, r := range Routes() {
		if title := string(r.Part) + ": " + r.Section; title != section {
			section = title
			fmt.Fprintf(&b, "\n## %s\n\n| Method | Path | State | Status | Name | Query | Body | Answer |\n|---|---|---|---|---|---|---|---|\n", title)
		}
		status := fmt.Sprint(r.Status)
		if r.State == Planned {
			status = "501"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | `%s` | %s | %s | %s |\n", r.Method, r.Shown(), r.State, status, r.Name,
			orDash(r.Row.Query), orDash(r.Row.Body), orDash(r.Row.Answer))
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
