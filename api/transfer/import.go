package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Store is where an organization is imported to.
type Store interface {
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
}

// Options say how a file is imported.
type Options struct {
	Name    string // of the new organization; "" is that of the file
	Key     string // that opens the secrets: a passphrase, or an identity of age; "" leaves them out
	Actor   string // who imports, by username
	AdminID string // that user's id: an administrator of the organization if nobody else is
	Quotas  bool   // who imports may set quotas; else that of the file is left out
	// Check refuses documents that no request could carry; nil checks nothing.
	Check func(doc []byte) error
	// Done goes into the last commit, which shows the organization; nil does nothing.
	Done func(tx *state.Tx, row *model.OrganizationRow) error
}

// maxLeftOut is how many secrets a result names.
const maxLeftOut = 1000

// The bounds of a batch: what is committed at once.
const (
	batchBytes   = 48 << 10
	batchRecords = 100
	cleanWithin  = 2 * time.Minute
)

// Import reads a file and makes the organization. It is seen by nobody before it is whole; after an error nothing of it is
// left, or will be soon. Errors: Invalid (the file, with the record's number; the key), Conflict (the name is taken),
// TooLarge, and those of ctx.
func Import(ctx context.Context, store Store, r io.Reader, o Options) (spec.ImportResult, error) {
	in, err := NewReader(r)
	if err != nil {
		return spec.ImportResult{}, err
	}
	defer in.Close()
	i := &importer{store: store, in: in, o: o, res: spec.ImportResult{Imported: map[string]int{}}}
	err = i.run(ctx)
	if err == nil {
		return i.res, nil
	}
	if i.orgID != "" {
		// The client may be gone, and its context with it.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		if cleanErr := i.drop(clean); cleanErr != nil {
			err = errors.Join(err, fmt.Errorf("delete what was imported; it will be within some minutes: %w", cleanErr))
		}
	}
	return spec.ImportResult{}, err
}

type importer struct {
	store Store
	in    *Reader
	o     Options
	res   spec.ImportResult

	header  Header
	orgID   string
	sealed  []byte
	secrets []json.RawMessage // nil: they are left out
	used    int               // of secrets
	parts   []byte            // of the content that is coming
	part    Record            // the first record of these
	batch   []step
	bytes   int
}

// step is what a record means, in a transaction that may run many times.
type step struct {
	number int
	where  string
	do     func(tx *state.Tx) error
}

func (i *importer) run(ctx context.Context) error {
	for {
		rec, err := i.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := i.record(ctx, rec); err != nil {
			return err
		}
	}
	if err := i.flush(ctx); err != nil {
		return err
	}
	if i.used != len(i.secrets) {
		return model.Errorf(model.Invalid, "the file holds %d sealed secrets, and names %d", len(i.secrets), i.used)
	}
	return i.update(ctx, func(tx *state.Tx) error {
		row, err := orchestrate.FinishImport(tx, i.orgID, i.o.AdminID)
		if err != nil {
			return err
		}
		i.res.Organization, i.res.UUID = row.Name, row.ID
		if i.o.Done == nil {
			return nil
		}
		return i.o.Done(tx, row)
	})
}

func (i *importer) update(ctx context.Context, fn func(tx *state.Tx) error) error {
	return i.store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor(i.o.Actor)
		return fn(tx)
	})
}

func (i *importer) drop(ctx context.Context) error {
	for more := true; more; {
		if err := i.update(ctx, func(tx *state.Tx) error {
			var err error
			more, err = orchestrate.DropImport(tx, i.orgID)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// record takes one record. What it means is done with its batch.
func (i *importer) record(ctx context.Context, rec *Record) error {
	if i.o.Check != nil && len(rec.Doc) > 0 {
		if err := i.o.Check(rec.Doc); err != nil {
			return i.failed(i.in.records, rec.where(), err)
		}
	}
	if len(i.parts) > 0 && (rec.Kind != i.part.Kind || rec.Part == 0) {
		return i.failed(i.in.records, rec.where(), model.Errorf(model.Invalid, "the parts of %s are not all there", i.part.where()))
	}
	switch rec.Kind {
	case KindHeader:
		var err error
		if i.header, err = rec.Header(); err == nil && i.o.Name == "" {
			i.o.Name = i.header.Organization
		}
		return err
	case KindSealed:
		whole, err := i.join(rec, maxSealed)
		if whole != nil {
			i.sealed = whole
		}
		return err
	case KindOrganization:
		return i.begin(ctx, rec)
	case KindEnd:
		return nil
	}
	if i.orgID == "" {
		return i.failed(i.in.records, rec.where(), model.Errorf(model.Invalid, "the organization itself must come before it"))
	}
	if rec.Kind == KindContent {
		return i.content(ctx, rec)
	}
	do, err := i.meaning(rec)
	if err != nil {
		return i.failed(i.in.records, rec.where(), err)
	}
	return i.add(ctx, rec, len(rec.Doc), do)
}

// add puts what a record means into the batch.
func (i *importer) add(ctx context.Context, rec *Record, size int, do func(tx *state.Tx) error) error {
	i.res.Imported[string(rec.Kind)]++
	i.batch = append(i.batch, step{i.in.records, rec.where(), do})
	i.bytes += size + 512
	if i.bytes < batchBytes && len(i.batch) < batchRecords {
		return nil
	}
	return i.flush(ctx)
}

// begin makes the organization, once the secrets are open: a wrong key changes nothing.
func (i *importer) begin(ctx context.Context, rec *Record) error {
	if i.orgID != "" {
		return model.Errorf(model.Invalid, "the file holds two organizations")
	}
	switch {
	case i.header.Sealed && i.sealed == nil, !i.header.Sealed && i.sealed != nil:
		return model.Errorf(model.Invalid, "the header says that secrets are sealed in the file: %v, but they are there: %v", i.header.Sealed, i.sealed != nil)
	case i.o.Key != "" && i.sealed == nil:
		return model.Errorf(model.Invalid, "the file holds no secrets that a key could open: leave the passphrase or key out")
	case i.o.Key != "":
		var err error
		if i.secrets, err = unseal(i.sealed, i.o.Key); err != nil {
			return err
		}
		i.sealed = nil
	}
	doc, err := decode[named](rec)
	if err != nil {
		return i.failed(i.in.records, rec.where(), err)
	}
	return i.update(ctx, func(tx *state.Tx) error {
		row, err := orchestrate.BeginImport(tx, model.Organization{Name: i.o.Name, Description: doc.Description}, i.o.Actor)
		if err == nil {
			i.orgID = row.ID
		}
		return err
	})
}

// join puts the parts of something together; nil until all are there. Parts come one after another.
func (i *importer) join(rec *Record, limit int) ([]byte, error) {
	first := rec.Part == 0
	same := rec.Part == i.part.Part+1 && rec.Parts == i.part.Parts && rec.where() == i.part.where()
	switch {
	case rec.Parts < 1 || rec.Part < 0 || rec.Part >= rec.Parts || !first && !same:
		return nil, i.failed(i.in.records, rec.where(), model.Errorf(model.Invalid, "part %d of %d does not follow", rec.Part, rec.Parts))
	case len(i.parts)+len(rec.Data) > limit:
		return nil, i.failed(i.in.records, rec.where(), model.Errorf(model.TooLarge, "it is larger than %d bytes", limit))
	}
	i.part, i.parts = *rec, append(i.parts, rec.Data...)
	i.part.Data = nil
	if rec.Part < rec.Parts-1 {
		if len(i.parts) == 0 {
			return nil, i.failed(i.in.records, rec.where(), model.Errorf(model.Invalid, "a part is empty"))
		}
		return nil, nil
	}
	whole := i.parts
	if whole == nil {
		whole = []byte{}
	}
	i.part, i.parts = Record{}, nil
	return whole, nil
}

// content stores a file's content or a picture; a large one goes ahead of the change that names it.
func (i *importer) content(ctx context.Context, rec *Record) error {
	whole, err := i.join(rec, maxContent)
	if err != nil || whole == nil {
		return err
	}
	if len(whole) > batchBytes {
		if err := i.flush(ctx); err != nil {
			return err
		}
		if _, err := state.StageContent(ctx, i.store, i.orgID, whole); err != nil {
			return fmt.Errorf("storing %s: %w", rec.where(), err)
		}
	}
	at := *rec
	return i.add(ctx, rec, min(len(whole), batchBytes), func(tx *state.Tx) error {
		id, err := i.kit(tx, &at)
		if err != nil {
			return err
		}
		if at.Name == "" {
			return orchestrate.PutThumb(tx, i.orgID, id, whole)
		}
		return orchestrate.PutFileContent(tx, i.orgID, id, at.Name, whole)
	})
}

// flush commits what has gathered; what does not fit one commit, in halves.
func (i *importer) flush(ctx context.Context) error {
	batch := i.batch
	i.batch, i.bytes = nil, 0
	return i.commit(ctx, batch)
}

func (i *importer) commit(ctx context.Context, batch []step) error {
	if len(batch) == 0 {
		return nil
	}
	at := 0
	err := i.update(ctx, func(tx *state.Tx) error {
		if err := orchestrate.ContinueImport(tx, i.orgID); err != nil {
			at = -1
			return err
		}
		for n, s := range batch {
			at = n
			if err := s.do(tx); err != nil {
				return err
			}
		}
		at = -1
		return nil
	})
	switch {
	case err == nil:
		return nil
	case model.CodeOf(err) == model.TooLarge && at < 0 && len(batch) > 1:
		half := len(batch) / 2
		if err := i.commit(ctx, batch[:half]); err != nil {
			return err
		}
		return i.commit(ctx, batch[half:])
	case at < 0 && len(batch) > 1:
		return fmt.Errorf("import records up to %d: %w", batch[len(batch)-1].number, err)
	case at < 0:
		at = 0
	}
	return i.failed(batch[at].number, batch[at].where, err)
}

// failed says which record an error is of. A conflict within the file is the file's fault.
func (i *importer) failed(number int, where string, err error) error {
	var e *model.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("record %d of the file, %s: %w", number, where, err)
	}
	code := e.Code
	if code == model.Conflict || code == model.NotFound {
		code = model.Invalid
	}
	return &model.Error{Code: code, Messages: []string{fmt.Sprintf("record %d of the file, %s: %s", number, where, strings.Join(e.Messages, ", "))}, Err: err}
}

// decode reads a record's document.
func decode[T any](rec *Record) (T, error) {
	if len(bytes.TrimSpace(rec.Doc)) == 0 {
		var none T
		return none, model.Errorf(model.Invalid, "its document is missing")
	}
	return model.Decode[T](rec.Doc)
}

// leaveOut notes what is to be set again.
func (i *importer) leaveOut(what string) {
	if i.res.LeftOutCount++; len(i.res.LeftOut) < maxLeftOut {
		i.res.LeftOut = append(i.res.LeftOut, what)
	}
}

// filled reads a record's document and puts its secrets back, or notes that they are left out.
func filled[T any](i *importer, rec *Record) (T, error) {
	doc, err := decode[T](rec)
	if err != nil {
		return doc, err
	}
	places := secretsIn(&doc)
	for _, name := range rec.Secrets {
		at := -1
		for n, p := range places {
			if p.name == name && len(p.get()) == 0 {
				at = n
				break
			}
		}
		if at < 0 {
			return doc, model.Errorf(model.Invalid, "secrets names %q, for which there is no place", name)
		}
		if i.secrets == nil {
			i.leaveOut(name + " of " + rec.where())
			continue
		}
		if i.used >= len(i.secrets) {
			return doc, model.Errorf(model.Invalid, "the file names more secrets than it holds")
		}
		if err := places[at].set(i.secrets[i.used]); err != nil {
			return doc, model.Errorf(model.Invalid, "secret %d is of another type than its place", i.used+1)
		}
		i.used++
	}
	return doc, nil
}
