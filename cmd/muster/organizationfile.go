package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/api/transfer"
)

func organizationExport(c *cli) *cobra.Command {
	var file, passphrase string
	var recipients []string
	cmd := c.verb("export ORGANIZATION", "Write an organization to one file", exactly("ORGANIZATION"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("name the file: --file")
			}
			seal := spec.ExportRequest{Recipients: recipients}
			if passphrase != "" {
				var err error
				if seal.Passphrase, err = readSecret(passphrase); err != nil {
					return err
				}
			}
			left, err := c.exportTo(ctx, cl, cmd, args[0], file, seal)
			if err != nil {
				return err
			}
			if left > 0 {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d secrets are not in the file: give --passphrase-file or --recipient to seal them in it\n", left)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), file)
			return err
		})
	cmd.Long = `Write an organization to one file, as it is at one moment, while others go on working: its description, platforms,
distributions, applications with their files, environments, hosts, settings, host groups, orchestrations, webhooks,
channels, and who is in its groups. Machines, changes, errors of compliance, application keys and tokens stay where they are.

Secrets are in the file only when they are sealed: with a passphrase, or to public keys of age. Else they are left out.
The file appears whole, checked and with mode 0600, or not at all. It is for administrators of the organization.`
	cmd.Example = "  muster organization export acme --file acme.muster --passphrase-file /run/pass\n  muster organization export acme --file acme.muster --recipient age1..."
	cmd.Flags().StringVarP(&file, "file", "f", "", "file to write; one of that name is replaced")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file holding the passphrase that seals the secrets, at least 12 characters")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "public key of age that the secrets are sealed to; may be repeated")
	return cmd
}

// exportTo fetches the file, reads it through, puts it in its place, and tells how many secrets are not in it.
func (c *cli) exportTo(ctx context.Context, cl *client.Client, cmd *cobra.Command, org, path string, seal spec.ExportRequest) (left int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return 0, &usageError{fmt.Errorf("the file cannot be written there: %w", err)}
	}
	defer os.Remove(f.Name())
	defer f.Close() //nolint:errcheck // synced before
	m := c.progress(cmd, "received")
	m.to = f
	err = cl.ExportOrganization(ctx, org, seal, m)
	m.end()
	if err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	if left, err = checkOrganizationFile(f); err != nil {
		return 0, fmt.Errorf("what came is no whole file, and was not kept: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	return left, nil
}

// checkOrganizationFile reads a file through from its begin.
func checkOrganizationFile(f *os.File) (left int, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("reading the file: %w", err)
	}
	r, err := transfer.NewReader(f)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	sealed := false
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if rec.Kind == transfer.KindHeader {
			h, err := rec.Header()
			if err != nil {
				return 0, err
			}
			sealed = h.Sealed
		}
		left += len(rec.Secrets)
	}
	if sealed {
		left = 0
	}
	return left, nil
}

func organizationImport(c *cli) *cobra.Command {
	var name, passphrase, identity string
	cmd := c.verb("import FILE", "Make an organization of a file that export wrote", exactly("FILE"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if passphrase != "" && identity != "" {
				return usagef("give --passphrase-file or --identity-file, not both")
			}
			key := ""
			if from := passphrase + identity; from != "" {
				var err error
				if key, err = readSecret(from); err != nil {
					return err
				}
			}
			if identity != "" {
				key = identityOf(key)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return &usageError{fmt.Errorf("reading the file: %w", err)}
			}
			defer f.Close() //nolint:errcheck // read only
			if _, err := checkOrganizationFile(f); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			size, err := f.Seek(0, io.SeekEnd)
			if err == nil {
				_, err = f.Seek(0, io.SeekStart)
			}
			if err != nil {
				return fmt.Errorf("reading the file: %w", err)
			}
			m := c.progress(cmd, "sent")
			m.to = io.Discard
			result, err := cl.ImportOrganization(ctx, name, key, io.TeeReader(f, m), size)
			m.end()
			if err != nil {
				return err
			}
			return c.printImport(cmd, result)
		})
	cmd.Long = `Make an organization of a file that export wrote, in this cluster or another, under its name or a new one. Nobody sees
it before it is whole; when something fails nothing is left of it. Identifiers and the access pair are new. Members are
found by their names; a name that nobody has becomes an invitation. Secrets that the file does not hold, or that no key
opens, are left out and listed: set them again. It is for administrators of the site.`
	cmd.Example = "  muster organization import acme.muster --passphrase-file /run/pass\n  muster organization import acme.muster --name acme-copy"
	cmd.Flags().StringVar(&name, "name", "", "name of the new organization (default that of the file)")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file holding the passphrase that opens the secrets")
	cmd.Flags().StringVar(&identity, "identity-file", "", "file of age-keygen holding the key that opens the secrets")
	return cmd
}

// identityOf finds the key in a file of age-keygen, which has comments around it.
func identityOf(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			return line
		}
	}
	return text
}

func (c *cli) printImport(cmd *cobra.Command, result spec.ImportResult) error {
	doc, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if c.whole() {
		return c.printDocument(cmd.OutOrStdout(), doc)
	}
	if err := c.printOne(cmd.OutOrStdout(), doc, columns("NAME", "organization", "UUID", "uuid", "LEFT OUT", "leftOutCount")); err != nil {
		return err
	}
	if result.LeftOutCount > 0 {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d secrets were left out, or a quota; set them again:\n", result.LeftOutCount)
		for _, name := range slices.Sorted(slices.Values(result.LeftOut)) {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "  "+name)
		}
	}
	return nil
}
