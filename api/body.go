package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// readBody reads and checks the body as its kind says, within the limits.
func (c *call) readBody(want bodyKind) error {
	if want == noBody {
		return nil
	}
	limit := c.bodyLimit(want)
	// The form around an uploaded content needs some room of its own. What says that it is larger is refused before
	// it is sent: who waits for "100 Continue", as the published client does with uploads, reads the error.
	if c.req.ContentLength > limit+64<<10 {
		return model.Errorf(model.TooLarge, "the body is larger than %d bytes: it has %d", limit, c.req.ContentLength)
	}
	pace := &pacedBody{ReadCloser: c.req.Body, rc: http.NewResponseController(c.writer), start: time.Now()}
	body, err := decoded(c.req.Header, http.MaxBytesReader(c.writer, pace, limit+64<<10))
	if err != nil {
		c.header.Set("Accept-Encoding", "gzip, zstd")
		return err
	}
	defer body.Close() //nolint:errcheck // it was read, or is not wanted any more
	c.req.Body = http.MaxBytesReader(c.writer, body, limit+64<<10)
	if err := c.readWithin(want, limit); err != nil {
		return pace.blame(err)
	}
	c.spent(int(pace.n))
	if time.Since(pace.start) > time.Second {
		c.restart()
	}
	return nil
}

// readWithin reads and checks the body, which is at most limit bytes long.
func (c *call) readWithin(want bodyKind, limit int64) error {
	if want == uploadBody {
		content, err := readUpload(c.req, limit)
		c.body = content
		return err
	}
	// What is told of the size is believed as far as that costs little.
	buf := bytes.NewBuffer(make([]byte, 0, min(max(c.req.ContentLength, 0), 64<<10)+bytes.MinRead))
	if _, err := buf.ReadFrom(c.req.Body); err != nil {
		return bodyError(err, limit)
	}
	b := buf.Bytes()
	if int64(len(b)) > limit {
		return model.Errorf(model.TooLarge, "the body is larger than %d bytes", limit)
	}
	c.body = b
	if want == listBody {
		return checkJSON(b, aList)
	}
	return checkJSON(b, anObject)
}

// The limits of bodies that are small by what they are, in bytes.
const (
	maxSmallBody = 64 << 10
	maxPicture   = 1 << 20
)

// bodyLimit is how large the body of the route may be, in bytes. What everybody may send who has no account yet is small.
func (c *call) bodyLimit(want bodyKind) int64 {
	noun, _, _ := strings.Cut(c.route.Name, ".")
	switch noun {
	case "account", "users", "loginkeys", "invitations", "applicationkeys", "enroltokens", "cluster":
		return min(maxSmallBody, c.srv.cfg.MaxBody)
	case "thumb":
		return min(maxPicture, c.srv.cfg.MaxContent)
	}
	if want == uploadBody {
		return c.srv.cfg.MaxContent
	}
	return c.srv.cfg.MaxBody
}

func bodyError(err error, limit int64) error {
	var large *http.MaxBytesError
	var told *model.Error
	if errors.As(err, &told) {
		return err
	}
	if errors.As(err, &large) {
		return model.Errorf(model.TooLarge, "the body is larger than %d bytes", limit)
	}
	return &model.Error{Code: model.Invalid, Messages: []string{"the body broke off before its end"}, Err: err}
}

// The least pace of a body: after bodyGrace it must have come at minRate bytes a second from its beginning on. So whoever
// sends a byte now and then holds a connection for seconds, not for as long as it likes, and a slow line is served.
const (
	bodyGrace = 10 * time.Second
	minRate   = 8 << 10
)

// pacedBody reads a body as long as it keeps the least pace.
type pacedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	start time.Time
	n     int64 // bytes that came
	late  bool
}

// Read reads what is there, or waits until the pace is lost.
func (b *pacedBody) Read(p []byte) (int, error) {
	// Where a connection has no deadlines there is nothing to set.
	_ = b.rc.SetReadDeadline(b.start.Add(bodyGrace + time.Duration(b.n)*time.Second/minRate))
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	b.late = b.late || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// blame tells a sender that is too slow so, whatever the reading of its body made of it.
func (b *pacedBody) blame(err error) error {
	if !b.late {
		return err
	}
	return &statusError{http.StatusRequestTimeout, model.Errorf(model.Invalid,
		"the body comes too slowly: %d bytes in %s, and at least %d a second are waited for", b.n, time.Since(b.start).Round(time.Second), minRate)}
}

// restart gives the request its whole time again: how long its sender took is not the server's.
func (c *call) restart() {
	c.end()
	ctx, cancel := context.WithTimeout(c.limit.Context, c.srv.cfg.Timeout)
	c.req, c.cancel = c.req.WithContext(ctx), cancel
	c.allow(c.srv.cfg.Timeout + bodyGrace)
}
