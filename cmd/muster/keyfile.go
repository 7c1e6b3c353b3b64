package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/fsm/seal"
)

// passphraseFlags say where a passphrase comes from: a file, a descriptor, or who types it. Never from arguments.
type passphraseFlags struct {
	file string
	fd   int
	on   bool // the command has them
}

func (p *passphraseFlags) add(cmd *cobra.Command, what string) {
	p.on = true
	cmd.Flags().StringVar(&p.file, "passphrase-file", "", "file holding the passphrase "+what)
	cmd.Flags().IntVar(&p.fd, "passphrase-fd", -1, "number of an open descriptor to read that passphrase from")
}

// given says whether a flag was.
func (p *passphraseFlags) given() bool { return p.on && (p.file != "" || p.fd >= 0) }

// read gets the passphrase. Where no flag is given it is asked for, twice if it is a new one; without a terminal that is
// an error.
func (p *passphraseFlags) read(cmd *cobra.Command, twice bool) (string, error) {
	switch {
	case p.file != "" && p.fd >= 0:
		return "", usagef("give --passphrase-file or --passphrase-fd, not both")
	case p.file != "":
		return readSecret(p.file)
	case p.fd >= 0:
		f := os.NewFile(uintptr(p.fd), "passphrase")
		if f == nil {
			return "", usagef("--passphrase-fd %d is no open descriptor", p.fd)
		}
		pass, err := askSecret(cmd.Context(), io.LimitReader(f, 4096), io.Discard, "")
		if err = errors.Join(err, f.Close()); err != nil {
			return "", &usageError{fmt.Errorf("reading the passphrase from descriptor %d: %w", p.fd, err)}
		}
		if pass == "" {
			return "", usagef("there is no passphrase on descriptor %d", p.fd)
		}
		return pass, nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); !ok || !isTerminal(in) {
		return "", usagef("a passphrase is needed: give it with --passphrase-file or --passphrase-fd, or run this on a terminal, which asks for it")
	}
	pass, err := askSecret(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "Passphrase")
	if err != nil || !twice {
		return pass, err
	}
	again, err := askSecret(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "The same again")
	if err == nil && again != pass {
		err = usagef("these are two passphrases: nothing was written")
	}
	return pass, err
}

// keyFile is a file of cluster keys that a command reads, in clear or encrypted with a passphrase.
type keyFile struct {
	path string
	pass passphraseFlags
}

func (k *keyFile) flags(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&k.path, "key-file", "", "file of muster cluster key export"+what)
	k.pass.add(cmd, "of the key file, if it is encrypted")
}

// read gives the keys; nil when no file is given.
func (k *keyFile) read(cmd *cobra.Command) (*seal.Keyring, error) {
	if k.path == "" {
		if k.pass.given() {
			return nil, usagef("a passphrase opens a key file: give --key-file, too")
		}
		return nil, nil
	}
	text, err := os.ReadFile(k.path)
	if err != nil {
		return nil, &usageError{fmt.Errorf("reading the file of cluster keys: %w", err)}
	}
	var ring *seal.Keyring
	if seal.IsLocked(text) {
		pass, err := k.pass.read(cmd, false)
		if err != nil {
			return nil, err
		}
		ring, err = seal.ParseLocked(text, pass)
		if err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", k.path, err)}
		}
		return ring, nil
	}
	if k.pass.given() {
		return nil, usagef("%s is not encrypted: leave the passphrase out", k.path)
	}
	if ring, err = seal.ParseKeyring(text); err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", k.path, err)}
	}
	return ring, nil
}
