package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Snapshots gives and takes the whole state of the cluster.
type Snapshots interface {
	// Save streams a snapshot that holds all that was acknowledged before.
	Save(ctx context.Context, w io.Writer) error
	// Restore puts the state of a snapshot in the place of that of the cluster with this id, and begins an epoch. Keys is
	// the text of a file of cluster keys that the snapshot needs; nil for none.
	Restore(ctx context.Context, cluster string, keys []byte, r io.Reader) error
}

// Of streams of snapshots.
const (
	snapshotIdle  = 30 * time.Second // without a byte, and the client is given up
	restoreWithin = 10 * time.Minute // once the snapshot has come, the state must be exchanged
)

func snapshotEndpoints() map[string]endpoint {
	of := func(f func(c *call, s Snapshots) (reply, error)) endpoint {
		return endpoint{site: true, live: func(c *call, _ *state.View, _ endpoint) (reply, error) {
			if c.srv.cfg.Snapshots == nil {
				return reply{}, notBuilt(c.route)
			}
			return f(c, c.srv.cfg.Snapshots)
		}}
	}
	return map[string]endpoint{
		"cluster.snapshot.save":    of(saveSnapshot),
		"cluster.snapshot.restore": of(restoreSnapshot),
	}
}

// saveSnapshot streams. An error after the first byte breaks the connection off, so that nobody takes what came for whole.
func saveSnapshot(c *call, s Snapshots) (reply, error) {
	if c.req.Method == http.MethodHead {
		return reply{status: http.StatusOK}, nil
	}
	if err := c.auditAlone(c.req.Context()); err != nil { // it holds all secrets
		return reply{}, err
	}
	w := &streamWriter{c: c, name: "muster.snapshot"}
	if err := s.Save(context.WithoutCancel(c.req.Context()), w); err != nil {
		if w.begun {
			c.srv.cfg.Log.Warn("a snapshot was not sent whole", "id", c.id, "error", err)
			panic(http.ErrAbortHandler)
		}
		return reply{}, err
	}
	return reply{gone: true}, nil
}

// streamWriter sends as it is written, for as long as the client reads.
type streamWriter struct {
	c     *call
	name  string // that a file of it gets
	begun bool
}

// Write sends.
func (w *streamWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		h := w.c.writer.Header()
		h.Set("Content-Type", kindRaw)
		h.Set("Content-Disposition", `attachment; filename="`+w.name+`"`)
		w.c.writer.WriteHeader(http.StatusOK)
	}
	w.c.allow(snapshotIdle)
	return w.c.writer.Write(p)
}

// streamReader receives as it is read, for as long as the client sends.
type streamReader struct{ c *call }

// Read receives.
func (r streamReader) Read(p []byte) (int, error) {
	r.c.allow(snapshotIdle)
	n, err := r.c.req.Body.Read(p)
	if err == io.EOF {
		r.c.allow(restoreWithin + snapshotIdle)
	}
	return n, err
}

func restoreSnapshot(c *call, s Snapshots) (reply, error) {
	cluster := c.query.Get("cluster")
	if cluster == "" {
		return reply{}, model.Errorf(model.Invalid, "cluster: name the cluster whose state is to be replaced, by the id that its status tells")
	}
	body := streamReader{c}
	keys, err := readKeys(c.query.Get("keys"), body)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), restoreWithin)
	defer cancel()
	if err := s.Restore(ctx, cluster, keys, body); err != nil {
		return reply{}, err
	}
	c.auditAfter()
	return c.encode(done{true})
}

// maxKeyFile bounds a file of cluster keys, in bytes.
const maxKeyFile = 1 << 20

// readKeys reads the file of keys that a body begins with, of so many bytes.
func readKeys(size string, body io.Reader) ([]byte, error) {
	if size == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(size)
	if err != nil || n < 1 || n > maxKeyFile {
		return nil, model.Errorf(model.Invalid, "keys: give the size in bytes of the file of cluster keys that the body begins with, up to %d", maxKeyFile)
	}
	keys := make([]byte, n)
	if _, err := io.ReadFull(body, keys); err != nil {
		return nil, &model.Error{Code: model.Invalid, Err: err, Messages: []string{"keys: the body is shorter than that"}}
	}
	return keys, nil
}
