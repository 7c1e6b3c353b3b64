// Package transfer writes an organization as one file and reads it back into another cluster, or under another name.
// See docs/organization-file.md for the format.
package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-hq/muster/fsm/model"
)

// Format and Version are what the first record of a file says.
const (
	Format  = "muster-organization"
	Version = 1
)

// The limits of a file that is read. They hold for what is unpacked, so that little that unpacks to much does no harm.
const (
	maxLine    = 1 << 20 // bytes of a record
	maxDepth   = 64      // of nested lists and objects
	maxRecords = 5_000_000
	maxBytes   = 4 << 30   // unpacked
	freeBytes  = 64 << 20  // unpacked, however small the file is
	maxRatio   = 200       // of what is unpacked beyond that to what was sent; organizations come to 10 to 50
	maxContent = 8 << 20   // of one file, as uploads have it
	partSize   = 192 << 10 // of a content or of the sealed secrets in one record
	maxSealed  = 64 << 20  // of all secrets
)

// Kind says what a record is. Their order in a file is that of order.
type Kind string

// The kinds.
const (
	KindHeader        Kind = "header"
	KindSealed        Kind = "sealed" // a part of the sealed secrets
	KindOrganization  Kind = "organization"
	KindPlatform      Kind = "platform"
	KindDistribution  Kind = "distribution"
	KindApplication   Kind = "application"
	KindContent       Kind = "content" // a part of a file's content; without a name that of the picture
	KindModule        Kind = "rpmmodule"
	KindGit           Kind = "git"
	KindLock          Kind = "lock"
	KindEnvironment   Kind = "environment"
	KindHost          Kind = "host"
	KindPlatformOf    Kind = "hostplatform"
	KindDistOf        Kind = "hostdistribution"
	KindContext       Kind = "context"
	KindHostgroup     Kind = "hostgroup"
	KindOrchestration Kind = "orchestration"
	KindWebhook       Kind = "webhook"
	KindChannel       Kind = "notification"
	KindJob           Kind = "job"
	KindSetting       Kind = "setting"
	KindGroup         Kind = "group"
	KindQuota         Kind = "quota"
	KindEnd           Kind = "end"
)

// order is the place of each kind: a record never comes after one of a later place, as it may name what comes earlier.
func order(k Kind) int {
	switch k {
	case KindHeader:
		return 1
	case KindSealed:
		return 2
	case KindOrganization:
		return 3
	case KindPlatform, KindDistribution, KindApplication:
		return 4
	case KindContent, KindModule, KindGit:
		return 5
	case KindEnvironment:
		return 6
	case KindHost, KindPlatformOf, KindDistOf, KindContext:
		return 7
	case KindHostgroup:
		return 8
	case KindOrchestration, KindWebhook, KindChannel, KindJob:
		return 9
	case KindSetting:
		return 10
	case KindLock: // settings of a locked distribution cannot be written
		return 11
	case KindGroup:
		return 12
	case KindQuota:
		return 13
	case KindEnd:
		return 14
	}
	return 0
}

// Record is one line of a file.
type Record struct {
	Kind Kind `json:"kind"`

	// What it is of, or belongs to, by name; "" for the organization itself.
	Environment  string `json:"environment,omitempty"`
	Host         string `json:"host,omitempty"`
	Application  string `json:"application,omitempty"`
	Platform     string `json:"platform,omitempty"`
	Distribution string `json:"distribution,omitempty"`
	Hostgroup    string `json:"hostgroup,omitempty"`
	Of           string `json:"of,omitempty"`   // of settings: the host's "platform" or "distribution"
	Name         string `json:"name,omitempty"` // of a file, a group, a setting

	Doc     json.RawMessage `json:"doc,omitempty"`
	Secrets []string        `json:"secrets,omitempty"` // what of doc is secret, and so not there, in its order
	Part    int             `json:"part,omitempty"`    // of contents: from 0
	Parts   int             `json:"parts,omitempty"`
	Data    []byte          `json:"data,omitempty"`
}

// Header is the document of the first record.
type Header struct {
	Format       string `json:"format"`
	Version      int    `json:"version"`
	Organization string `json:"organization"`
	Epoch        uint64 `json:"epoch"` // with Index, the state that the file is of
	Index        uint64 `json:"index"`
	Time         string `json:"time"`
	Sealed       bool   `json:"sealed"` // secrets are in the file
}

// End is the document of the last record.
type End struct {
	Records int    `json:"records"` // before this one
	Secrets int    `json:"secrets"`
	SHA256  string `json:"sha256"` // of all lines before, their ends included
}

// where names a record for people.
func (r *Record) where() string {
	var b bytes.Buffer
	b.WriteString(string(r.Kind))
	for _, p := range []struct{ word, name string }{{"", r.Name}, {"application ", r.Application}, {"platform ", r.Platform}, {"distribution ", r.Distribution},
		{"host group ", r.Hostgroup}, {"", r.Of}, {"host ", r.Host}, {"environment ", r.Environment}} {
		if p.name != "" {
			fmt.Fprintf(&b, " %s%q", p.word, p.name)
		}
	}
	return b.String()
}

// writer writes records.
type writer struct {
	zip     *zstd.Encoder
	sum     hash.Hash
	records int
}

func newWriter(w io.Writer) (*writer, error) {
	zip, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("pack the file: %w", err)
	}
	return &writer{zip: zip, sum: sha256.New()}, nil
}

func (w *writer) write(r *Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write %s: %w", r.where(), err)
	}
	if len(line) >= maxLine {
		return model.Errorf(model.TooLarge, "%s has %d bytes, more than the %d that a record of the file holds: make it smaller", r.where(), len(line), maxLine)
	}
	line = append(line, '\n')
	w.sum.Write(line)
	w.records++
	if _, err := w.zip.Write(line); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return nil
}

// writeDoc writes a record with a document.
func (w *writer) writeDoc(r Record, doc any) error {
	var err error
	if r.Doc, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("write %s: %w", r.where(), err)
	}
	return w.write(&r)
}

// end writes the last record.
func (w *writer) end(secrets int) error {
	if err := w.writeDoc(Record{Kind: KindEnd}, End{Records: w.records, Secrets: secrets, SHA256: hex.EncodeToString(w.sum.Sum(nil))}); err != nil {
		return err
	}
	if err := w.zip.Close(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return nil
}

// Reader reads the records of a file, and checks their order, the limits and the checksum. It does not look into
// documents. It is for one goroutine.
type Reader struct {
	sent    *counted
	zip     *zstd.Decoder
	in      *bufio.Reader
	sum     hash.Hash
	records int
	bytes   int64
	place   int
	secrets int
	done    bool
}

// counted counts what is read through it.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// NewReader reads from r. Close it.
func NewReader(r io.Reader) (*Reader, error) {
	sent := &counted{r: r}
	zip, err := zstd.NewReader(sent, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return nil, fmt.Errorf("unpack the file: %w", err)
	}
	return &Reader{sent: sent, zip: zip, in: bufio.NewReaderSize(zip, 64<<10), sum: sha256.New()}, nil
}

// Close frees what the reader holds.
func (r *Reader) Close() { r.zip.Close() }

// Next is the next record. At the end it is io.EOF, once the last record was there, right, and nothing follows it.
// Errors: Invalid, with the record's number; TooLarge.
func (r *Reader) Next() (*Record, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	if r.done {
		return nil, r.bad("the file goes on after its last record")
	}
	if depth(line) > maxDepth {
		return nil, r.bad("it is nested deeper than %d levels", maxDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	rec := &Record{}
	if err := dec.Decode(rec); err != nil {
		return nil, r.bad("it is no record: %s", err)
	}
	if dec.InputOffset() != int64(len(line))-1 {
		return nil, r.bad("something follows the record on its line")
	}
	place := order(rec.Kind)
	switch {
	case place == 0:
		return nil, r.bad("%q is no kind of record: the file may be of a newer version of Muster", rec.Kind)
	case r.records == 0 && rec.Kind != KindHeader, r.records > 0 && rec.Kind == KindHeader:
		return nil, r.bad("a file begins with one header")
	case place < r.place:
		return nil, r.bad("%s comes too late: the order of kinds is wrong", rec.where())
	}
	if rec.Kind == KindEnd {
		if err := r.checkEnd(rec); err != nil {
			return nil, err
		}
	}
	r.sum.Write(line)
	r.place = place
	r.records++
	r.secrets += len(rec.Secrets)
	return rec, nil
}

// line reads one line with its end.
func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part...)
		r.bytes += int64(len(part))
		switch {
		case len(line) > maxLine:
			return nil, r.large("record %d is longer than %d bytes", r.records+1, maxLine)
		case r.bytes > maxBytes || r.records >= maxRecords:
			return nil, r.large("it holds more than %d bytes or %d records", int64(maxBytes), maxRecords)
		case r.bytes > freeBytes+maxRatio*r.sent.n:
			return nil, r.large("%d bytes of it unpack to %d, more than %d times as many: no organization is like that", r.sent.n, r.bytes, maxRatio)
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) == 0 && r.done:
			return nil, io.EOF
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, model.Errorf(model.Invalid, "the file ends after record %d, before its last one: it is not whole", r.records)
		case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
			return nil, r.large("unpacking it needs too much memory")
		default:
			return nil, &model.Error{Code: model.Invalid, Messages: []string{fmt.Sprintf("the file cannot be unpacked after record %d: %s", r.records, err)}, Err: err}
		}
	}
}

func (r *Reader) large(format string, args ...any) error {
	return model.Errorf(model.TooLarge, "the file is too large: "+format, args...)
}

func (r *Reader) bad(format string, args ...any) error {
	return model.Errorf(model.Invalid, "record %d of the file: %s", r.records+1, fmt.Sprintf(format, args...))
}

func (r *Reader) checkEnd(rec *Record) error {
	var end End
	if err := json.Unmarshal(rec.Doc, &end); err != nil {
		return r.bad("the last record cannot be read: %s", err)
	}
	switch {
	case end.Records != r.records || end.Secrets != r.secrets:
		return r.bad("the file should have %d records before its last one, and %d secrets, but has %d and %d: something is missing or was added",
			end.Records, end.Secrets, r.records, r.secrets)
	case end.SHA256 != hex.EncodeToString(r.sum.Sum(nil)):
		return r.bad("the checksum is wrong: the file was damaged or changed")
	}
	r.done = true
	return nil
}

// Header reads the first record's document. Error: Invalid (no such file, or of another version).
func (r *Record) Header() (Header, error) {
	var h Header
	if err := json.Unmarshal(r.Doc, &h); err != nil || h.Format != Format {
		return h, model.Errorf(model.Invalid, "this is no file of an organization: its header says no %q", Format)
	}
	if h.Version != Version {
		return h, model.Errorf(model.Invalid, "the file has version %d of the format, and this server reads version %d: export it again, or update", h.Version, Version)
	}
	return h, nil
}

// depth is how deep lists and objects are nested.
func depth(line []byte) int {
	deepest, now, text := 0, 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
