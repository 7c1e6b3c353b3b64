package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// What one node may ask another on a forward connection, and the two kinds of answers.
const (
	opCommit  = 'c' // a commit -> its result; leader only
	opCurrent = 'q' // the asker's term -> index, time and epoch; leader only
	opTerm    = 't' // nothing -> the node's term
	opInfo    = 'i' // nothing -> JSON info
	opHello   = 'h' // JSON hello -> JSON hello; before the cluster begins
	opRemove  = 'x' // a name -> nothing; leader only
	opMove    = 'm' // a name or nothing -> nothing: hand leadership over; leader only
	opRenew   = 'r' // a certificate request -> the certificate, both DER; leader only
	opAsk     = 'a' // a question for the duties -> their answer; leader only
	opKeys    = 'k' // JSON ids of cluster keys -> the text of those that it has
	opOK      = '+'
	opErr     = '-'

	// opSummed is set in a frame's op when its sum follows it. Only nodes of state.SchemaEvents and later know it.
	opSummed = 0x80
)

// maxFrame bounds a frame's body: a commit may have 256 KiB, and some more for its reads.
const maxFrame = 1 << 20

const (
	frameHead = 4 + 8 + 1
	sumSize   = 4
)

var errFrame = errors.New("malformed frame")

// frame is one question or answer. Answers carry the id of their question, all 64 bits of it. The upper 24 bits of a
// question's id are the time that the asker will wait, in milliseconds; nodes of before that leave them 0, and echo
// those of others without a look at them.
type frame struct {
	id     uint64
	op     byte // without opSummed
	summed bool // the CRC-32C of all of it follows it: TLS guards the wire, this the ways to it and from it
	body   []byte
}

func (f frame) encode(buf []byte) []byte {
	begin, op := len(buf), f.op
	if f.summed {
		op |= opSummed
	}
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(f.body)))
	buf = binary.BigEndian.AppendUint64(buf, f.id)
	buf = append(buf, op)
	buf = append(buf, f.body...)
	if f.summed {
		buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf[begin:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return buf
}

const (
	patienceShift = 40
	maxPatience   = (1<<24 - 1) * time.Millisecond
)

// withPatience is the id of a question whose asker waits for d, more than 0.
func withPatience(id uint64, d time.Duration) uint64 {
	ms := max(min(d, maxPatience)/time.Millisecond, 1)
	return id&(1<<patienceShift-1) | uint64(ms)<<patienceShift
}

// patience is how long the asker waits; 0 from one that does not tell.
func (f frame) patience() time.Duration {
	return time.Duration(f.id>>patienceShift) * time.Millisecond
}

// readFrame reads the next frame; io.EOF only between frames. After an error nothing more can be read: where a sum does
// not hold, nobody knows where the next frame begins.
func readFrame(r io.Reader) (frame, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return frame{}, fmt.Errorf("%w: a body of %d bytes", errFrame, n)
	}
	f := frame{id: binary.BigEndian.Uint64(head[4:]), op: head[12] &^ opSummed, summed: head[12]&opSummed != 0}
	size := n
	if f.summed {
		size += sumSize
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, io.ErrUnexpectedEOF)
	}
	f.body = b[:n:n]
	if f.summed {
		table := crc32.MakeTable(crc32.Castagnoli)
		if crc32.Update(crc32.Checksum(head[:], table), table, f.body) != binary.BigEndian.Uint32(b[n:]) {
			return frame{}, fmt.Errorf("%w: its checksum does not hold", errFrame)
		}
	}
	return f, nil
}

// Errors travel as what is known of the outcome, the code, and the text. The later fates are known to askers that tell
// their patience.
const (
	fateNone    = 'n' // nothing was done
	fateUnknown = 'u'
	fateBusy    = 'b' // nothing was done; the milliseconds after which to come back (4 bytes), then as the others
	fateExpired = 'e' // nothing was done: the deadline came first
)

// encodeError encodes an error. Told says that the asker has told its patience.
func encodeError(err error, told bool) []byte {
	var me *model.Error
	code, text := string(model.CodeOf(err)), err.Error()
	if errors.As(err, &me) && len(me.Messages) > 0 {
		text = me.Messages[0]
	}
	b := []byte{fateNone}
	switch {
	case errors.Is(err, errUnknown):
		b[0] = fateUnknown
	case told && errors.Is(err, errExpired):
		b[0] = fateExpired
	case told && me != nil && me.RetryAfter > 0:
		b = binary.BigEndian.AppendUint32([]byte{fateBusy}, uint32(min(me.RetryAfter, maxPatience)/time.Millisecond))
	}
	return append(append(append(b, byte(len(code))), code...), text...)
}

func decodeError(b []byte) error {
	bad := fmt.Errorf("%w: an error of %d bytes", errUnknown, len(b))
	if len(b) < 2 {
		return bad
	}
	fate, rest := b[0], b[1:]
	var after time.Duration
	if fate == fateBusy {
		if len(rest) < 5 {
			return bad
		}
		after, rest = time.Duration(binary.BigEndian.Uint32(rest))*time.Millisecond, rest[4:]
	}
	if len(rest) < 1+int(rest[0]) {
		return bad
	}
	code, text := model.Code(rest[1:1+rest[0]]), string(rest[1+rest[0]:])
	switch {
	case fate == fateExpired:
		return fmt.Errorf("%w: %w", errNotDone, errExpired)
	case fate != fateNone && fate != fateBusy:
		return fmt.Errorf("%w: %s", errUnknown, text)
	case code == model.Internal || code == "":
		return fmt.Errorf("%w: %s", errNotDone, text)
	}
	return fmt.Errorf("%w: %w", errNotDone, &model.Error{Code: code, Messages: []string{text}, RetryAfter: after})
}

func encodeResult(r state.Result) []byte {
	b := []byte{byte(r.Outcome)}
	b = binary.BigEndian.AppendUint64(b, r.Index)
	b = binary.BigEndian.AppendUint32(b, r.Pos)
	return append(b, r.ConflictKey...)
}

func decodeResult(b []byte) (state.Result, error) {
	if len(b) < 13 {
		return state.Result{}, fmt.Errorf("%w: a result of %d bytes", errFrame, len(b))
	}
	return state.Result{
		Outcome:     state.Outcome(b[0]),
		Index:       binary.BigEndian.Uint64(b[1:]),
		Pos:         binary.BigEndian.Uint32(b[9:]),
		ConflictKey: string(b[13:]),
	}, nil
}

// current is the leader's answer to the term question.
type current struct {
	index uint64
	nanos int64
	epoch uint64    // of the leader's state; 0 from one that does not tell
	asked time.Time // when the question was put, here; it does not travel
}

// encode leaves out an epoch of 0: nodes that know only the first schema take no longer answer.
func (c current) encode() []byte {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.index), uint64(c.nanos))
	if c.epoch != 0 {
		b = binary.BigEndian.AppendUint64(b, c.epoch)
	}
	return b
}

func decodeCurrent(b []byte) (current, error) {
	if len(b) != 16 && len(b) != 24 {
		return current{}, fmt.Errorf("%w: an answer of %d bytes", errFrame, len(b))
	}
	c := current{index: binary.BigEndian.Uint64(b), nanos: int64(binary.BigEndian.Uint64(b[8:]))}
	if len(b) > 16 {
		if c.epoch = binary.BigEndian.Uint64(b[16:]); c.epoch == 0 {
			return current{}, fmt.Errorf("%w: an answer of no epoch", errFrame)
		}
	}
	return c, nil
}

func encodeTerm(t uint64) []byte { return binary.BigEndian.AppendUint64(nil, t) }

func decodeTerm(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a term of %d bytes", errFrame, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
