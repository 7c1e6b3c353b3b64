package api

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/api/transfer"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of an import.
const (
	maxArchive   = 1 << 30 // bytes of a file, as it is sent
	importWithin = 30 * time.Minute
)

func transferEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"organizations.export": {need: auth.Manage, harmless: true, live: exportOrganization},
		"organizations.import": {site: true, live: importOrganization},
	}
}

// exportOrganization streams. An error after the first byte breaks the connection off, so that nobody takes what came
// for whole; the file's end says so, too.
func exportOrganization(c *call, view *state.View, end endpoint) (reply, error) {
	at, err := c.scope(view, end)
	if err != nil {
		return reply{}, err
	}
	if err := c.readBody(objectBody); err != nil {
		return reply{}, err
	}
	seal, err := model.Decode[transfer.Seal](c.body)
	if err != nil {
		return reply{}, err
	}
	if err := transfer.Seal(seal).Check(); err != nil {
		return reply{}, err
	}
	rec := c.record(at, "organizations/"+at.org.Name)
	rec.Message, rec.Read = "exported the organization", seal.Passphrase != "" || len(seal.Recipients) > 0
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		tx.SetActor(c.caller.name)
		if err := c.caller.still(tx); err != nil {
			return err
		}
		return orchestrate.Audit(tx, at.org.ID, rec)
	})
	if err != nil {
		return reply{}, err
	}
	w := &streamWriter{c: c, name: "organization.muster"}
	if err := transfer.Export(context.WithoutCancel(c.req.Context()), view, at.org.ID, seal, w); err != nil {
		if w.begun {
			c.srv.cfg.Log.Warn("an organization's file was not sent whole", "id", c.id, "error", err)
			panic(http.ErrAbortHandler)
		}
		return reply{}, err
	}
	return reply{gone: true}, nil
}

// importOrganization makes an organization from a file, as it comes.
func importOrganization(c *call, _ *state.View, _ endpoint) (reply, error) {
	user, err := c.person()
	if err != nil {
		return reply{}, err
	}
	key, err := unsealKey(c.req.Header.Get(spec.HeaderUnseal))
	if err != nil {
		return reply{}, err
	}
	if c.req.ContentLength > maxArchive {
		return reply{}, model.Errorf(model.TooLarge, "the file is larger than %d bytes: it has %d", maxArchive, c.req.ContentLength)
	}
	c.req.Body = http.MaxBytesReader(c.writer, c.req.Body, maxArchive)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), importWithin)
	defer cancel()
	var in io.Reader = streamReader{c}
	result, err := transfer.Import(ctx, c.srv.cfg.Store, in, transfer.Options{
		Name: c.query.Get("name"), Key: key, Actor: c.caller.name, AdminID: user.ID, Quotas: user.Admin,
		Check: func(doc []byte) error { return checkJSON(doc, anObject) },
		Done: func(tx *state.Tx, row *model.OrganizationRow) error {
			if err := c.caller.still(tx); err != nil {
				return err
			}
			rec := c.record(scope{}, "organizations/"+row.Name)
			rec.Message = "imported organizations/" + row.Name
			return orchestrate.Audit(tx, "", rec)
		},
	})
	if err != nil {
		return reply{}, err
	}
	return c.encode(result)
}

// unsealKey is what opens a file's secrets. Its header is in Base64, as passphrases are no header's text.
func unsealKey(text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", model.Errorf(model.Invalid, "%s: give the passphrase, or the key of age, in Base64", spec.HeaderUnseal)
	}
	return string(b), nil
}
