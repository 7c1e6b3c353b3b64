package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strconv"

	"github.com/muster-hq/muster/fsm/model"
)

// The bounds of a part of a list.
const (
	defaultPage = 100
	maxPage     = 1000
)

// pager is a list of which a part can be given.
type pager interface {
	Page(after string, limit int) (page any, last string, more bool)
}

// page gives the part of a list that the caller asked for by limit and cursor. Lists are complete for whoever asks for
// neither (contract section 1.3), and other values are what they are.
//
// A part goes on after the identifier of the last item, not after a number of them. So whatever is made or deleted
// meanwhile, no item comes twice, and none is left out that was there all the time.
func (c *call) page(epoch uint64, value any) (any, error) {
	if !c.query.Has("limit") && !c.query.Has("cursor") {
		return value, nil
	}
	whole, ok := value.(pager)
	if !ok {
		return value, nil
	}
	limit := defaultPage
	if c.query.Has("limit") {
		n, err := strconv.Atoi(c.query.Get("limit"))
		if err != nil || n < 1 || n > maxPage {
			return nil, model.Errorf(model.Invalid, "limit: give a number from 1 to %d, not %q", maxPage, c.query.Get("limit"))
		}
		limit = n
	}
	at := listCursor{epoch: epoch, of: c.listDigest()}
	if text := c.query.Get("cursor"); text != "" {
		from, err := parseListCursor(text)
		if err != nil {
			return nil, err
		}
		if from.of != at.of {
			return nil, model.Errorf(model.Invalid, "cursor: it is of another list, or of the same with other parameters: begin without one")
		}
		if from.epoch != epoch {
			return nil, model.Errorf(model.Gone, "cursor: it is of epoch %d, and the cluster, restored or recovered since, is in epoch %d: begin without one", from.epoch, epoch)
		}
		at = from
	}
	part, last, more := whole.Page(at.after, limit)
	if !more {
		return part, nil
	}
	at.after = last
	return part.(interface{ WithCursor(string) any }).WithCursor(at.String()), nil
}

// listDigest tells lists apart, by path and by the parameters that choose what is in them.
func (c *call) listDigest() (d [8]byte) {
	q := url.Values{}
	for k, v := range c.query {
		switch k {
		case "limit", "cursor", "wait", "index", "consistency":
		default:
			q[k] = v
		}
	}
	sum := sha256.New()
	for _, seg := range c.segs {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(seg))))
		_, _ = sum.Write([]byte(seg))
	}
	_, _ = sum.Write([]byte("?" + q.Encode()))
	copy(d[:], sum.Sum(nil))
	return d
}

// listCursor is a place in a list.
type listCursor struct {
	epoch uint64
	of    [8]byte // the list
	after string  // spec.Place of the last item that was given
}

const cursorForm = 1

// String is the cursor as clients have it. The check tells one that was changed on the way; it need not stop forgers, as no
// place lets anybody see more than the list that it is asked with.
func (l listCursor) String() string {
	b := binary.AppendUvarint([]byte{cursorForm}, l.epoch)
	b = append(append(b, l.of[:]...), l.after...)
	return base64.RawURLEncoding.EncodeToString(append(b, cursorCheck(b)...))
}

func cursorCheck(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("muster list cursor\x00"), b...))
	return sum[:8]
}

// parseListCursor reads a cursor.
func parseListCursor(text string) (listCursor, error) {
	bad := model.Errorf(model.Invalid, "cursor: it is none that an answer told, or was changed: hand it back as it was, or begin without one")
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 9 || b[0] != cursorForm {
		return listCursor{}, bad
	}
	b, check := b[:len(b)-8], b[len(b)-8:]
	if !bytes.Equal(cursorCheck(b), check) {
		return listCursor{}, bad
	}
	var l listCursor
	epoch, n := binary.Uvarint(b[1:])
	if n <= 0 || len(b) < 1+n+len(l.of) {
		return listCursor{}, bad
	}
	l.epoch = epoch
	rest := b[1+n:]
	copy(l.of[:], rest)
	l.after = string(rest[len(l.of):])
	return l, nil
}
