package cluster

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
)

// The files of a snapshot.
const (
	noteFile  = "meta.json"
	stateFile = "state.bin"
)

// errSnapshotDamaged says that a snapshot on this node's disk is not what was written.
var errSnapshotDamaged = errors.New("the snapshot is damaged")

// snapshotNote is meta.json: what raft wants to know of a snapshot, and the checksums of its state. Its own is the last
// member, "Check", of all bytes before that: a configuration that was not written must not be served. Notes of older
// versions have neither Sum nor Check.
type snapshotNote struct {
	raft.SnapshotMeta
	CRC []byte `json:",omitempty"` // CRC-64 of the state, for nodes of the first schema; "" if they cannot read it
	Sum string `json:",omitempty"` // CRC-32C of the state, in hex
}

const checkMember = `,"Check":"%08x"}` + "\n"

func noteCheck(text []byte) []byte {
	return fmt.Appendf(nil, checkMember, crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

func (n *snapshotNote) encode() ([]byte, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encoding what is noted of a snapshot: %w", err)
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	return append(text, noteCheck(text)...), nil
}

func decodeSnapshotNote(text []byte) (*snapshotNote, error) {
	var n struct {
		snapshotNote
		Check *string
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshotDamaged, err)
	}
	if n.Sum == "" && n.Check == nil && n.CRC != nil {
		return &n.snapshotNote, nil // of an older version
	}
	cut := max(len(text)-len(noteCheck(nil)), 0)
	if !bytes.Equal(text[cut:], noteCheck(text[:cut])) {
		return nil, fmt.Errorf("%w: the checksum of meta.json does not match", errSnapshotDamaged)
	}
	return &n.snapshotNote, nil
}

// readSnapshotNote reads what is noted in a snapshot's folder.
func readSnapshotNote(dir string) (*snapshotNote, error) {
	text, err := os.ReadFile(filepath.Join(dir, noteFile))
	if err != nil {
		return nil, fmt.Errorf("reading what is noted of a snapshot: %w", err)
	}
	n, err := decodeSnapshotNote(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, noteFile), err)
	}
	return n, nil
}

// checkSnapshots reads what each snapshot in a folder of raft says of itself, and compares it with the name of its
// folder, which has its term and index, too: an older version noted no checksum of that, and a node that took another
// index for the snapshot's would never apply the entries between.
func checkSnapshots(raftDir string) error {
	dir := filepath.Join(raftDir, "snapshots")
	folders, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the snapshots: %w", err)
	}
	for _, f := range folders {
		if !f.IsDir() || strings.HasSuffix(f.Name(), snapshotTmp) { // never finished
			continue
		}
		note, err := readSnapshotNote(filepath.Join(dir, f.Name()))
		if errors.Is(err, errSnapshotDamaged) {
			return fmt.Errorf("%w: %s", err, adviceDamaged)
		}
		if err != nil {
			return err
		}
		if note.ID != f.Name() || !strings.HasPrefix(f.Name(), fmt.Sprintf("%d-%d-", note.Term, note.Index)) {
			return fmt.Errorf("the snapshot %s is damaged, as it says that it is %s of index %d and term %d: %s", f.Name(), note.ID, note.Index, note.Term, adviceDamaged)
		}
	}
	return nil
}

// stateReader reads a state, and gives the last of it only when all was what had been written: a node that a damaged
// snapshot is sent to takes all of it or nothing.
type stateReader struct {
	file *os.File
	left int64
	sum  hash.Hash
	want []byte
	bad  error // it is not what was written
}

// openState opens the state in a snapshot's folder.
func openState(dir string, note *snapshotNote) (*stateReader, error) {
	f, err := os.Open(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("reading a snapshot: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading a snapshot: %w", err), f.Close())
	}
	r := &stateReader{file: f, left: note.Size, sum: newOldStateSum(), want: note.CRC}
	if note.Sum != "" {
		r.sum = newStateSum()
		r.want, err = hex.DecodeString(note.Sum)
	}
	if err == nil && st.Size() != note.Size {
		err = fmt.Errorf("%s has %d bytes, and %s says that %d were written", f.Name(), st.Size(), noteFile, note.Size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errSnapshotDamaged, err), f.Close())
	}
	return r, nil
}

// Read reads.
func (r *stateReader) Read(p []byte) (int, error) {
	if r.bad != nil || len(p) == 0 {
		return 0, r.bad
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	_, _ = r.sum.Write(p[:n]) // a hash never fails
	if r.left -= int64(n); r.left == 0 {
		if got := r.sum.Sum(nil); !bytes.Equal(got, r.want) {
			r.bad = fmt.Errorf("%w: %s has the checksum %x, and %s says %x: one of the two is not what was written",
				errSnapshotDamaged, r.file.Name(), got, noteFile, r.want)
			return 0, r.bad
		}
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fmt.Errorf("reading a snapshot: %w", err)
	}
	return n, nil
}

// Close closes it.
func (r *stateReader) Close() error { return r.file.Close() }

// CheckSnapshotFolder compares the state in one of raft's snapshot folders with what was noted of it.
func CheckSnapshotFolder(dir string) error {
	note, err := readSnapshotNote(dir)
	if err != nil {
		return err
	}
	r, err := openState(dir, note)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}
