package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// noticeGap is how long after a message a channel gets the next: what comes meanwhile goes together.
const noticeGap = 30 * time.Second

// notices starts sending what channels are to be told, and gives the time until there is more to look at; 0: none is known.
func (d *Duty) notices(ctx context.Context, view *state.View) (next time.Duration, err error) {
	due, orphaned, next := orchestrate.DueNotices(view)
	if len(orphaned) > 0 {
		orphaned = orphaned[:min(len(orphaned), 500)]
		if err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error { orchestrate.DropDeliveries(tx, orphaned); return nil }); err != nil {
			return 0, fmt.Errorf("drop what no channel wants any more: %w", err)
		}
		next = breath
	}
	for i := range due {
		if wait := d.notice(ctx, &due[i], view.Now()); wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next, nil
}

// notice sends a message in a goroutine, unless one to the channel is under way, too much is, or the channel had one just now:
// then it tells how long to wait.
func (d *Duty) notice(ctx context.Context, n *orchestrate.Notices, now time.Time) (wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.told, func(_ string, at time.Time) bool { return now.Sub(at) >= noticeGap })
	if d.perHook[n.ChannelID] > 0 || len(d.flying) >= atOnce {
		return 0 // looked at again when one lands
	}
	at, lately := d.told[n.ChannelID]
	if n.Lines[0].Kind != model.NoticeTest && lately {
		return noticeGap - now.Sub(at)
	}
	d.told[n.ChannelID] = now
	d.flying[n.ID] = true
	d.perHook[n.ChannelID]++
	d.wg.Go(func() {
		defer d.land(&orchestrate.DueDelivery{Delivery: model.Delivery{ID: n.ID, HookID: n.ChannelID}})
		rec := d.tell(ctx, n)
		if ctx.Err() != nil && rec.Error != "" {
			return
		}
		jitter := rand.Float64()
		err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
			tx.SetActor("notifications")
			return orchestrate.Noticed(tx, n, rec, jitter)
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, state.ErrFenced) && model.CodeOf(err) != model.Unavailable {
			d.cfg.Log.Error("what came of a notice was not written down; it is sent again", "notice", n.ID, "error", err)
		}
	})
	return 0
}

// tell makes one attempt.
func (d *Duty) tell(ctx context.Context, n *orchestrate.Notices) (rec model.DeliveryRecord) {
	began := time.Now()
	defer func() { rec.Took = time.Since(began).Milliseconds() }()
	to, err := n.Channel.To()
	if err != nil {
		rec.Error = err.Error()
		return rec
	}
	rec.URL = to.Shown()
	if to.URL == nil {
		rec.Error = d.mail(ctx, n, to.Mail)
		return rec
	}
	if rec.Status, err = d.cfg.Sender.post(ctx, to, n); err != nil {
		rec.Error = plain(err)
	} else if rec.Status > 299 {
		rec.Error = fmt.Sprintf("it answered %d", rec.Status)
	}
	return rec
}

// mail sends a letter, and tells what went wrong as far as it concerns the organization: the site's mail server is its own affair.
func (d *Duty) mail(ctx context.Context, n *orchestrate.Notices, to []string) string {
	if d.cfg.Mail == nil {
		return "this site has no mail server: its administrators can name one (smtp)"
	}
	subject := n.Organization + ": " + n.Lines[0].Object + ": " + n.Lines[0].Text
	if len(n.Lines) > 1 {
		subject = fmt.Sprintf("%s: %d notices", n.Organization, len(n.Lines))
	}
	err := d.cfg.Mail.SendAll(ctx, n.ID, to, subject, text(n)+"\n-- \nid "+n.ID+"\n")
	if err == nil {
		return ""
	}
	var refused *textproto.Error
	if errors.As(err, &refused) {
		return plain(fmt.Errorf("the mail server refused it: %w", refused))
	}
	d.cfg.Log.Warn("a notice was not handed to the mail server; it is tried again", "notice", n.ID, "error", err)
	return "it could not be handed to the site's mail server"
}

// text is a message for people: a line for each notice.
func text(n *orchestrate.Notices) string {
	var b strings.Builder
	for i := range n.Lines {
		l := &n.Lines[i]
		fmt.Fprintf(&b, "%s %s: %s\n", l.Time.UTC().Format(time.RFC3339), l.Object, l.Text)
	}
	return b.String()
}

// told is the body of a message to an address of HTTP: text is what chat servers show.
type told struct {
	Text         string       `json:"text"`
	ID           string       `json:"id"`
	Organization string       `json:"organization"`
	Notices      []toldNotice `json:"notices"`
}

type toldNotice struct {
	ID         string `json:"id"`
	Timestamp  string `json:"timestamp"`
	ActionType string `json:"actionType"`
	Object     string `json:"object"`
	Message    string `json:"message"`
}

// post sends a message to an address, by the rules of webhooks. The address itself is the secret, so nothing is signed.
func (s *Sender) post(ctx context.Context, to model.NoticeTo, n *orchestrate.Notices) (status int, err error) {
	body := told{Text: text(n), ID: n.ID, Organization: n.Organization, Notices: []toldNotice{}}
	for i := range n.Lines {
		l := &n.Lines[i]
		body.Notices = append(body.Notices, toldNotice{l.ID, l.Time.UTC().Format(time.RFC3339Nano), l.Kind, l.Object, l.Text})
	}
	b, err := json.Marshal(body)
	if err != nil {
		return 0, fmt.Errorf("write the message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL.String(), bytes.NewReader(b))
	if err != nil {
		return 0, errors.New("the address cannot be requested") // the error would hold it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "muster-webhook/1")
	req.Header.Set("webhook-id", n.ID)
	return s.do(req)
}
