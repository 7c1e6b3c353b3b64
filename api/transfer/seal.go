package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// Seal says how secrets travel: sealed with a passphrase, or to public keys of age; with neither they are left out.
type Seal spec.ExportRequest

// minPassphrase is the shortest passphrase in bytes; maxRecipients the most keys.
const (
	minPassphrase = 12
	maxRecipients = 20
)

// scryptWork is the cost of a passphrase as a power of two: 32 MiB for sealing. What is read may cost twice that.
const scryptWork = 15

// on tells whether secrets are in the file.
func (s Seal) on() bool { return s.Passphrase != "" || len(s.Recipients) > 0 }

// recipients are who can open the secrets. Error: Invalid.
func (s Seal) recipients() ([]age.Recipient, error) {
	switch {
	case s.Passphrase != "" && len(s.Recipients) > 0:
		return nil, model.Errorf(model.Invalid, "give a passphrase or recipients, not both")
	case len(s.Recipients) > maxRecipients:
		return nil, model.Errorf(model.Invalid, "recipients: give at most %d", maxRecipients)
	case s.Passphrase != "":
		if len(s.Passphrase) < minPassphrase {
			return nil, model.Errorf(model.Invalid, "passphrase: give at least %d characters", minPassphrase)
		}
		r, err := age.NewScryptRecipient(s.Passphrase)
		if err != nil {
			return nil, model.Errorf(model.Invalid, "passphrase: %s", err)
		}
		r.SetWorkFactor(scryptWork)
		return []age.Recipient{r}, nil
	}
	var list []age.Recipient
	for i, text := range s.Recipients {
		r, err := age.ParseX25519Recipient(strings.TrimSpace(text))
		if err != nil { // who took a private key for a public one must not read it again in an error
			return nil, model.Errorf(model.Invalid, "recipient %d is no public key of age: it begins with age1", i+1)
		}
		list = append(list, r)
	}
	return list, nil
}

// Check refuses what nothing can be sealed with. Error: Invalid.
func (s Seal) Check() error {
	_, err := s.recipients()
	return err
}

// seal gives the sealed secrets, one JSON value a line.
func (s Seal) seal(secrets []json.RawMessage) ([]byte, error) {
	to, err := s.recipients()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return nil, fmt.Errorf("seal the secrets: %w", err)
	}
	var line bytes.Buffer
	for _, secret := range secrets {
		line.Reset()
		if err := json.Compact(&line, secret); err != nil {
			return nil, fmt.Errorf("seal the secrets: %w", err)
		}
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return nil, fmt.Errorf("seal the secrets: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal the secrets: %w", err)
	}
	return out.Bytes(), nil
}

// unseal opens sealed secrets with a passphrase or with an identity of age, AGE-SECRET-KEY-1... Error: Invalid.
func unseal(sealed []byte, key string) ([]json.RawMessage, error) {
	var id age.Identity
	if strings.HasPrefix(key, "AGE-SECRET-KEY-") {
		own, err := age.ParseX25519Identity(strings.TrimSpace(key))
		if err != nil {
			return nil, model.Errorf(model.Invalid, "the key of age is wrong")
		}
		id = own
	} else {
		own, err := age.NewScryptIdentity(key)
		if err != nil {
			return nil, model.Errorf(model.Invalid, "the passphrase cannot be used: %s", err)
		}
		own.SetMaxWorkFactor(scryptWork + 1)
		id = own
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		return nil, model.Errorf(model.Invalid, "the secrets of the file cannot be opened: another passphrase or key is needed, or the file was changed")
	}
	var secrets []json.RawMessage
	in := bufio.NewReader(io.LimitReader(r, maxSealed))
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return secrets, nil
		case err != nil || !json.Valid(line):
			return nil, model.Errorf(model.Invalid, "the secrets of the file are damaged after number %d", len(secrets))
		}
		secrets = append(secrets, bytes.TrimSuffix(line, []byte("\n")))
	}
}

// secret is a place of a document that holds one.
type secret struct {
	name string
	get  func() json.RawMessage // empty: there is none
	set  func(json.RawMessage) error
}

// textSecret is one in a text.
func textSecret(name string, at *string) secret {
	return secret{name, func() json.RawMessage {
		if *at == "" {
			return nil
		}
		b, _ := json.Marshal(*at) // a text can always be written
		return b
	}, func(v json.RawMessage) error {
		if v == nil {
			*at = ""
			return nil
		}
		return json.Unmarshal(v, at)
	}}
}

// rawSecret is one that is any JSON.
func rawSecret(name string, at *json.RawMessage) secret {
	return secret{name, func() json.RawMessage { return *at }, func(v json.RawMessage) error { *at = v; return nil }}
}

func parameterSecrets(list []model.Parameter) []secret {
	var out []secret
	for i := range list {
		if s, err := model.ParseSchema(list[i].Schema); err == nil && s.Secret {
			out = append(out, rawSecret("parameter "+list[i].Key, &list[i].Value))
		}
	}
	return out
}

func webhookSecrets(w *model.Webhook) []secret {
	out := []secret{textSecret("token", &w.Token)}
	for _, pairs := range []struct {
		word string
		list []model.Pair
	}{{"header ", w.Headers}, {"parameter ", w.Parameters}} {
		for i := range pairs.list {
			if pairs.list[i].Hidden() {
				out = append(out, textSecret(pairs.word+pairs.list[i].Name, &pairs.list[i].Value))
			}
		}
	}
	return out
}

// jobSecrets is the operation of a job, once it has arguments: nobody says which of these is a password.
func jobSecrets(j *model.Job) []secret {
	at := &j.Operation
	if string(*at) == "null" { // it was left out
		*at = nil
	}
	if len(*at) > 0 && !j.OperationArguments() {
		return nil
	}
	return []secret{rawSecret("operation", at)}
}

// secretsIn are the places of a document that may hold secrets. A setting's value is one where its record says so.
func secretsIn(doc any) []secret {
	switch d := doc.(type) {
	case *model.Application:
		return parameterSecrets(d.Parameters)
	case *model.Platform:
		return parameterSecrets(d.Parameters)
	case *model.Distribution:
		return parameterSecrets(d.Parameters)
	case *model.Webhook:
		return webhookSecrets(d)
	case *model.NotificationChannel:
		return []secret{textSecret("value", &d.Value)}
	case *model.Git:
		return []secret{textSecret("token", &d.Token)}
	case *model.Job:
		return jobSecrets(d)
	case *secretSetting:
		return []secret{rawSecret("value", &d.Value)}
	}
	return nil
}

// secretSetting is a setting whose value is a secret.
type secretSetting struct{ model.Setting }
