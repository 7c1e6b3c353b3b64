package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/dispatch"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
)

// askDesk answers questions to agents while this node leads. Only the leader speaks with agents.
type askDesk struct {
	mu      sync.Mutex
	work    *dispatch.Dispatcher
	changed chan struct{} // closed when work is another
}

func newAskDesk() *askDesk { return &askDesk{changed: make(chan struct{})} }

func (d *askDesk) set(from, to *dispatch.Dispatcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if from != nil && d.work != from {
		return // the one that followed it
	}
	d.work = to
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *askDesk) open(work *dispatch.Dispatcher)  { d.set(nil, work) }
func (d *askDesk) close(work *dispatch.Dispatcher) { d.set(work, nil) }

// agentQuestion is what nodes ask the leader, as JSON.
type agentQuestion struct {
	Host     string        `json:"host"` // its id
	Question wire.Question `json:"question"`
}

// answer implements cluster.Config.Answer. A leader that has just begun waits until it dispatches.
func (d *askDesk) answer(ctx context.Context, question []byte) ([]byte, error) {
	var q agentQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, model.Errorf(model.Invalid, "a question to an agent that cannot be read")
	}
	for {
		d.mu.Lock()
		work, changed := d.work, d.changed
		d.mu.Unlock()
		if work != nil {
			a, err := work.Ask(ctx, q.Host, q.Question)
			if err != nil {
				return nil, err
			}
			return json.Marshal(a)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("dispatch has not begun: %w", ctx.Err())
		}
	}
}

// agentAPI asks agents for the API, by way of the leader.
type agentAPI struct{ n *cluster.Node }

func (a agentAPI) ask(ctx context.Context, hostID string, q wire.Question) (wire.Answer, error) {
	body, err := json.Marshal(agentQuestion{hostID, q})
	if err != nil {
		return wire.Answer{}, err
	}
	out, err := a.n.AskLeader(ctx, body)
	if err != nil {
		return wire.Answer{}, err
	}
	var answer wire.Answer
	if err := json.Unmarshal(out, &answer); err != nil {
		return wire.Answer{}, fmt.Errorf("read the leader's answer: %w", err)
	}
	return answer, nil
}

// ReadFile implements api.Agents.
func (a agentAPI) ReadFile(ctx context.Context, hostID, path string, offset int64) (api.FilePart, error) {
	out, err := a.ask(ctx, hostID, wire.Question{Subject: wire.SubjectFile, Name: path, Offset: offset, Limit: wire.MaxPart})
	return api.FilePart{Data: out.Part, Size: out.Size, End: out.End, Tag: out.Tag}, err
}

// Sensor implements api.Agents.
func (a agentAPI) Sensor(ctx context.Context, hostID, collection, name string) (json.RawMessage, error) {
	out, err := a.ask(ctx, hostID, wire.Question{Subject: wire.SubjectSensor, Collection: collection, Name: name})
	return out.Value, err
}
