package journal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/muster-hq/muster/dispatch/wire"
)

// formatVersion is the version of the file that this code writes and reads.
const formatVersion = 1

// The kinds of records.
const (
	kindBegin    = "begin"    // the file's first line
	kindAccepted = "accepted" // an order is ours
	kindBegun    = "begun"    // a step is about to be done
	kindReply    = "reply"    // a step's outcome, outstanding until its receipt
	kindAlert    = "alert"    // an alert, likewise
	kindForget   = "forget"   // a resource is not watched any more
	kindReceipt  = "receipt"  // messages are confirmed
	kindLogin    = "login"    // the login counter
	kindCancel   = "cancel"   // no further step of an order is begun
	kindState    = "state"    // written by compaction: everything that is neither order nor message
)

// record is one line of the file.
type record struct {
	Kind      string      `json:"k"`
	Version   int         `json:"version,omitempty"`
	ID        string      `json:"id,omitempty"` // of the journal, in its first line
	Order     string      `json:"order,omitempty"`
	Accepted  *wire.Order `json:"accepted,omitempty"`
	Seen      *Seen       `json:"seen,omitempty"`
	Begun     *Begun      `json:"begun,omitempty"`
	Reply     *wire.Reply `json:"reply,omitempty"`
	Owe       *Owe        `json:"owe,omitempty"`
	Confirmed bool        `json:"confirmed,omitempty"` // reply of a compacted journal whose receipt came
	Alert     *wire.Alert `json:"alert,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	Key       string      `json:"key,omitempty"`
	Sequences []uint64    `json:"sequences,omitempty"`
	Logins    uint64      `json:"logins,omitempty"`
	State     *state      `json:"state,omitempty"`
}

// state is what is kept for good.
type state struct {
	Fences   map[wire.Lane]Fence `json:"fences,omitempty"`
	Sequence uint64              `json:"sequence,omitempty"`
	Logins   uint64              `json:"logins,omitempty"`
	Seen     Seen                `json:"seen"`
	Told     map[string]string   `json:"told,omitempty"`
	Owed     map[string]bool     `json:"owed,omitempty"`
	Retell   uint64              `json:"retell,omitempty"` // no alert up to this sequence counts as told

	ID      string      `json:"id,omitempty"`
	Floor   uint64      `json:"floor,omitempty"`
	Highest uint64      `json:"highest,omitempty"`
	Before  string      `json:"before,omitempty"`
	Done    []wire.Held `json:"done,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes the line of a record: eight hexadecimal digits of its CRC-32C, a blank, JSON, a newline.
func encode(r record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write a journal record as JSON: %w", err)
	}
	return frame(body), nil
}

// frame makes a line of a record's JSON.
func frame(body []byte) []byte {
	line := make([]byte, 0, len(body)+10)
	line = fmt.Appendf(line, "%08x ", crc32.Checksum(body, castagnoli))
	line = append(line, body...)
	return append(line, '\n')
}

// decode reads the line of a record, without its newline.
func decode(line []byte) (record, error) {
	var r record
	if len(line) < 10 || line[8] != ' ' {
		return r, fmt.Errorf("not a record")
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[:8]); err != nil {
		return r, fmt.Errorf("its checksum is not hexadecimal: %w", err)
	}
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	if crc32.Checksum(line[9:], castagnoli) != want {
		return r, fmt.Errorf("its checksum is wrong")
	}
	if err := json.Unmarshal(line[9:], &r); err != nil {
		return r, fmt.Errorf("its JSON is wrong: %w", err)
	}
	return r, nil
}

// replay applies the records of data to st and returns how many bytes of data are good. The rest is a
// torn end: an append that was cut off leaves a line without its newline, or (after a power cut) zero
// bytes. Anything else that cannot be read is damage, since it was on the disk when it was acted on.
func replay(data []byte, st *contents) (int, error) {
	good, line := 0, 0
	for good < len(data) {
		line++
		end := bytes.IndexByte(data[good:], '\n')
		if end < 0 {
			return good, nil
		}
		r, err := decode(data[good : good+end])
		if err == nil {
			if line == 1 && r.Kind != kindBegin {
				err = fmt.Errorf("it is not the first line of a journal")
			} else {
				err = st.apply(r)
			}
		}
		if err != nil {
			if bytes.IndexByte(data[good:good+end], 0) >= 0 && bytes.IndexByte(data[good+end+1:], '\n') < 0 {
				return good, nil
			}
			return good, fmt.Errorf("%w: line %d: %w. What the agent did since cannot be known any more: keep a copy of the file "+
				"for examination, remove the state directory, and enrol this machine again; the orchestrator then closes what was in flight", ErrCorrupt, line, err)
		}
		good += end + 1
	}
	return good, nil
}
