package state

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
)

// Contents are kept compressed, in rows of two tables: one row that says how long it is and in how many chunks, and the
// chunks. Nothing refers to a content but rows of its domain that name its digest, the SHA-256 of its bytes. Both are
// sealed with the key of the domain, under a name that only that domain's key makes of the digest: so no name tells what
// a content is, or that two domains have the same. Before SchemaContents, and without keys, they are in clear under their digest.
const (
	tableContents = "_contents"
	tableChunks   = "_chunks"
	chunkSize     = 128 << 10
	// maxInline is how much compressed content one commit may carry beside its rows.
	maxInline = 192 << 10
	// MaxContent is the largest content in bytes, before compression.
	MaxContent = 64 << 20
)

// contentHead is the value of a content's row: size before compression and number of chunks.
// nonce names the chunks of this staging: two nodes may stage the same content and compress it differently. A sealed
// one has the digest, too.
type contentHead struct {
	size   uint64
	chunks uint64
	nonce  string
	digest string
}

func (h contentHead) encode() []byte {
	form := byte(1)
	if h.digest != "" {
		form = 2
	}
	b := appendText(binary.AppendUvarint(binary.AppendUvarint([]byte{form}, h.size), h.chunks), h.nonce)
	if h.digest != "" {
		b = appendText(b, h.digest)
	}
	return b
}

func decodeHead(b []byte) (contentHead, error) {
	d := decoder{s: string(b)}
	form := d.byte()
	if form != 1 && form != 2 {
		d.fail("unknown form of a content's head")
	}
	h := contentHead{size: d.uvarint(), chunks: d.uvarint(), nonce: d.text()}
	if form == 2 {
		if h.digest = d.text(); len(h.digest) != digestLen {
			d.fail("a content's digest")
		}
	}
	if err := d.end(); err != nil {
		return contentHead{}, err
	}
	if h.size > MaxContent || h.chunks > MaxContent/chunkSize+2 {
		return contentHead{}, fmt.Errorf("%w: a content of %d bytes in %d chunks", ErrDecode, h.size, h.chunks)
	}
	return h, nil
}

// Digest is the name of a content: its SHA-256 in hex.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// contentPlace is where a content is kept: its key, and the domain that seals it, "" for none.
type contentPlace struct {
	key    string
	domain string
	digest string
}

// placeOf is where the transaction keeps a content of a domain. A domain that has no keys yet gets them.
func (tx *Tx) placeOf(domain, digest string) (contentPlace, error) {
	name, err := tx.contentNames(domain)
	if err != nil {
		return contentPlace{}, unreadable(err)
	}
	if name == nil {
		return contentPlace{key: digest, digest: digest}, nil
	}
	return contentPlace{key: sealedContent(domain, name, digest), domain: domain, digest: digest}, nil
}

// head is that of a content that is kept there.
func (p contentPlace) head(size int) contentHead {
	h := contentHead{size: uint64(size), nonce: rand.Text()}
	if p.domain != "" {
		h.digest = p.digest
	}
	return h
}

// PutContent stores a content of a domain within the transaction and gives its digest; what is stored already is not
// sent again. It fails with model.TooLarge when it does not fit one commit: use StageContent first.
func PutContent(tx *Tx, domain string, content []byte) (digest string, err error) {
	digest = Digest(content)
	at, err := tx.placeOf(domain, digest)
	if err != nil {
		return "", err
	}
	if tx.exists(tableContents, at.key) {
		claim(tx, at.key)
		return digest, nil
	}
	packed, err := pack(tx.store(), content)
	if err != nil {
		return "", err
	}
	if len(packed) > maxInline {
		return "", model.Errorf(model.TooLarge,
			"a content of %d bytes (%d compressed) does not fit one change: stage it first", len(content), len(packed))
	}
	return digest, putPacked(tx, at, len(content), packed)
}

// putPacked puts the rows of a content of size bytes.
func putPacked(tx *Tx, at contentPlace, size int, packed []byte) error {
	head := at.head(size)
	for part := range slices.Chunk(packed, chunkSize) {
		if err := putChunk(tx, at, head.chunkKey(at.key, head.chunks), part); err != nil {
			return err
		}
		head.chunks++
	}
	return putFor(tx, at.domain, tableContents, at.key, head.encode())
}

// chunkMark begins the clear value of a sealed chunk: without it a part of a content could look like a sealed value.
const chunkMark = 1

func putChunk(tx *Tx, at contentPlace, key string, part []byte) error {
	if at.domain != "" {
		part = append([]byte{chunkMark}, part...)
	}
	return putFor(tx, at.domain, tableChunks, key, part)
}

// Updater runs a function as an optimistic transaction, as a cluster's node does.
type Updater interface {
	Update(ctx context.Context, fn func(tx *Tx) error) error
}

// StageContent stores a content of a domain, of any size up to MaxContent, in as many commits as it takes, before a row
// names it; that must follow within the age of CollectContents. It is seen as a whole or not at all. Staging what is stored already costs one look.
func StageContent(ctx context.Context, u Updater, domain string, content []byte) (digest string, err error) {
	digest = Digest(content)
	var packed []byte
	var at contentPlace
	stored := false
	err = u.Update(ctx, func(tx *Tx) error {
		if at, err = tx.placeOf(domain, digest); err != nil {
			return err
		}
		if stored = tx.exists(tableContents, at.key); stored {
			claim(tx, at.key)
			return nil
		}
		packed, err = pack(tx.store(), content)
		return err
	})
	if err != nil || stored {
		return digest, err
	}
	head := at.head(len(content))
	for part := range slices.Chunk(packed, chunkSize) {
		key := head.chunkKey(at.key, head.chunks)
		head.chunks++
		if err := u.Update(ctx, func(tx *Tx) error { return putChunk(tx, at, key, part) }); err != nil {
			return "", fmt.Errorf("stage part %d of content %s: %w", head.chunks, digest, err)
		}
	}
	err = u.Update(ctx, func(tx *Tx) error {
		if tx.exists(tableContents, at.key) {
			claim(tx, at.key)
			return nil
		}
		claim(tx, at.key+"/"+head.nonce)
		for n := range head.chunks { // it may have taken longer than parts are kept for
			if !tx.exists(tableChunks, head.chunkKey(at.key, n)) {
				return model.Errorf(model.Conflict, "a part of the content was removed before all of it had come: send it again")
			}
		}
		return putFor(tx, at.domain, tableContents, at.key, head.encode())
	})
	if err != nil {
		return "", fmt.Errorf("stage content %s: %w", digest, err)
	}
	return digest, nil
}

// Content reads a content of a domain back; false when there is none of this digest. The bytes are the caller's.
func Content(r Reader, domain, digest string) ([]byte, bool) {
	if name := mustNames(r, domain); name != nil {
		if rec := r.row(tableContents, sealedContent(domain, name, digest)); rec != nil {
			return contentOf(r, rec, digest), true
		}
	}
	if rec := r.row(tableContents, digest); rec != nil { // of before
		return contentOf(r, rec, digest), true
	}
	return nil, false
}

// contentOf reads the content of a head.
func contentOf(r Reader, rec *record, digest string) []byte {
	content, err := readContent(r, rec, digest)
	if err != nil {
		panic(corrupt{fmt.Errorf("content %s: %w", digest, err)})
	}
	return content
}

func readContent(r Reader, rec *record, digest string) ([]byte, error) {
	value, err := opened(r, rec)
	if err != nil {
		return nil, err
	}
	head, err := decodeHead(value)
	if err != nil {
		return nil, err
	}
	var packed []byte
	for n := range head.chunks {
		part := r.row(tableChunks, head.chunkKey(rec.key, n))
		if part == nil {
			return nil, fmt.Errorf("%w: it lacks part %d of %d", ErrDecode, n+1, head.chunks)
		}
		if value, err = opened(r, part); err != nil {
			return nil, err
		}
		if head.digest != "" {
			if len(value) == 0 || value[0] != chunkMark {
				return nil, fmt.Errorf("%w: part %d is of an unknown form", ErrDecode, n+1)
			}
			value = value[1:]
		}
		packed = append(packed, value...)
	}
	content, err := unpack(r.store(), packed, head.size)
	if err == nil && Digest(content) != digest {
		err = fmt.Errorf("%w: its bytes have another digest", ErrDecode)
	}
	return content, err
}

func (h contentHead) chunkKey(key string, n uint64) string {
	return fmt.Sprintf("%s/%s/%06d", key, h.nonce, n)
}

// The leading byte of packed content.
const (
	packedPlain byte = 0
	packedZstd  byte = 1
)

func pack(s *Store, content []byte) ([]byte, error) {
	if len(content) > MaxContent {
		return nil, model.Errorf(model.TooLarge, "a content of %d bytes is too large: at most %d", len(content), MaxContent)
	}
	packed := s.enc.EncodeAll(content, []byte{packedZstd})
	if len(packed) > len(content) {
		return append([]byte{packedPlain}, content...), nil
	}
	return packed, nil
}

func unpack(s *Store, packed []byte, size uint64) ([]byte, error) {
	if len(packed) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrDecode)
	}
	var content []byte
	var err error
	switch packed[0] {
	case packedPlain:
		content = packed[1:]
	case packedZstd:
		if content, err = s.dec.DecodeAll(packed[1:], make([]byte, 0, size)); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
	default:
		return nil, fmt.Errorf("%w: packed in the unknown way %d", ErrDecode, packed[0])
	}
	if uint64(len(content)) != size {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrDecode, len(content), size)
	}
	return content, nil
}

// putRaw puts a row whose value is not JSON.
func putRaw(tx *Tx, table, key string, value []byte) error { return putFor(tx, "", table, key, value) }

// putFor puts one that is sealed for a domain; "" for none.
func putFor(tx *Tx, domain, table, key string, value []byte) error {
	if err := tx.put(&record{table: table, key: key, value: value}, "", "", nil); err != nil {
		return err
	}
	tx.pending(table, key).domain = domain
	return nil
}
