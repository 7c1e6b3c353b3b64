package dispatch

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// onEnrol makes a newcomer a host, or tells it why not. The agent's queue stands on every hub before the
// welcome goes out, so the agent finds it wherever it logs in.
func (d *Dispatcher) onEnrol(ctx context.Context, l *link, data []byte) error {
	tokenID, err := wire.PeekEnrolToken(data)
	if err != nil {
		return err
	}
	token, ok := state.Get[model.EnrolToken](d.cfg.Store.Local(), tokenID)
	if !ok {
		return fmt.Errorf("an enrolment with an unknown token %s", tokenID)
	}
	e, err := wire.OpenEnrol(data, ed25519.PublicKey(token.PublicKey))
	if err != nil {
		return fmt.Errorf("an enrolment with token %s: %w", tokenID, err)
	}
	if e.ReplyTo != bus.NewcomerQueue(e.Token, e.Agent) {
		return fmt.Errorf("an enrolment with token %s wants its answer in queue %q", tokenID, e.ReplyTo)
	}
	var agent *model.Agent
	err = d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		var err error
		agent, err = orchestrate.Enrol(tx, orchestrate.Enrolment{
			TokenID: e.Token, AgentID: e.Agent, PublicKey: e.Key, Exchange: e.Exchange, Name: e.Name, Facts: e.Facts,
		})
		return err
	})
	if err != nil && transient(err) {
		return fmt.Errorf("enrol agent %s: %w", e.Agent, err)
	}
	answer, err := d.answer(token.OrgID, e.Agent, agent, err)
	if err != nil {
		return err
	}
	if agent != nil {
		d.presence.enrolled(agent.ID, time.Now())
		d.everywhere(ctx, "declare the queue of an agent", func(ctx context.Context, s *bus.Session) error {
			return bus.DeclareAgent(ctx, s, agent.ID)
		})
		d.log.Info("enrolled", "agent", agent.ID, "host", agent.HostID, "name", e.Name)
	} else {
		d.log.Info("enrolment refused", "agent", e.Agent, "name", e.Name, "token", e.Token)
	}
	if err := l.s.Publish(ctx, "", e.ReplyTo, false, answer); err != nil {
		d.log.Debug("the answer to an enrolment was not taken; the agent will ask again", "agent", e.Agent, "error", err)
	}
	return nil
}

// everywhere does something at each hub, beside each other. A hub that does not answer in time loses its session,
// and what it lacks is declared at the next.
func (d *Dispatcher) everywhere(ctx context.Context, what string, do func(ctx context.Context, s *bus.Session) error) {
	var wg sync.WaitGroup
	for _, l := range d.allLinks() {
		wg.Go(func() {
			if err := l.try(ctx, func(ctx context.Context) error { return do(ctx, l.s) }); err != nil {
				d.log.Debug("not done at a hub", "what", what, "hub", l.name, "error", err)
			}
		})
	}
	wg.Wait()
}

// answer makes the signed welcome, or the signed refusal when refused says why.
func (d *Dispatcher) answer(orgID, agentID string, a *model.Agent, refused error) ([]byte, error) {
	view := d.cfg.Store.Local()
	key, err := orchestrate.SigningKey(view, orgID)
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return wire.Sign(wire.KindRefusal, key, wire.Refusal{Agent: agentID, Reason: reason(refused)})
	}
	w := wire.Welcome{Agent: a.ID, Key: key.Public().(ed25519.PublicKey), Epoch: view.Epoch()}
	if o, ok := state.Get[model.OrganizationRow](view, a.OrgID); ok {
		w.Organization = o.Name
	}
	if e, ok := state.Get[model.EnvironmentRow](view, a.EnvID); ok {
		w.Environment = e.Name
	}
	if h, ok := state.Get[model.HostRow](view, a.HostID); ok {
		w.Host = h.Name
	}
	return wire.Sign(wire.KindWelcome, key, w)
}

// reason is the text of an error for the person at the machine; a cause of ours stays in our log.
func reason(err error) string {
	var e *model.Error
	if errors.As(err, &e) && e.Code != model.Internal {
		return strings.Join(e.Messages, "; ")
	}
	return "the orchestrator could not enrol this machine; its log says why"
}

// outcome puts a reply into the words of the state.
func outcome(r wire.Reply) orchestrate.StepOutcome {
	return orchestrate.StepOutcome{
		OrderID: r.Order, Step: r.Step, OK: r.Status == wire.StatusOK, Interrupted: r.Status == wire.StatusInterrupted,
		Skipped: r.Status == wire.StatusSkipped, Error: r.Error, Changed: r.Changed, Output: outputText(r.Output),
	}
}

// bare is the outcome of a reply without its texts.
func bare(r wire.Reply) orchestrate.StepOutcome {
	r.Error, r.Output = "", nil
	o := outcome(r)
	if r.Status == wire.StatusError {
		o.Error = "failed; what the agent says of it could not be recorded"
	}
	return o
}

// outputText is what an action printed, as one text.
func outputText(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var o struct{ Stdout, Stderr string }
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	if o.Stdout == "" || o.Stderr == "" {
		return o.Stdout + o.Stderr
	}
	return o.Stdout + "\n" + o.Stderr
}

// observation puts an alert into the words of the state.
func observation(a wire.Alert) orchestrate.Observation {
	return orchestrate.Observation{
		Origin: model.Origin(a.Origin), Collection: a.Collection, Resource: a.Resource, Compliant: a.Compliant,
		Sequence: a.Sequence, Expected: a.Expected, Observed: a.Observed, At: a.At,
	}
}
