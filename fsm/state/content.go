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

// Contents are kept under the SHA-256 of their bytes, compressed, in rows of two tables: one row that says
// how long it is and in how many chunks, and the chunks. Nothing refers to a content but rows that name
// its digest.
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
// nonce names the chunks of this staging: two nodes may stage the same content and compress it differently.
type contentHead struct {
	size   uint64
	chunks uint64
	nonce  string
}

func (h contentHead) encode() []byte {
	return appendText(binary.AppendUvarint(binary.AppendUvarint([]byte{1}, h.size), h.chunks), h.nonce)
}

func decodeHead(b []byte) (contentHead, error) {
	d := decoder{s: string(b)}
	if d.byte() != 1 {
		d.fail("unknown form of a content's head")
	}
	h := contentHead{size: d.uvarint(), chunks: d.uvarint(), nonce: d.text()}
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

// PutContent stores a content within the transaction and gives its digest; what is stored already is not
// sent again. It fails with model.TooLarge when it does not fit one commit: use StageContent first.
func PutContent(tx *Tx, content []byte) (digest string, err error) {
	digest = Digest(content)
	if tx.exists(tableContents, digest) {
		claim(tx, digest)
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
	return digest, putPacked(tx, digest, len(content), packed)
}

// putPacked puts the rows of a content of size bytes.
func putPacked(tx *Tx, digest string, size int, packed []byte) error {
	head := contentHead{size: uint64(size), nonce: rand.Text()}
	for part := range slices.Chunk(packed, chunkSize) {
		if err := putRaw(tx, tableChunks, head.chunkKey(digest, head.chunks), part); err != nil {
			return err
		}
		head.chunks++
	}
	return putRaw(tx, tableContents, digest, head.encode())
}

// Updater runs a function as an optimistic transaction, as a cluster's node does.
type Updater interface {
	Update(ctx context.Context, fn func(tx *Tx) error) error
}

// StageContent stores a content of any size up to MaxContent in as many commits as it takes, before a row
// names it; that must follow within the age of CollectContents. It is seen as a whole or not at all. Staging what is stored already costs one look.
func StageContent(ctx context.Context, u Updater, content []byte) (digest string, err error) {
	digest = Digest(content)
	var packed []byte
	stored := false
	err = u.Update(ctx, func(tx *Tx) error {
		if stored = tx.exists(tableContents, digest); stored {
			claim(tx, digest)
			return nil
		}
		packed, err = pack(tx.store(), content)
		return err
	})
	if err != nil || stored {
		return digest, err
	}
	head := contentHead{size: uint64(len(content)), nonce: rand.Text()}
	for part := range slices.Chunk(packed, chunkSize) {
		key := head.chunkKey(digest, head.chunks)
		head.chunks++
		if err := u.Update(ctx, func(tx *Tx) error { return putRaw(tx, tableChunks, key, part) }); err != nil {
			return "", fmt.Errorf("stage part %d of content %s: %w", head.chunks, digest, err)
		}
	}
	err = u.Update(ctx, func(tx *Tx) error {
		if tx.exists(tableContents, digest) {
			claim(tx, digest)
			return nil
		}
		claim(tx, digest+"/"+head.nonce)
		for n := range head.chunks { // it may have taken longer than parts are kept for
			if !tx.exists(tableChunks, head.chunkKey(digest, n)) {
				return model.Errorf(model.Conflict, "a part of the content was removed before all of it had come: send it again")
			}
		}
		return putRaw(tx, tableContents, digest, head.encode())
	})
	if err != nil {
		return "", fmt.Errorf("stage content %s: %w", digest, err)
	}
	return digest, nil
}

// Content reads a content back; false when there is none of this digest. The bytes are the caller's.
func Content(r Reader, digest string) ([]byte, bool) {
	rec := r.row(tableContents, digest)
	if rec == nil {
		return nil, false
	}
	head, err := decodeHead(rec.value)
	if err != nil {
		panic(corrupt{fmt.Errorf("content %s: %w", digest, err)})
	}
	var packed []byte
	for n := range head.chunks {
		part := r.row(tableChunks, head.chunkKey(digest, n))
		if part == nil {
			panic(corrupt{fmt.Errorf("content %s lacks part %d of %d", digest, n+1, head.chunks)})
		}
		packed = append(packed, part.value...)
	}
	content, err := unpack(r.store(), packed, head.size)
	if err == nil && Digest(content) != digest {
		err = fmt.Errorf("%w: its bytes have another digest", ErrDecode)
	}
	if err != nil {
		panic(corrupt{fmt.Errorf("content %s: %w", digest, err)})
	}
	return content, true
}

func (h contentHead) chunkKey(digest string, n uint64) string {
	return fmt.Sprintf("%s/%s/%06d", digest, h.nonce, n)
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
func putRaw(tx *Tx, table, key string, value []byte) error {
	return tx.put(&record{table: table, key: key, value: value}, "", "", nil)
}
