package api

import (
	"context"
	"encoding/json"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Agents asks the agents of machines. Nothing is changed by it. Errors have codes: Conflict (the agent is down, or the
// machine had an error), NotFound, Forbidden, Invalid, TooLarge, Unavailable (no answer in time).
type Agents interface {
	// ReadFile reads a part of a file of a host's machine, from offset on, as much as one answer holds.
	ReadFile(ctx context.Context, hostID, path string, offset int64) (FilePart, error)
	// Sensor is what is observed now of a resource of a host's machine, as JSON.
	Sensor(ctx context.Context, hostID, collection, name string) (json.RawMessage, error)
}

// FilePart is a part of a file of a machine.
type FilePart struct {
	Data []byte
	Size int64  // of the file; 0 where its kernel makes it up
	End  bool   // nothing follows
	Tag  string // another one: another file is in its place by now
}

// agentTimeout bounds what a request waits for one answer of an agent.
const agentTimeout = 10 * time.Second

func agentEndpoints() map[string]endpoint {
	return map[string]endpoint{
		// A file of the machine may hold the value of any secret setting, and much else: who sees no secrets reads none.
		"host.instance.files.show":  {need: auth.ReadSecret, live: showMachineFile},
		"host.instance.status.show": {need: auth.Read, live: showSensor},
	}
}

// machineAt is the host that the request is about, which must have a machine.
func (c *call) machineAt(r state.Reader, end endpoint) (scope, error) {
	if c.query.Has("index") || c.query.Has("wait") {
		return scope{}, model.Errorf(model.Invalid, "index, wait: the machine is asked now, and no index is told of it: leave them out")
	}
	if err := c.caller.still(r); err != nil {
		return scope{}, err
	}
	at, err := c.scope(r, end)
	if err != nil {
		return at, err
	}
	if _, err := orchestrate.GetInstance(r, at.org.ID, at.host.ID); err != nil {
		return at, err
	}
	if c.srv.cfg.Agents == nil {
		return at, notBuilt(c.route)
	}
	return at, nil
}

// stillThere looks anew, behind an answer that was waited for, whether the caller may have it.
func (c *call) stillThere(end endpoint, was scope) error {
	view := c.srv.cfg.Store.Local()
	at, err := c.machineAt(view, end)
	if err == nil && at.host.ID != was.host.ID {
		err = model.Errorf(model.Conflict, "another host has this name by now: ask again")
	}
	return err
}

// machinePath is the parameter path.
func (c *call) machinePath() (string, error) {
	name := c.query.Get("path")
	switch {
	case name == "":
		return "", model.Errorf(model.Invalid, "path: give the absolute path of a file of the machine, as ?path=/etc/hostname")
	case !strings.HasPrefix(name, "/"):
		return "", model.Errorf(model.Invalid, "path: it must be absolute, and %.200q does not begin with /", name)
	case strings.ContainsRune(name, 0) || !utf8.ValidString(name):
		return "", model.Errorf(model.Invalid, "path: it holds a NUL, or is not UTF-8")
	case len(name) > 4095:
		return "", model.Errorf(model.Invalid, "path: it has %d bytes, and no path has more than 4095", len(name))
	case path.Clean(name) != name:
		return "", model.Errorf(model.Invalid, "path: write it without . and .. and empty parts, and not %.200q", name)
	}
	return name, nil
}

// showMachineFile fetches a file from the machine. That it was read is recorded before it goes out.
func showMachineFile(c *call, view *state.View, end endpoint) (reply, error) {
	at, err := c.machineAt(view, end)
	if err != nil {
		return reply{}, err
	}
	name, err := c.machinePath()
	if err != nil {
		return reply{}, err
	}
	content, err := c.fetch(at, name)
	if err != nil {
		return reply{}, err
	}
	if err := c.stillThere(end, at); err != nil {
		return reply{}, err
	}
	c.at, c.clear = at, true
	object := strings.Join(c.segs, "/") + name
	key := strings.Join([]string{c.caller.name, addressText(c), c.route.Name, object}, "\x00")
	if !c.srv.secrets.recent(key) {
		if err := c.recordRead(object); err != nil {
			return reply{}, &model.Error{Code: model.Unavailable, Err: err, Messages: []string{
				"that you read a file of the machine cannot be recorded now, so it is not shown: try again once the cluster has a leader"}}
		}
		c.srv.secrets.note(key)
	}
	return c.encode(raw(content))
}

// fetch reads a file part by part, so that neither the agent nor the bus has to hold a large one.
func (c *call) fetch(at scope, name string) ([]byte, error) {
	var out []byte
	var tag string
	for {
		ctx, cancel := context.WithTimeout(c.req.Context(), agentTimeout)
		part, err := c.srv.cfg.Agents.ReadFile(ctx, at.host.ID, name, int64(len(out)))
		cancel()
		if err != nil {
			return nil, err
		}
		if most := c.srv.cfg.MaxContent; part.Size > most || int64(len(out)+len(part.Data)) > most {
			return nil, model.Errorf(model.TooLarge, "%s has more than %d bytes, and no larger file is fetched", name, most)
		}
		if len(out) > 0 && part.Tag != tag {
			return nil, model.Errorf(model.Conflict, "%s was replaced while it was read: try again", name)
		}
		tag = part.Tag
		out = append(out, part.Data...)
		if part.End || len(part.Data) == 0 {
			return out, nil
		}
	}
}

// showSensor asks the machine for the value of a sensor.
func showSensor(c *call, view *state.View, end endpoint) (reply, error) {
	at, err := c.machineAt(view, end)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(c.req.Context(), agentTimeout)
	defer cancel()
	name := c.params["sensor"]
	value, err := c.srv.cfg.Agents.Sensor(ctx, at.host.ID, c.params["coll"], name)
	if err != nil {
		return reply{}, err
	}
	if err := c.stillThere(end, at); err != nil {
		return reply{}, err
	}
	if !at.role.May(auth.ReadSecret) {
		value = withoutDigest(value)
	}
	return c.encode(map[string]any{"status": map[string]json.RawMessage{name: value}})
}

// withoutDigest leaves out the digest of a file's content: whoever knows the rest of a file could find a short secret by it.
func withoutDigest(value json.RawMessage) json.RawMessage {
	var doc map[string]json.RawMessage
	if json.Unmarshal(value, &doc) != nil || doc["digest"] == nil {
		return value
	}
	delete(doc, "digest")
	out, err := json.Marshal(doc)
	if err != nil {
		return json.RawMessage("null")
	}
	return out
}
