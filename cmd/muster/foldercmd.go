package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/client/folder"
	"github.com/muster-hq/muster/fsm/model"
)

// folders is what the commands about folders share: export, import, diff and apply.
type folders struct {
	c    *cli
	only []string
}

func (f *folders) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "only what is at this path and below it, like applications/web; may be repeated")
	return f.c.scoped(cmd, "organization")
}

// read reads the folder as one of the organization that is meant.
func (f *folders) read(dir string) (*folder.Tree, error) {
	tree, err := folder.Read(dir)
	if err != nil {
		return nil, &usageError{err}
	}
	org := f.c.or(f.c.organization, "MUSTER_ORGANIZATION")
	if org == "" {
		org = tree.Organization
	}
	if org == "" {
		org = f.c.inOrganization()
	}
	if org == "" {
		return nil, usagef("which organization? %s names none: give --organization or set MUSTER_ORGANIZATION", dir)
	}
	if org != tree.Organization {
		tree.Rename(org)
	}
	return tree.Only(f.only...), nil
}

// differences compares the folder with the server.
func (f *folders) differences(ctx context.Context, cl *client.Client, cmd *cobra.Command, dir string) (*folder.Tree, []folder.Difference, error) {
	local, err := f.read(dir)
	if err != nil {
		return nil, nil, err
	}
	server, err := f.fetch(ctx, cl, cmd, local.Organization, local.MayHoldSecrets())
	if model.CodeOf(err) == model.NotFound {
		server, err = nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if server != nil {
		server = server.Only(f.only...)
	}
	return local, folder.Compare(local, server), nil
}

func (f *folders) fetch(ctx context.Context, cl *client.Client, cmd *cobra.Command, org string, secrets bool) (*folder.Tree, error) {
	line := statusLine{w: cmd.ErrOrStderr(), on: isTerminal(cmd.ErrOrStderr())}
	defer line.clear()
	return folder.Fetch(ctx, cl, org, folder.Reading{Secrets: secrets, Tell: func(n int) { line.set(fmt.Sprintf("%d objects read", n)) }})
}

// statusLine is progress on a terminal: one line that is written over.
type statusLine struct {
	w  io.Writer
	on bool
}

func (l statusLine) set(text string) {
	if l.on {
		_, _ = fmt.Fprint(l.w, "\r\x1b[K"+oneLine(text)) // nobody misses it
	}
}

func (l statusLine) clear() {
	if l.on {
		_, _ = fmt.Fprint(l.w, "\r\x1b[K")
	}
}

func exportCommand(c *cli) *cobra.Command {
	f := &folders{c: c}
	var force, secrets bool
	cmd := c.verb("export DIR", "Write an organization into a folder, in the layout of the published client", exactly("DIR"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			tree, err := f.fetch(ctx, cl, cmd, p["org"], secrets)
			if err != nil {
				return err
			}
			if tree = tree.Only(f.only...); len(tree.Objects) == 0 {
				return model.Errorf(model.NotFound, "there is nothing at %s", strings.Join(f.only, ", "))
			}
			if err := tree.Write(args[0], force, secrets); err != nil {
				return err
			}
			for _, name := range tree.Masked() {
				if _, err := fmt.Fprintln(cmd.ErrOrStderr(), oneLine("secret left out: "+name)); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Long = `Write an organization into a folder, in the layout that the published client reads and writes, too:

  definition.json
  applications/APPLICATION/definition.json, files/FILE, thumb, rpmmodules/, gits/
  distributions/DISTRIBUTION/..., platforms/PLATFORM/...
  hostgroups/, orchestrations/, jobs/, webhooks/, notifications/
  environments/ENVIRONMENT/definition.json, hosts/HOST/definition.json, applications/APPLICATION.json,
                           platform.json, distribution.json, instance.json

Secret values are left out and named, unless --with-secrets is given: then files are readable by their owner alone.
A folder that holds something is refused; with --force the folders named above are replaced, and all else, like .git,
stays. One file that holds a whole organization, with sealed secrets: muster organization export.`
	cmd.Example = "  muster export ./acme -O acme\n  muster export ./acme -O acme --only applications/web --force"
	cmd.Flags().BoolVar(&force, "force", false, "replace what an export wrote there before")
	cmd.Flags().BoolVar(&secrets, "with-secrets", false, "write the values of secrets, too")
	return f.flags(cmd)
}

func importCommand(c *cli) *cobra.Command {
	f := &folders{c: c}
	var skip bool
	cmd := c.verb("import DIR", "Create what a folder describes and the server does not have", exactly("DIR"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			local, all, err := f.differences(ctx, cl, cmd, args[0])
			if err != nil {
				return err
			}
			var create []folder.Difference
			var conflicts []string
			for _, d := range all {
				switch {
				case d.Action == folder.Create:
					create = append(create, d)
				case !d.Extra():
					conflicts = append(conflicts, d.Title())
				}
			}
			if len(conflicts) > 0 && !skip {
				return model.Errorf(model.Conflict, "already there, and different: %s; nothing was done: see muster diff, and give --skip-conflicts to leave them as they are, or use muster apply",
					oneLine(strings.Join(conflicts, ", ")))
			}
			return f.apply(ctx, cl, cmd, local.Organization, create, false)
		})
	cmd.Long = `Create what a folder describes and the server does not have. The folder has the layout that muster export and the
published client write. What is there already and is the same is left as it is; what is there and differs is a
conflict, and then nothing is done, unless --skip-conflicts is given. Changing what is there: muster apply.

Secrets whose values the folder does not tell are not created.`
	cmd.Example = "  muster import ./acme\n  muster import ./acme -O acme-copy\n  muster import ./demo-apps --only applications/wordpress -O acme"
	cmd.Flags().BoolVar(&skip, "skip-conflicts", false, "leave what is there and differs as it is")
	return f.flags(cmd)
}

func diffCommand(c *cli) *cobra.Command {
	f := &folders{c: c}
	var detailed bool
	cmd := c.verb("diff DIR", "Tell a folder from the server", exactly("DIR"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			_, all, err := f.differences(ctx, cl, cmd, args[0])
			if err != nil {
				return err
			}
			if err := c.printDifferences(cmd.OutOrStdout(), all); err != nil {
				return err
			}
			if detailed && len(all) > 0 {
				return errDifferences
			}
			return nil
		})
	cmd.Long = `Tell a folder, in the layout of muster export, from the server: what muster apply would create (+) and change (~), and
what it would delete (-) with --prune. Fields that a document lacks, collections without a folder, and what only the
server sets do not count. Values of secrets are not shown.`
	cmd.Example = "  muster diff ./acme\n  muster diff ./acme --detailed-exitcode || echo drifted\n  muster diff ./acme -o json"
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 2 when there are differences, with 0 only when there are none")
	return f.flags(cmd)
}

func applyCommand(c *cli) *cobra.Command {
	f := &folders{c: c}
	var dir string
	var prune, detailed bool
	cmd := c.verb("apply -f DIR", "Make the server as a folder describes it", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("which folder? give -f DIR")
			}
			local, all, err := f.differences(ctx, cl, cmd, dir)
			if err != nil {
				return err
			}
			kept := all[:0]
			for _, d := range all {
				if prune || !d.Extra() {
					kept = append(kept, d)
				}
			}
			if c.dryRun || c.whole() {
				if err := c.printDifferences(cmd.OutOrStdout(), kept); err != nil {
					return err
				}
			}
			if err := f.apply(ctx, cl, cmd, local.Organization, kept, prune); err != nil {
				return err
			}
			if detailed && len(kept) > 0 {
				return errDifferences
			}
			return nil
		})
	cmd.Long = `Make the server as a folder, in the layout of muster export, describes it: create what is missing, change what differs.
With --prune also delete what only the server has: below the folders that there are, and in the lists that the documents
have. A folder without environments/ deletes no environment. Secrets whose values the folder does not tell stay.

--dry-run shows the differences, asks the server what each would do to hosts, and writes nothing. What cannot be tried
without what comes before it, like a host in an environment that is not there yet, is not asked about.

What somebody else changed or deleted since the comparison is not written over: it stops there with a conflict (exit code 6); look at
muster diff, and apply again. It stops at the first error, which names the object; run it again to go on.`
	cmd.Example = "  muster apply -f ./acme --dry-run\n  muster apply -f ./acme --prune\n  muster apply -f ./acme --only environments/Dev"
	cmd.Flags().StringVarP(&dir, "file", "f", "", "the folder")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what only the server has")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 2 when there were differences, with 0 only when there were none")
	return c.waitingForAll(f.flags(cmd))
}

// apply makes differences good and says which, a line each.
func (f *folders) apply(ctx context.Context, cl *client.Client, cmd *cobra.Command, org string, all []folder.Difference, prune bool) error {
	if f.c.dryRun {
		return f.try(ctx, cl, cmd, org, all, prune)
	}
	line := statusLine{w: cmd.ErrOrStderr(), on: isTerminal(cmd.ErrOrStderr())}
	defer line.clear()
	n := 0
	done, err := folder.Apply(ctx, cl, org, all, folder.Applying{Prune: prune, Tell: func(d *folder.Difference) {
		n++
		line.set(fmt.Sprintf("%d of %d: %s", n, len(all), d.Title()))
	}})
	line.clear()
	if f.c.tabular() || f.c.output == "name" {
		for i := range all[:done] {
			text := all[i].Path
			if f.c.tabular() {
				text = all[i].Title() + " " + map[string]string{folder.Create: "created", folder.Update: "updated", folder.Delete: "deleted"}[all[i].Action]
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), oneLine(text)); err != nil {
				return err
			}
		}
	}
	if err != nil && done > 0 {
		err = fmt.Errorf("%w (%d of %d were done: run it again to go on)", err, done, len(all))
	}
	return err
}

// try asks what the changes of objects that exist would do, and tells of those that reach hosts.
func (f *folders) try(ctx context.Context, cl *client.Client, cmd *cobra.Command, org string, all []folder.Difference, prune bool) error {
	var update []folder.Difference
	for _, d := range all {
		if d.Action != folder.Create {
			update = append(update, d)
		}
	}
	var b strings.Builder
	_, err := folder.Apply(ctx, cl, org, update, folder.Applying{Prune: prune, Plan: func(d *folder.Difference, p *client.PlanError) {
		if p.Plan.Count > 0 && f.c.tabular() {
			fmt.Fprintf(&b, "\n%s. ", oneLine(d.Title()))
			writePlan(&b, &p.Plan)
		}
	}})
	if _, werr := io.WriteString(cmd.OutOrStdout(), b.String()); werr != nil {
		return werr
	}
	if err != nil {
		return fmt.Errorf("it would be refused: %w", err)
	}
	return nil
}

// printDifferences prints them: for people a line an object and one a field, with the lines of texts that differ.
func (c *cli) printDifferences(w io.Writer, all []folder.Difference) error {
	if c.whole() || c.output == "name" {
		items := make([]json.RawMessage, 0, len(all))
		for _, d := range all {
			b, err := json.Marshal(d)
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			items = append(items, b)
		}
		return c.printList(w, items, columns("PATH", "path"))
	}
	var b strings.Builder
	for _, d := range all {
		sign := map[string]string{folder.Create: "+", folder.Update: "~", folder.Delete: "-"}[d.Action]
		fmt.Fprintf(&b, "%s %s\n", sign, oneLine(d.Title()))
		for _, f := range d.Fields {
			writeField(&b, f)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeField writes a difference of a field: what the server has, and what the folder says.
func writeField(b *strings.Builder, f folder.Field) {
	if f.Diff != "" {
		fmt.Fprintf(b, "    %s:\n", oneLine(f.Name))
		for line := range strings.Lines(f.Diff) {
			fmt.Fprintf(b, "      %s\n", oneLine(strings.TrimSuffix(line, "\n")))
		}
		return
	}
	sides := [2]string{}
	for i, v := range []any{f.Server, f.Folder} {
		doc, err := json.Marshal(v)
		if err != nil || v == nil {
			doc = []byte("(none)")
		}
		sides[i] = string(doc)
	}
	fmt.Fprintf(b, "    %s: %s -> %s\n", oneLine(f.Name), oneLine(sides[0]), oneLine(sides[1]))
}
